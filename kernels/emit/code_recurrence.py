"""The code of `kernels.code_recurrence.CodeRecurrence`: whole sequences, step after step."""

from collections.abc import Callable
from typing import Any

from numba import njit

from ..code_recurrence import NUMBERS, ROW_NUMBERS, CodeRecurrence
from .code_sums import product_sum, rounded
from .python_loops import elements

_N = {name: i for i, name in enumerate(NUMBERS)}
_ROW = {name: i for i, name in enumerate(ROW_NUMBERS)}
_SIZES = [_N[name] for name in ("rows", "hidden", "chunk")]


class _Parts:
    """Functions that the steps of all cells share.

    Loops over rows and units read all numbers before they begin: LLVM makes vectors of them only where nothing that a
    loop writes could be one of its numbers.
    """

    def __init__(self, spec: CodeRecurrence) -> None:
        product, code = product_sum(spec.split), rounded(spec.rounding, spec.wraps, spec.shifts_left)
        bits, h_left, right, left = spec.accumulator_bits, _ROW["h_left"], _ROW["right"], _ROW["left"]
        kept, sign = (1 << bits) - 1, 1 << max(bits - 1, 0)
        of_gate, low_at, high_at = _N["gate_least"], _N["low"], _N["high"]
        rows_at, hidden_at, chunk_at = _SIZES

        @njit(inline="always")
        def add_products(
            known: Any, base: int, weights: Any, of_row: Any, n: Any, codes: Any, acc: Any, begin: int, end: int
        ) -> None:
            rows, hidden, chunk = n[rows_at], n[hidden_at], n[chunk_at]
            for j in range(begin, end):
                total = product(codes, 0, weights, j * hidden, hidden, chunk)
                acc[j] = known[base + j] + (total << of_row[h_left * rows + j])

        @njit(inline="always")
        def wrapped(v: int) -> int:
            return (((v & kept) ^ sign) - sign) if bits > 0 else v

        @njit(inline="always")
        def word_at(n: Any, at: int) -> Any:
            return n[at], n[at + 1], n[at + 2], n[at + 3]

        @njit(inline="always")
        def gates(acc: Any, of_row: Any, n: Any, right: int, left: int, begin: int, end: int) -> None:
            """Make codes of the sums of some rows, in their place."""
            rows, low, high = n[rows_at], n[low_at], n[high_at]
            least, most, mask, top = word_at(n, of_gate)
            for j in range(begin, end):
                v = code(acc[j], of_row[right * rows + j], of_row[left * rows + j], least, most, mask, top)
                v = v if v > low else low
                acc[j] = v if v < high else high

        @njit(inline="always")
        def of_sums(acc: Any, of_row: Any, n: Any, begin: int, end: int) -> None:
            if bits > 0:
                for j in range(begin, end):
                    acc[j] = wrapped(acc[j])
            gates(acc, of_row, n, right, left, begin, end)

        @njit(inline="always")
        def look_up(table: Any, codes: Any, found: Any, begin: int, end: int) -> None:
            for j in range(begin, end):
                found[j] = table[codes[j]]

        self.product, self.add_products, self.wrapped, self.code = product, add_products, wrapped, code
        self.gates, self.of_sums, self.look_up, self.word_at = gates, of_sums, look_up, word_at


def _lstm(spec: CodeRecurrence) -> Callable[..., None]:
    parts, (rows_at, hidden_at, _) = _Parts(spec), _SIZES
    add_products, of_sums, look_up, code, word_at = (
        *(parts.add_products, parts.of_sums),
        *(parts.look_up, parts.code, parts.word_at),
    )
    peepholes, coupled, p_left = spec.peepholes, spec.coupled, _ROW["p_left"]
    one_at, first_at, second_at = _N["one"], _N["first_left"], _N["second_left"]
    to_sum, to_out, of_cell, of_state = _N["sum_right"], _N["out_right"], _N["cell_least"], _N["state_least"]

    @njit(inline="always")
    def add_peephole(acc: Any, cell: Any, p: Any, of_row: Any, rows: int, begin: int, of_p: int, hidden: int) -> None:
        for u in range(hidden):
            acc[begin + u] += (cell[u] * p[of_p + u]) << of_row[p_left * rows + begin + u]

    @njit(inline="always")
    def step(known: Any, base: int, weights: Any, vectors: Any, tables: Any, n: Any, memory: Any) -> None:
        (of_row, _, p), (f, g, last), (acc, found, cell, state, _) = vectors, tables, memory
        rows, hidden = n[rows_at], n[hidden_at]
        add_products(known, base, weights, of_row, n, state, acc, 0, rows)
        if peepholes:
            add_peephole(acc, cell, p, of_row, rows, 0, 0, hidden)
            add_peephole(acc, cell, p, of_row, rows, 2 * hidden, 2 * hidden, hidden)
            of_sums(acc, of_row, n, 0, hidden)
            of_sums(acc, of_row, n, 2 * hidden, rows)
            look_up(f, acc, found, 0, hidden)
        else:
            of_sums(acc, of_row, n, 0, rows)
            look_up(f, acc, found, 0, 2 * hidden)
        look_up(f, acc, found, 2 * hidden, 3 * hidden)
        look_up(g, acc, found, 3 * hidden, rows)
        one, first, second, right, left = n[one_at], n[first_at], n[second_at], n[to_sum], n[to_sum + 1]
        least, most, mask, sign = word_at(n, of_cell)
        for u in range(hidden):
            enter = found[u]
            keep = one - enter if coupled else found[2 * hidden + u]
            total = ((keep * cell[u]) << first) + ((enter * found[3 * hidden + u]) << second)
            cell[u] = code(total, right, left, least, most, mask, sign)
        if peepholes:
            add_peephole(acc, cell, p, of_row, rows, hidden, hidden, hidden)
            of_sums(acc, of_row, n, hidden, 2 * hidden)
            look_up(f, acc, found, hidden, 2 * hidden)
        look_up(last, cell, found, 0, hidden)
        right, left = n[to_out], n[to_out + 1]
        least, most, mask, sign = word_at(n, of_state)
        for u in range(hidden):
            state[u] = code(found[hidden + u] * found[u], right, left, least, most, mask, sign)

    return step


def _gru(spec: CodeRecurrence) -> Callable[..., None]:
    parts, (rows_at, hidden_at, chunk_at) = _Parts(spec), _SIZES
    add_products, of_sums, gates, look_up = parts.add_products, parts.of_sums, parts.gates, parts.look_up
    product, wrapped, code, word_at, resets_after = (
        *(parts.product, parts.wrapped, parts.code, parts.word_at),
        spec.resets_after,
    )
    one_at, first_at, second_at = _N["one"], _N["first_left"], _N["second_left"]
    to_sum, to_out, of_state = _N["sum_right"], _N["out_right"], _N["state_least"]
    x_left, r_left, own_right, own_left = (_ROW[name] for name in ("x_left", "r_left", "own_right", "own_left"))

    @njit(inline="always")
    def step(known: Any, base: int, weights: Any, vectors: Any, tables: Any, n: Any, memory: Any) -> None:
        (of_row, own, _), (f, g, _), (acc, found, _, state, reset) = vectors, tables, memory
        rows, hidden, chunk = n[rows_at], n[hidden_at], n[chunk_at]
        add_products(known, base, weights, of_row, n, state, acc, 0, 2 * hidden)
        of_sums(acc, of_row, n, 0, 2 * hidden)
        look_up(f, acc, found, 0, 2 * hidden)
        least, most, mask, sign = word_at(n, of_state)
        if resets_after:
            for u in range(hidden):
                j = 2 * hidden + u
                acc[j] = product(state, 0, weights, j * hidden, hidden, chunk) + own[u]
            for u in range(hidden):
                j = 2 * hidden + u
                of_x = wrapped(known[base + j]) << of_row[x_left * rows + j]
                acc[j] = of_x + ((found[hidden + u] * wrapped(acc[j])) << of_row[r_left * rows + j])
            gates(acc, of_row, n, own_right, own_left, 2 * hidden, rows)
        else:
            right, left = n[to_out], n[to_out + 1]
            for u in range(hidden):
                reset[u] = code(found[hidden + u] * state[u], right, left, least, most, mask, sign)
            add_products(known, base, weights, of_row, n, reset, acc, 2 * hidden, rows)
            of_sums(acc, of_row, n, 2 * hidden, rows)
        look_up(g, acc, found, 2 * hidden, rows)
        one, first, second, right, left = n[one_at], n[first_at], n[second_at], n[to_sum], n[to_sum + 1]
        for u in range(hidden):
            z = found[u]
            total = (((one - z) * found[2 * hidden + u]) << first) + ((z * state[u]) << second)
            state[u] = code(total, right, left, least, most, mask, sign)

    return step


def _rnn(spec: CodeRecurrence) -> Callable[..., None]:
    parts, (rows_at, hidden_at, _) = _Parts(spec), _SIZES
    add_products, of_sums, look_up = parts.add_products, parts.of_sums, parts.look_up

    @njit(inline="always")
    def step(known: Any, base: int, weights: Any, vectors: Any, tables: Any, n: Any, memory: Any) -> None:
        (of_row, _, _), (f, _, _), (acc, _, _, state, _) = vectors, tables, memory
        rows, hidden = n[rows_at], n[hidden_at]
        add_products(known, base, weights, of_row, n, state, acc, 0, rows)
        of_sums(acc, of_row, n, 0, rows)
        look_up(f, acc, state, 0, hidden)

    return step


_STEPS: dict[str, Callable[[CodeRecurrence], Callable[..., None]]] = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}


def python_kernel(spec: CodeRecurrence) -> Callable[..., None]:
    """Return the kernel."""
    states, cells, matrix = elements(spec.state), elements(spec.cells), elements(spec.weights)
    integers, words, lengths_at = elements("i64"), elements("i32"), elements("i32")
    given_h, given_c = elements(spec.given_h or "i8"), elements(spec.given_c or "i8")
    has_h, has_c, ragged, is_lstm = bool(spec.given_h), bool(spec.given_c), spec.ragged, spec.cell == "lstm"
    code, step = rounded(spec.rounding, spec.wraps, True), _STEPS[spec.cell](spec)
    of_state, of_cell, h_right, c_right = _N["state_least"], _N["cell_least"], _N["h_right"], _N["c_right"]
    rows_at, hidden_at, time_at, batch_at, reverse_at = (_N[n] for n in ("rows", "hidden", "time", "batch", "reverse"))
    h_row, c_row, y_step, y_row = (_N[n] for n in ("h_row", "c_row", "y_step", "y_row"))
    last_h_row, last_c_row = _N["last_h_row"], _N["last_c_row"]

    @njit(inline="always")
    def in_word(v: int, n: Any, word: int, shift: int) -> int:
        return code(v, n[shift], n[shift + 1], n[word], n[word + 1], n[word + 2], n[word + 3])

    def code_recurrence(
        sums: int,
        r: int,
        high: int,
        of_row: int,
        own_bias: int,
        p: int,
        f: int,
        g: int,
        last: int,
        numbers: int,
        lengths: int,
        fault: int,
        h: int,
        c: int,
        y: int,
        last_h: int,
        last_c: int,
        first: int,
        end: int,
        scratch: int,
    ) -> None:
        known, weights, n = integers(sums), (matrix(r), matrix(high)), integers(numbers)
        vectors, tables = (integers(of_row), integers(own_bias), integers(p)), (words(f), words(g), words(last))
        rows, hidden, time = n[rows_at], n[hidden_at], n[time_at]
        acc, found, cell = integers(scratch), words(scratch + 8 * rows), words(scratch + 12 * rows)
        after = scratch + 12 * rows + 4 * hidden
        state, reset = states(after), states(after + 2 * hidden)
        memory = (acc, found, cell, state, reset)
        first_h, first_c, target = given_h(h), given_c(c), states(y)
        end_h, end_c = states(last_h), cells(last_c)
        for s in range(first, end):
            length = time
            if ragged:
                length = lengths_at(lengths)[s] + 0
                if length < 0 or length > time:
                    integers(fault)[0] = length
                    length = 0
            for u in range(hidden):
                state[u] = 0
                cell[u] = 0
                if has_h:
                    state[u] = in_word(first_h[s * n[h_row] + u], n, of_state, h_right)
                if has_c:
                    cell[u] = in_word(first_c[s * n[c_row] + u], n, of_cell, c_right)
            for i in range(length):
                t = length - 1 - i if n[reverse_at] else i
                step(known, (t * n[batch_at] + s) * rows, weights, vectors, tables, n, memory)
                at = t * n[y_step] + s * n[y_row]
                for u in range(hidden):
                    target[at + u] = state[u]
            for t in range(length, time):
                at = t * n[y_step] + s * n[y_row]
                for u in range(hidden):
                    target[at + u] = 0
            for u in range(hidden):
                end_h[s * n[last_h_row] + u] = state[u] if length > 0 else 0
                if is_lstm:
                    end_c[s * n[last_c_row] + u] = cell[u] if length > 0 else 0

    return code_recurrence
