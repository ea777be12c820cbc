"""Calls between kernels that are compiled apart.

A kernel that calls another by name contains it: its code is optimised again in every caller, and in
the callers of these, which took two minutes for the deepest of ours.  `call_at` calls by address
instead.  Addresses differ from process to process, so they are arguments of the calling kernel:

>>> where = address_of(inner, *arguments_of_the_right_types)  # doctest: +SKIP
>>> outer(where, ...)  # in it: call_at(inner, where, (a, b, c))  # doctest: +SKIP

Kernels called in this way return nothing.
"""

from __future__ import annotations

from typing import Any

import numba as nb
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

__all__ = ["address_of", "call_at"]


def address_of(kernel: Any, *sample: Any) -> int:
    """Return the address of a kernel, compiled for arguments of the types of ``sample``."""
    signature = tuple(nb.typeof(value) for value in sample)
    kernel.compile(signature)
    compiled = kernel.overloads[signature]
    if compiled.signature.return_type != types.none:
        msg = f"{kernel.py_func.__name__} returns {compiled.signature.return_type}, not nothing"
        raise TypeError(msg)
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


@intrinsic
def _call_at(_typing, kernel, _address, arguments):
    """Call ``kernel``, which lies at an address, with a tuple of arguments."""
    signature = tuple(arguments)
    if signature not in kernel.dispatcher.overloads:
        known = [tuple(map(str, s)) for s in kernel.dispatcher.overloads]
        msg = f"no address can be known for {tuple(map(str, signature))}, only for {known}"
        raise TypingError(msg)

    def code(context, builder, sig, args):
        convention = context.call_conv
        argument_types = list(sig.args[2])
        values = cgutils.unpack_tuple(builder, args[2])
        shape = convention.get_function_type(types.none, argument_types)
        function = builder.inttoptr(args[1], shape.as_pointer())
        status, _ = convention.call_function(builder, function, types.none, argument_types, values)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.none(kernel, types.int64, arguments), code


call_at: Any = _call_at  # only kernels call it
