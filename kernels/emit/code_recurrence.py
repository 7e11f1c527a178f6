"""The code of `kernels.code_recurrence.CodeRecurrence`: whole sequences, step after step."""

from collections.abc import Callable
from typing import Any

from numba import njit

from ..code_recurrence import BLOCK_ROWS, NUMBERS, ROW_NUMBERS, CodeRecurrence
from .code_sums import rounded, row_sums
from .python_loops import elements

_N = {name: i for i, name in enumerate(NUMBERS)}
_ROW = {name: i for i, name in enumerate(ROW_NUMBERS)}
_SIZES = [_N[name] for name in ("rows", "hidden")]


class _Parts:
    """Functions that the steps of all cells share.

    Loops over rows and units read all numbers before they begin: LLVM makes vectors of them only where nothing that a
    loop writes could be one of its numbers.
    """

    def __init__(self, spec: CodeRecurrence) -> None:
        sums_of, code = row_sums(spec.factors), rounded(spec.rounding, spec.fitting, spec.shifts_left)
        bits, h_left, right, left = spec.accumulator_bits, _ROW["h_left"], _ROW["right"], _ROW["left"]
        kept, sign = (1 << bits) - 1, 1 << max(bits - 1, 0)
        of_gate, low_at, high_at = _N["gate_least"], _N["low"], _N["high"]
        (rows_at, hidden_at), chunk_at, taps = _SIZES, _N["chunk"], spec.factors.taps
        integers, offset = elements("i64"), spec.factors.offset

        @njit(inline="always")
        def multiply(weights: Any, n: Any, memory: Any, begin: int, blocks: int) -> None:
            """Put the products of the factors with some blocks of weights into sums from a row on."""
            lanes, sums = (n[hidden_at] + taps - 1) // taps, memory[0] + 8 * begin
            sums_of(weights, memory[6], lanes, n[chunk_at], sums, integers(sums), blocks)

        @njit(inline="always")
        def to_factors(state: Any, factors: Any, hidden: int) -> None:
            for u in range(hidden):
                factors[u] = state[u] + offset

        @njit(inline="always")
        def complete(known: Any, base: int, of_row: Any, n: Any, acc: Any, begin: int, end: int) -> None:
            """Add the part of x to sums."""
            rows = n[rows_at]
            for j in range(begin, end):
                acc[j] = known[base + j] + (acc[j] << of_row[h_left * rows + j])

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

        self.multiply, self.complete, self.to_factors = multiply, complete, to_factors
        self.wrapped, self.code = wrapped, code
        self.gates, self.of_sums, self.look_up, self.word_at = gates, of_sums, look_up, word_at


def _lstm(spec: CodeRecurrence) -> Callable[..., None]:
    parts, (rows_at, hidden_at), blocks_at = _Parts(spec), _SIZES, _N["blocks"]
    multiply, complete, to_factors, of_sums = parts.multiply, parts.complete, parts.to_factors, parts.of_sums
    look_up, code, word_at = parts.look_up, parts.code, parts.word_at
    peepholes, coupled, p_left = spec.peepholes, spec.coupled, _ROW["p_left"]
    one_at, first_at, second_at = _N["one"], _N["first_left"], _N["second_left"]
    to_sum, to_out, of_cell, of_state = _N["sum_right"], _N["out_right"], _N["cell_least"], _N["state_least"]

    @njit(inline="always")
    def add_peephole(acc: Any, cell: Any, p: Any, of_row: Any, rows: int, begin: int, of_p: int, hidden: int) -> None:
        for u in range(hidden):
            acc[begin + u] += (cell[u] * p[of_p + u]) << of_row[p_left * rows + begin + u]

    @njit(inline="always")
    def step(known: Any, base: int, weights: Any, vectors: Any, tables: Any, n: Any, memory: Any) -> None:
        (of_row, _, p), (f, g, last), (_, acc, found, cell, state, factors, _) = vectors, tables, memory
        rows, hidden = n[rows_at], n[hidden_at]
        to_factors(state, factors, hidden)
        multiply(weights, n, memory, 0, n[blocks_at])
        complete(known, base, of_row, n, acc, 0, rows)
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
    parts, (rows_at, hidden_at), taps = _Parts(spec), _SIZES, spec.factors.taps
    multiply, complete, to_factors, of_sums = parts.multiply, parts.complete, parts.to_factors, parts.of_sums
    gates, look_up, code, word_at, wrapped = parts.gates, parts.look_up, parts.code, parts.word_at, parts.wrapped
    offset, resets_after, blocks_at, own_blocks = spec.factors.offset, spec.resets_after, _N["blocks"], _N["own_blocks"]
    one_at, first_at, second_at = _N["one"], _N["first_left"], _N["second_left"]
    to_sum, to_out, of_state = _N["sum_right"], _N["out_right"], _N["state_least"]
    x_left, r_left, own_right, own_left = (_ROW[name] for name in ("x_left", "r_left", "own_right", "own_left"))

    @njit(inline="always")
    def step(known: Any, base: int, weights: Any, vectors: Any, tables: Any, n: Any, memory: Any) -> None:
        (of_row, own, _), (f, g, _), (_, acc, found, _, state, factors, _) = vectors, tables, memory
        rows, hidden, blocks = n[rows_at], n[hidden_at], n[blocks_at]
        before = blocks * ((hidden + taps - 1) // taps) * 4 * BLOCK_ROWS
        own_weights = (weights[0] + before, weights[1] + before)
        to_factors(state, factors, hidden)
        multiply(weights, n, memory, 0, blocks)
        complete(known, base, of_row, n, acc, 0, 2 * hidden)
        of_sums(acc, of_row, n, 0, 2 * hidden)
        look_up(f, acc, found, 0, 2 * hidden)
        least, most, mask, sign = word_at(n, of_state)
        if resets_after:
            multiply(own_weights, n, memory, 2 * hidden, n[own_blocks])
            for u in range(hidden):
                j = 2 * hidden + u
                of_x = wrapped(known[base + j]) << of_row[x_left * rows + j]
                acc[j] = of_x + ((found[hidden + u] * wrapped(acc[j] + own[u])) << of_row[r_left * rows + j])
            gates(acc, of_row, n, own_right, own_left, 2 * hidden, rows)
        else:
            right, left = n[to_out], n[to_out + 1]
            for u in range(hidden):
                factors[u] = code(found[hidden + u] * state[u], right, left, least, most, mask, sign) + offset
            multiply(own_weights, n, memory, 2 * hidden, n[own_blocks])
            complete(known, base, of_row, n, acc, 2 * hidden, rows)
            of_sums(acc, of_row, n, 2 * hidden, rows)
        look_up(g, acc, found, 2 * hidden, rows)
        one, first, second, right, left = n[one_at], n[first_at], n[second_at], n[to_sum], n[to_sum + 1]
        for u in range(hidden):
            z = found[u]
            total = (((one - z) * found[2 * hidden + u]) << first) + ((z * state[u]) << second)
            state[u] = code(total, right, left, least, most, mask, sign)

    return step


def _rnn(spec: CodeRecurrence) -> Callable[..., None]:
    parts, (rows_at, hidden_at), blocks_at = _Parts(spec), _SIZES, _N["blocks"]
    multiply, complete, to_factors, of_sums = parts.multiply, parts.complete, parts.to_factors, parts.of_sums
    look_up = parts.look_up

    @njit(inline="always")
    def step(known: Any, base: int, weights: Any, vectors: Any, tables: Any, n: Any, memory: Any) -> None:
        (of_row, _, _), (f, _, _), (_, acc, _, _, state, factors, _) = vectors, tables, memory
        rows, hidden = n[rows_at], n[hidden_at]
        to_factors(state, factors, hidden)
        multiply(weights, n, memory, 0, n[blocks_at])
        complete(known, base, of_row, n, acc, 0, rows)
        of_sums(acc, of_row, n, 0, rows)
        look_up(f, acc, state, 0, hidden)

    return step


_STEPS: dict[str, Callable[[CodeRecurrence], Callable[..., None]]] = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}


def python_kernel(spec: CodeRecurrence) -> Callable[..., None]:
    """Return the kernel."""
    states, cells, factors_at = elements(spec.state), elements(spec.cells), elements(spec.factors.stored)
    integers, words, lengths_at = elements("i64"), elements("i32"), elements("i32")
    given_h, given_c = elements(spec.given_h or "i8"), elements(spec.given_c or "i8")
    has_h, has_c, ragged, is_lstm = bool(spec.given_h), bool(spec.given_c), spec.ragged, spec.cell == "lstm"
    code, step, taps = rounded(spec.rounding, spec.fitting, True), _STEPS[spec.cell](spec), spec.factors.taps
    of_state, of_cell, h_right, c_right = _N["state_least"], _N["cell_least"], _N["h_right"], _N["c_right"]
    rows_at, hidden_at, time_at, batch_at, reverse_at = (_N[n] for n in ("rows", "hidden", "time", "batch", "reverse"))
    h_row, c_row, y_step, y_row = (_N[n] for n in ("h_row", "c_row", "y_step", "y_row"))
    last_h_row, last_c_row, r_at, high_at = (_N[n] for n in ("last_h_row", "last_c_row", "r", "r_high"))
    of_row_at, own_at, p_at, f_at, g_at, last_at = (_N[n] for n in ("of_row", "own_bias", "p", "f", "g", "last"))

    @njit(inline="always")
    def in_word(v: int, n: Any, word: int, shift: int) -> int:
        return code(v, n[shift], n[shift + 1], n[word], n[word + 1], n[word + 2], n[word + 3])

    def code_recurrence(
        sums: int,
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
        known, n = integers(sums), integers(numbers)
        weights, tables = (n[r_at], n[high_at]), (words(n[f_at]), words(n[g_at]), words(n[last_at]))
        vectors = (integers(n[of_row_at]), integers(n[own_at]), integers(n[p_at]))
        rows, hidden, time = n[rows_at], n[hidden_at], n[time_at]
        entries = scratch + 8 * (rows + BLOCK_ROWS)
        acc, found, cell = integers(scratch), words(entries), words(entries + 4 * rows)
        state, after = words(entries + 4 * (rows + hidden)), entries + 4 * (rows + 2 * hidden)
        factors = factors_at(after)
        for u in range(hidden, hidden + taps):
            factors[u] = 0
        memory = (scratch, acc, found, cell, state, factors, after)
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
