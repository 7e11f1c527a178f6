"""The code of `kernels.matmul.Matmul`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llvmlite import ir

from ..elements import ELEMENT_BYTES, VECTOR_BYTES, lanes_of
from ..isa import Isa
from ..matmul import BLOCK, Matmul, tile_rows
from .loops import Arguments, counted
from .memory import Variable
from .vector import F32, F64, I64, Value, first_lanes, fused, load, load_lanes, load_scalar, prefetch

_CHAINS = 8  # sums that a core needs, as each takes 4 cycles and two begin in each


def emit(spec: Matmul, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    vectors, lanes = spec.vectors, lanes_of(spec.element)
    with counted(a.end, a.first) as unit:
        panel, others = unit.modulo(a.panels), unit.divided_by(a.panels)
        group, matrix = others.modulo(a.groups), others.divided_by(a.groups)
        column = panel * (vectors * lanes)
        offsets = a.offsets + (matrix << 5)
        x, w, y, c = (a[name] + load_scalar(offsets + 8 * i, I64) for i, name in enumerate("xwyc"))
        first = group * a.group_rows
        end = (first + a.group_rows).at_most(a.rows)
        width = ELEMENT_BYTES[spec.element]
        blocks = (a.inner + (BLOCK - 1)).divided_by(BLOCK)
        columns = _Columns(w + panel * a.w_panel, y + column * width, c + column * width, [None] * vectors)
        left = a.columns - column
        with counted(blocks) as number:
            start = number * BLOCK
            inner = _Inner(start, (a.inner - start).at_most(BLOCK), number.equals(0), number.equals(blocks - 1))
            with a.b.if_else((left >= vectors * lanes).v, likely=True) as (whole, cut):
                with whole:
                    _emit_rows(_Tile(spec, isa, a, x, columns, inner), first, end)
                with cut:
                    masks = [first_lanes(left - v * lanes, lanes) for v in range(vectors)]
                    _emit_rows(_Tile(spec, isa, a, x, replace(columns, masks=masks), inner), first, end)


def _emit_rows(tile: "_Tile", first: Value, end: Value) -> None:
    """Build the tiles of rows first..end: as many of the tallest as there are, and then smaller ones."""
    row = first
    for rows in tile_rows(tile.isa):
        count = (end - row).divided_by(rows)
        with counted(count) as i:
            tile.emit(row + i * rows, rows)
        row = row + count * rows


@dataclass(frozen=True)
class _Columns:
    """Panel of columns.

    Attributes
    ----------
    w, y, c : addresses of the panel on the right, of the panel of the result, and of what is added to it.
    masks : columns of each vector; None for all.
    """

    w: Value
    y: Value
    c: Value
    masks: Sequence[Value | None]


@dataclass(frozen=True)
class _Inner:
    """Block of the inner axis: where it starts, its length, and whether it is the first and the last."""

    start: Value
    length: Value
    is_first: Value
    is_last: Value


@dataclass(frozen=True)
class _Tile:
    """Some rows of the result times a panel, over a block of the inner axis.

    Attributes
    ----------
    spec, isa, a : specification, instruction set and arguments of the kernel.
    x : address of the matrix on the left.
    columns : panel.
    inner : block of the inner axis.
    """

    spec: Matmul
    isa: Isa
    a: Arguments
    x: Value
    columns: _Columns
    inner: _Inner

    def emit(self, row: Value, rows: int) -> None:
        """Build the tile that begins at a row."""
        b, y_row = self.a.b, self.a.y_row
        results = [self.columns.y + (row + r) * y_row for r in range(rows)]
        kind = ir.VectorType(self._element, self._lanes)
        sums = [Variable(Value(b, ir.Constant(kind, None))) for _ in results for _ in self._vectors]
        self._multiply(self.x + row * self.a.x_row, rows, sums)
        with b.if_then(b.not_(self.inner.is_first.v)):
            for i, total in enumerate(sums):
                r, v = divmod(i, len(self._vectors))
                total.put(total.get() + self._load(results[r], v))
        with b.if_else(self.inner.is_last.v) as (last, others):
            with last:
                self._store(results, self._finished(row, [total.get() for total in sums]))
            with others:
                self._store(results, [total.get() for total in sums])

    @property
    def _vectors(self) -> range:
        return range(len(self.columns.masks))

    @property
    def _lanes(self) -> int:
        return lanes_of(self.spec.element)

    @property
    def _element(self) -> ir.Type:
        return F32 if self.spec.element == "f32" else F64

    def _multiply(self, x: Value, rows: int, sums: list[Variable]) -> None:
        """Build the loop over the inner axis; a tile of few sums takes several elements at a time."""
        chains = max(1, _CHAINS // (len(sums) * self.isa.parts)) if self.isa.has_fma else 1
        a, start, length = self.a, self.inner.start, self.inner.length
        x, w = x + start * a.x_step, self.columns.w + start * a.w_row
        if chains > 1:
            nothing = sums[0].get().like(0)
            others = [[Variable(nothing) for _ in sums] for _ in range(chains - 1)]
            whole = length.divided_by(chains)
            with counted(whole) as i:
                for chain, totals in enumerate([sums, *others]):
                    self._add(x, w, i * chains + chain, rows, totals)
            with counted(length, whole * chains) as k:
                self._add(x, w, k, rows, sums)
            for totals in others:
                for total, other in zip(sums, totals, strict=True):
                    total.put(total.get() + other.get())
            return
        with counted(length) as k:
            self._add(x, w, k, rows, sums)

    def _add(self, x: Value, w: Value, k: Value, rows: int, sums: list[Variable]) -> None:
        """Build the products of one element of the inner axis."""
        a, lanes = self.a, self._lanes
        line = w + k * a.w_row
        weights = [
            load(line + v * VECTOR_BYTES, self._element, lanes, align=4) if self.spec.packed else self._load(line, v)
            for v in self._vectors
        ]
        if self.spec.packed and rows == tile_rows(self.isa)[0]:
            for v in self._vectors:  # the next block of the panel, or the next panel, comes after this one
                prefetch(line + (BLOCK * len(self._vectors) + v) * VECTOR_BYTES)
        column = x + k * a.x_step
        for r in range(rows):
            factor = load_scalar(column + a.x_row * r, self._element).splat(lanes)
            for v in self._vectors:
                total = sums[r * len(self._vectors) + v]
                total.put(fused(total.get(), factor, weights[v], is_fused=self.isa.has_fma))

    def _finished(self, row: Value, totals: list[Value]) -> list[Value]:
        """Return alpha times the sums plus beta times c, between bounds."""
        a, lanes, size = self.a, self._lanes, ELEMENT_BYTES[self.spec.element]
        alpha, beta, low, high = (load_scalar(a.scalars + size * i, self._element).splat(lanes) for i in range(4))
        finished = []
        for i, total in enumerate(totals):
            r, v = divmod(i, len(self._vectors))
            added = self._load(self.columns.c + (row + r) * a.c_row, v)
            result = (total * alpha + added * beta).at_least(low).at_most(high)
            finished.append(added.where(added.equals(-float("inf")), result) if self.spec.masks else result)
        return finished

    def _load(self, address: Value, v: int) -> Value:
        """Return the elements of a row of a panel that lies in place."""
        mask, place = self.columns.masks[v], address + v * VECTOR_BYTES
        if mask is None:
            return load(place, self._element, self._lanes, align=4)
        return load_lanes(place, self._element, mask)

    def _store(self, results: list[Value], totals: list[Value]) -> None:
        for i, total in enumerate(totals):
            r, v = divmod(i, len(self._vectors))
            mask, place = self.columns.masks[v], results[r] + v * VECTOR_BYTES
            if mask is None:
                total.store(place)
            else:
                total.store_masked(place, mask)
