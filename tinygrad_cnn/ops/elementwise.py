"""Elementwise primitives: arithmetic, powers, exponentials, comparisons, selections.

``g`` is the cotangent of the output. Broadcasting is undone by the engine, so the formulas are those for numbers.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_tensor
from tinygrad_cnn.kernels import elementwise as kernels
from tinygrad_cnn.kernels.activation import tanh_grad
from tinygrad_cnn.kernels.buffers import SMALLEST
from tinygrad_cnn.kernels.layouts import copied, copied_in_order
from tinygrad_cnn.kernels.powers import PLAIN_POWERS
from tinygrad_cnn.ops.dtypes import check_number, fractional, promote, too_large
from tinygrad_cnn.types import Array, Scalar


def _broadcast(ufunc, operation, a, b):
    """A binary ufunc in the right dtype, with an error that names the operation."""
    try:
        if type(a) is type(b) is ndarray and a.dtype is b.dtype and a.nbytes < SMALLEST > b.nbytes:
            return np.asarray(ufunc(a, b))  # what small graphs consist of
        a, b = promote(a, b, operation)
        return kernels.apply(ufunc, a, b)
    except ValueError as error:
        raise ValueError(f"{operation}: {np.shape(a)} and {np.shape(b)}: {error}") from None
    except OverflowError:
        raise too_large(operation, a, b) from None


# ------------------------------------------------------------------------------------------ arithmetic


@primitive
def add(input: Array, other: Array) -> Array:
    """``input + other``, with broadcasting."""
    return _broadcast(np.add, "add", input, other)


@add.vjp("input")
def _(g):
    return g


@add.vjp("other")
def _(g):
    return g


@primitive
def sub(input: Array, other: Array) -> Array:
    """``input - other``, with broadcasting."""
    return _broadcast(np.subtract, "sub", input, other)


@sub.vjp("input")
def _(g):
    return g


@sub.vjp("other")
def _(g):
    return neg(g)


@primitive
def mul(input: Array, other: Array) -> Array:
    """``input * other``, with broadcasting."""
    return _broadcast(np.multiply, "mul", input, other)


def _times(g, x):
    """``mul(g, x)``; of small arrays of one dtype, what NumPy makes of them: graphs have many of these."""
    if type(g) is type(x) is ndarray and g.dtype is x.dtype and g.nbytes < SMALLEST:
        return np.multiply(g, x)
    return mul(g, x)


@mul.vjp("input")
def _(g, other):
    return _times(g, other)


@mul.vjp("other")
def _(g, input):
    return _times(g, input)


@primitive
def div(input: Array, other: Array) -> Array:
    """``input / other``, with broadcasting; integers give float32."""
    a, b = promote(input, other, "div")
    return _broadcast(np.true_divide, "div", _in_fractions(a), _in_fractions(b))


def _in_fractions(x):
    return fractional(x) if isinstance(x, np.ndarray) else x


@div.vjp("input")
def _(g, other):
    return div(g, other)


@div.vjp("other")
def _(g, other, output):
    return div(mul(neg(g), output), other)


@primitive
def neg(input: Array) -> Array:
    """``-input``."""
    return kernels.apply(np.negative, input)


@neg.vjp("input")
def _(g):
    return neg(g)


@primitive(constants=("input", "other"))
def _zero_to_the_zero(input: Array, other: Array) -> Array:
    """Where both are 0: there, x**n has the derivative 0 in x, which the formula would give as 0 * inf."""
    return np.logical_and(np.equal(input, 0), np.equal(other, 0))


@primitive
def pow(input: Array, exponent: Array) -> Array:
    """``input ** exponent``, with broadcasting.

    The derivative in `exponent` is ``output * log(input)``, and 0 at ``input == 0`` where `exponent` is not negative.
    """
    base, n = promote(input, exponent, "pow")
    if isinstance(n, np.ndarray) and n.dtype.kind == "i" and np.any(n < 0):
        # Integers stay integers: 1/x is cut off to 1, -1 or 0.
        power = np.power(base, np.absolute(n))
        return np.where(n < 0, np.where(np.absolute(power) == 1, power, 0), power).astype(np.result_type(base, n))
    if isinstance(base, np.ndarray) and base.dtype.kind == "f" and np.ndim(n) == 0 and float(n) in PLAIN_POWERS:
        return kernels.blockwise(PLAIN_POWERS[float(n)], base)
    return _broadcast(np.power, "pow", base, n)


@pow.vjp("input")
def _(g, input, exponent):
    if isinstance(exponent, (int, float)):
        return zeros_like(g) if exponent == 0 else g * (exponent * input ** (exponent - 1))
    lowered = where(_zero_to_the_zero(input, exponent), 0, exponent - 1)
    return g * (exponent * input**lowered)


@primitive(constants=("input", "exponent"))
def _power_of_zero(input: Array, exponent: Array) -> Array:
    """Where a power of 0 stays 0 (or 1) however the exponent moves."""
    return np.logical_and(np.equal(input, 0), np.greater_equal(exponent, 0))


@pow.vjp("exponent")
def _(g, input, exponent, output):
    # At 0 the logarithm of 1, in the precision of the output.
    return g * output * log(where(_power_of_zero(input, exponent), ones_like(output), input))


def add_scaled(input: Array, other: Array, *, alpha: Scalar = 1) -> Array:
    """``input + alpha * other``, with broadcasting."""
    return add(input, _scaled(other, alpha, input))


def sub_scaled(input: Array, other: Array, *, alpha: Scalar = 1) -> Array:
    """``input - alpha * other``, with broadcasting."""
    if alpha != 1 and getattr(input, "dtype", None) == getattr(other, "dtype", None) == np.bool_:
        raise TypeError("sub: booleans cannot be subtracted; use ^ for their difference")
    return sub(input, _scaled(other, alpha, input))


def _scaled(other: Array, alpha: Scalar, input: Array) -> Array:
    """``alpha * other``, in the precision that the sum with `input` will have."""
    if alpha == 1:
        return other
    if hasattr(other, "dtype") and hasattr(input, "dtype") and other.dtype.kind == input.dtype.kind == "f":
        other = cast(other, np.result_type(other.dtype, input.dtype))
    return other * alpha


# ----------------------------------------------------------------------------------- functions of one x


@primitive
def exp(input: Array) -> Array:
    """The exponential function."""
    return kernels.apply(np.exp, fractional(input))


@exp.vjp("input")
def _(g, output):
    return _times(g, output)


@primitive
def log(input: Array) -> Array:
    """The natural logarithm."""
    return kernels.apply(np.log, fractional(input))


@log.vjp("input")
def _(g, input):
    return div(g, input)


@primitive
def sqrt(input: Array) -> Array:
    """The square root."""
    return kernels.apply(np.sqrt, fractional(input))


@sqrt.vjp("input")
def _(g, output):
    return div(g, mul(output, 2))


@primitive
def abs(input: Array) -> Array:
    """The absolute value; its derivative at 0 is 0."""
    return kernels.apply(np.absolute, input)


@abs.vjp("input")
def _(g, input):
    return g * sign(input)


@primitive
def sign(input: Array) -> Array:
    """-1, 0 or 1; its derivative is 0. Of booleans the input itself."""
    return input.copy() if input.dtype == np.bool_ else kernels.apply(np.sign, input)


@sign.vjp("input")
def _(g):
    return zeros_like(g)


@primitive
def tanh(input: Array) -> Array:
    """The hyperbolic tangent."""
    return kernels.apply(np.tanh, fractional(input))


@tanh.vjp("input")
def _(g, output):
    gradient = _tanh_grad.forward if type(g) is ndarray else _tanh_grad
    return gradient(g, output)


@primitive
def _tanh_grad(g: Array, output: Array) -> Array:
    if output.nbytes < SMALLEST and output.itemsize > 2:
        return np.asarray(g * (1 - output * output))  # graphs have many of these
    return kernels.blockwise(tanh_grad, g, output)


@_tanh_grad.vjp("g")
def _(h, output):
    return _tanh_grad(h, output)


@_tanh_grad.vjp("output")
def _(h, g, output):
    return h * g * (-2 * output)


# ------------------------------------------------------------------------------------------ comparisons


def _comparison(name, ufunc):
    """One of the six comparisons: booleans, without a derivative."""

    def compare(input: Array, other: Array) -> Array:
        check_tensor(name, "input", input)
        return _broadcast(ufunc, name, input, other)

    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = f"Whether ``input {_SIGNS[name]} other``, elementwise, as booleans."
    return primitive(compare, constants=("input", "other"))


_SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
eq = _comparison("eq", np.equal)
ne = _comparison("ne", np.not_equal)
lt = _comparison("lt", np.less)
le = _comparison("le", np.less_equal)
gt = _comparison("gt", np.greater)
ge = _comparison("ge", np.greater_equal)


# ---------------------------------------------------------------------------------------- bits and truth


def _bitwise(name, ufunc):
    """A logical operation on booleans, bit by bit on integers, without a derivative."""

    def combine(input: Array, other: Array) -> Array:
        return _broadcast(ufunc, name, input, other)

    combine.__name__ = combine.__qualname__ = name
    combine.__doc__ = f"{name.removeprefix('bitwise_').upper()} of booleans, or of the bits of integers."
    return primitive(combine)


bitwise_and = _bitwise("bitwise_and", np.bitwise_and)
bitwise_or = _bitwise("bitwise_or", np.bitwise_or)
bitwise_xor = _bitwise("bitwise_xor", np.bitwise_xor)


@primitive
def bitwise_not(input: Array) -> Array:
    """NOT of booleans, or of the bits of integers."""
    return kernels.apply(np.invert, input)


# ------------------------------------------------------------------------------------------- selections


@primitive
def where(condition: Array, input: Array, other: Array) -> Array:
    """`input` where `condition` holds, else `other`, with broadcasting.

    Raises
    ------
    TypeError
        If `condition` is not boolean.
    ValueError
        If the shapes do not broadcast, or if the dtype of one can't hold the other, a number.
    """
    if getattr(condition, "dtype", None) != np.bool_:
        raise TypeError(f"where: condition expects a boolean tensor but got {getattr(condition, 'dtype', condition)}")
    a, b = input, other
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        a, b = promote(a, b, "where")
        if type(a) is int and b.dtype.kind in "iu":  # which NumPy would wrap around
            a = check_number("where", "input", a, b.dtype)
        elif type(b) is int and a.dtype.kind in "iu":
            b = check_number("where", "other", b, a.dtype)
    elif not isinstance(a, np.generic) and not isinstance(b, np.generic):
        a, b = _default(a), _default(b)
    try:
        return kernels.where(condition, a, b)
    except ValueError as error:
        raise ValueError(f"where: {np.shape(condition)}, {np.shape(a)} and {np.shape(b)}: {error}") from None


def _default(scalar):
    return np.float32(scalar) if type(scalar) is float else scalar


@where.vjp("input")
def _(g, condition):
    return where(condition, g, 0)


@where.vjp("other")
def _(g, condition):
    return where(condition, 0, g)


@primitive(constants=("input", "other"))
def _share(input: Array, other: Array) -> Array:
    """1 where input > other, 1/2 at ties, 0 elsewhere, in the floating dtype of the two."""
    a, b = promote(input, other)
    dtype = np.result_type(a, b)
    return np.where(a == b, dtype.type(0.5), (a > b).astype(dtype))


@primitive
def maximum(input: Array, other: Array) -> Array:
    """The larger of two, elementwise, with broadcasting; ties halve the gradient."""
    check_tensor("maximum", "input", input)
    check_tensor("maximum", "other", other)
    return _broadcast(np.maximum, "maximum", input, other)


@maximum.vjp("input")
def _(g, input, other):
    return g * _share(input, other)


@maximum.vjp("other")
def _(g, input, other):
    return g * _share(other, input)


@primitive
def minimum(input: Array, other: Array) -> Array:
    """The smaller of two, elementwise, with broadcasting; ties halve the gradient."""
    check_tensor("minimum", "input", input)
    check_tensor("minimum", "other", other)
    return _broadcast(np.minimum, "minimum", input, other)


@minimum.vjp("input")
def _(g, input, other):
    return g * _share(other, input)


@minimum.vjp("other")
def _(g, input, other):
    return g * _share(input, other)


@primitive
def clamp(input: Array, min: Array = None, max: Array = None) -> Array:
    """`input` limited to ``[min, max]``; bounds are numbers or tensors, and either may be None.

    The gradient goes to `input` within the bounds, bounds included, and to a bound where it was exceeded.

    Raises
    ------
    ValueError
        If both bounds are None, or if the dtype of `input` can't hold a bound that is an int.
    """
    if min is None and max is None:
        raise ValueError("clamp: expected min, max or both but got neither")
    check_tensor("clamp", "input", input)
    if input.dtype.kind == "f" and all(bound is None or type(bound) in (int, float) for bound in (min, max)):
        return kernels.limited(input, -np.inf if min is None else min, np.inf if max is None else max)
    y = input
    if min is not None:
        y = _broadcast(np.maximum, "clamp", y, min)
    if max is not None:
        y = _broadcast(np.minimum, "clamp", y, max)
    return y


@clamp.vjp("input")
def _(g, input, min, max):
    if min is not None:
        g = where(lt(input, min), 0, g)
    if max is not None:
        g = where(gt(input, max), 0, g)
    return g


@clamp.vjp("min")
def _(g, input, min, max):
    g = where(lt(input, min), g, 0)
    return g if max is None else where(lt(min, max), g, 0)


@clamp.vjp("max")
def _(g, input, min, max):
    if min is None:
        return where(gt(input, max), g, 0)
    return where(gt(clamp(input, min, None), max), g, 0)


@primitive(constants=("input",))
def zeros_like(input: Array) -> Array:
    """Zeros of the shape and dtype of `input`."""
    return np.zeros_like(input)


@primitive(constants=("input",))
def ones_like(input: Array) -> Array:
    """Ones of the shape and dtype of `input`."""
    return np.ones_like(input)


@primitive
def cast(input: Array, dtype: np.dtype) -> Array:
    """`input` in another dtype; the gradient comes back in the dtype of `input`."""
    return input.astype(dtype)


@cast.vjp("input")
def _(g):
    return g


@primitive
def clone(input: Array) -> Array:
    """A copy that passes gradients on."""
    return copied(input)


@primitive
def contiguous(input: Array) -> Array:
    """A copy in row-major memory."""
    return copied_in_order(input)


@clone.vjp("input")
@contiguous.vjp("input")
def _(g):
    return g
