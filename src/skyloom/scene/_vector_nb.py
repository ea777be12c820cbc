"""Vectors of sixteen floats as values inside kernels.

`load`, `store`, `splat`, `fma`, ``+`` and ``-`` become single instructions (or two, or four, where
registers are shorter).  A vector that lies across two cache lines is loaded half as fast: arrays
from `aligned` start with a line.  Code written with them is vector code by construction: it neither
depends on what a compiler can prove about loops, nor does it round differently in another context,
because products and sums are fused where `fma` says so and nowhere else.
"""

from __future__ import annotations

import operator

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from skyloom._jit import kernel
from skyloom._types import Pixels

LANES = 16
LINE = 16  # floats in a cache line
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INT32 = ir.IntType(32)
_INT64 = ir.IntType(64)


class Vector(types.Type):
    """The numba type of sixteen floats."""

    def __init__(self):
        super().__init__(name="Vector16")


vector = Vector()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, _FLOATS)


@infer_global(operator.add)
@infer_global(operator.sub)
class _Sum(AbstractTemplate):
    def generic(self, args, kws):
        if not kws and len(args) == 2 and all(isinstance(a, Vector) for a in args):
            return signature(vector, vector, vector)
        return None


@lower_builtin(operator.add, Vector, Vector)
def _add(_context, builder, _sig, args):
    return builder.fadd(*args)


@lower_builtin(operator.sub, Vector, Vector)
def _subtract(_context, builder, _sig, args):
    return builder.fsub(*args)


def _pointer(context, builder, array_type, array, index):
    """Return the address of sixteen elements of a one-dimensional array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index], inbounds=True), _FLOATS.as_pointer())


def _mask(lanes):
    return ir.Constant(ir.VectorType(_INT32, LANES), lanes)


@intrinsic
def load(_typing, array, _index):
    """Return ``array[index : index + 16]`` of a one-dimensional array."""

    def code(context, builder, sig, args):
        return builder.load(_pointer(context, builder, sig.args[0], *args), align=4)

    return vector(array, types.int64), code


@intrinsic
def store(_typing, array, _index, value):
    """Set ``array[index : index + 16]`` of a one-dimensional array."""

    def code(context, builder, sig, args):
        pointer = _pointer(context, builder, sig.args[0], args[0], args[1])
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, value), code


@intrinsic
def splat(_typing, _number):
    """Return sixteen times the same number."""

    def code(_context, builder, _sig, args):
        none = ir.Constant(_FLOATS, ir.Undefined)
        first = builder.insert_element(none, args[0], ir.Constant(_INT32, 0))
        return builder.shuffle_vector(first, none, _mask([0] * LANES))

    return vector(types.float32), code


def _fused(negated):
    """Return the code of ``a * b + c`` or ``a * b - c``."""

    def code(_context, builder, _sig, args):
        a, b, c = args
        # fused where the machine can
        shape = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        function = cgutils.get_or_insert_function(builder.module, shape, "llvm.fmuladd.v16f32")
        return builder.call(function, [a, b, builder.fneg(c) if negated else c])

    return vector(vector, vector, vector), code


@intrinsic
def fma(_typing, _a, _b, _c):
    """Return ``a * b + c``, rounded once."""
    return _fused(negated=False)


@intrinsic
def fms(_typing, _a, _b, _c):
    """Return ``a * b - c``, rounded once."""
    return _fused(negated=True)


@intrinsic
def product(_typing, _a, _b):
    """Return ``a * b``."""

    def code(_context, builder, _sig, args):
        return builder.fmul(*args)

    return vector(vector, vector), code


@intrinsic
def first_lanes(_typing, _a, _count):
    """Return ``a`` with zeros from lane ``count`` on."""

    def code(_context, builder, _sig, args):
        lanes = ir.Constant(ir.VectorType(_INT32, LANES), list(range(LANES)))
        none = ir.Constant(ir.VectorType(_INT32, LANES), ir.Undefined)
        count = builder.trunc(args[1], _INT32)
        limit = builder.insert_element(none, count, ir.Constant(_INT32, 0))
        limit = builder.shuffle_vector(limit, none, _mask([0] * LANES))
        inside = builder.icmp_signed("<", lanes, limit)
        return builder.select(inside, args[0], ir.Constant(_FLOATS, [0.0] * LANES))

    return vector(vector, types.int64), code


@intrinsic
def total(_typing, _a):
    """Return the sum of all lanes, added in pairs."""

    def code(_context, builder, _sig, args):
        value, half = args[0], LANES // 2
        while half:
            turned = _mask([(k + half) % LANES for k in range(LANES)])
            value = builder.fadd(value, builder.shuffle_vector(value, value, turned))
            half //= 2
        return builder.extract_element(value, ir.Constant(_INT32, 0))

    return types.float32(vector), code


@intrinsic
def transpose_block(_typing, source, _start, _pitch, target, _to, _to_pitch):
    """Set ``target[to + l to_pitch + r] = source[start + r pitch + l]`` for l, r below 16."""

    def code(context, builder, sig, args):
        def row(array_type, array, begin, step, number):
            index = builder.add(begin, builder.mul(step, ir.Constant(_INT64, number)))
            return _pointer(context, builder, array_type, array, index)

        rows = [builder.load(row(sig.args[0], *args[:3], r), align=4) for r in range(LANES)]
        # Exchange bit by bit of the row number with the same bit of the lane number.
        bit = LANES // 2
        while bit:
            low = _mask([k if not k & bit else LANES + (k ^ bit) for k in range(LANES)])
            high = _mask([k ^ bit if not k & bit else LANES + k for k in range(LANES)])
            for r in range(LANES):
                if not r & bit:
                    a, b = rows[r], rows[r | bit]
                    rows[r] = builder.shuffle_vector(a, b, low)
                    rows[r | bit] = builder.shuffle_vector(a, b, high)
            bit //= 2
        for k in range(LANES):
            builder.store(rows[k], row(sig.args[3], *args[3:], k), align=4)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(source, i64, i64, target, i64, i64), code


@kernel
def aligned(length: int) -> Pixels:
    """Return room for so many floats that starts with a cache line."""
    room = np.empty(length + LINE - 1, np.float32)
    skip = -(room.ctypes.data // 4) % LINE
    return room[skip : skip + length]
