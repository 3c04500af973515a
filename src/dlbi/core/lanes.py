"""Blocks of float32 numbers that compiled loops hold in registers.

LLVM cannot rule out that arrays overlap, so by itself it writes the sums of a loop over pixels back
to memory after every pixel, which halves the speed. A block stays in registers. It also fixes the
order of every sum, whatever the width of the processor's registers::

    total = splat(np.float32(0.0))
    for p in range(n_pixels):
        total = multiply_add(weight[p], load(movie[p], t), total)
    store(out, t, total)

`load`, `store`, `splat` and `multiply_add` exist inside kernels only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, register_model

from dlbi.core.kernels import F32

LANES = 32
"""Numbers in a block: two registers of AVX-512, four of AVX2, eight of NEON."""

LINE_BYTES = 64
"""A cache line; no block straddles two if rows begin on one."""

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_UNKNOWN = ir.Constant(_VECTOR, ir.Undefined)
_ALL_FIRST = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
_FAST = ("contract", "nsz")


class Block(types.Type):
    """Numba's type of a block."""

    def __init__(self) -> None:
        super().__init__(name=f"Block[{LANES}]")


@register_model(Block)
class _BlockModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Block) -> None:
        super().__init__(manager, kind, _VECTOR)  # type: ignore[no-untyped-call]


_BLOCK = Block()


def whole_blocks(n: int) -> int:
    """The least multiple of `LANES` that holds n numbers."""
    return -(-n // LANES) * LANES


def zero_rows(shape: tuple[int, ...]) -> F32:
    """Zeros, float32, whose first number lies at the start of a cache line."""
    n_bytes = 4 * int(np.prod(shape))
    raw = np.zeros(n_bytes + LINE_BYTES, np.uint8)
    first = -raw.ctypes.data % LINE_BYTES
    return raw[first : first + n_bytes].view(np.float32).reshape(shape)


def _inside_kernels(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operation that numba replaces by the code which `function` returns."""
    return cast("Callable[..., Any]", intrinsic(function))


def _address(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    first = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(first, [start]), _VECTOR.as_pointer())


def _repeated(builder: Any, number: Any) -> Any:
    first = builder.insert_element(_UNKNOWN, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, _UNKNOWN, _ALL_FIRST)


@_inside_kernels
def load(typing: Any, row: Any, start: Any) -> Any:
    """The block row[start : start + LANES] of a contiguous array; bounds are not checked."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], *args), align=4)

    return _BLOCK(row, types.intp), code


@_inside_kernels
def store(typing: Any, row: Any, start: Any, block: Any) -> Any:
    """Write a block to row[start : start + LANES]; bounds are not checked."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _address(context, builder, signature.args[0], args[0], args[1])
        builder.store(args[2], place, align=4)
        return context.get_dummy_value()

    return types.void(row, types.intp, block), code


@_inside_kernels
def splat(typing: Any, number: Any) -> Any:
    """A block of one repeated number."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _repeated(builder, args[0])

    return _BLOCK(types.float32), code


@_inside_kernels
def multiply_add(typing: Any, factor: Any, block: Any, total: Any) -> Any:
    """factor · block + total for one number and two blocks."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        factor, block, total = args
        product = builder.fmul(_repeated(builder, factor), block, flags=_FAST)
        return builder.fadd(product, total, flags=_FAST)

    return _BLOCK(types.float32, block, total), code
