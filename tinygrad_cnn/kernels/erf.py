"""The error function, which NumPy lacks: in double precision to the last bit or two, in single precision fast.

The coefficients were fitted for this file, at 50 digits: `_CENTRE` and `_TAIL` by Chebyshev's economisation, `_SINGLE`
by Lawson's algorithm, which makes the largest relative error of erf as small as it can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.elementwise import Step, ready, scratch_like

__all__ = ["erf", "polynomial"]

Array = NDArray[Any]

# All from the highest power down. (erf(x) / x - 1) in x², for |x| <= 1: error 7e-18.
_CENTRE = (
    -7.795898827002142e-10,
    1.3720064546777686e-08,
    -1.6208483801871705e-07,
    1.6447424703317362e-06,
    -1.492473690741966e-05,
    0.00012055294904839707,
    -0.0008548325975389692,
    0.0052239776071164225,
    -0.02686617064323777,
    0.11283791670945006,
    -0.37612638903183543,
    0.12837916709551256,
)
# exp(x²) erfc(x) in (x - 2.5) / (x + 2.5), for 1 <= x <= 6: error 1e-17.
_TAIL = (
    8.134380709229634e-08,
    -1.5625258507743158e-06,
    -2.2842173094341345e-06,
    7.48480117852628e-06,
    1.8609712314617464e-05,
    -3.4172229273553035e-05,
    -0.00012887649615317198,
    0.00022837955896605415,
    0.0008759154019168855,
    -0.002642365927759658,
    -0.0039937011641469865,
    0.0399225390747838,
    -0.12503305237885554,
    0.251713193217456,
    -0.3717367339489732,
    0.21080636406114356,
)
# atanh(erf(x)) / x in x²: relative error of erf 1e-7, the last bit of single precision.
_SINGLE = (
    1.41849694e-07,
    -5.66842877e-06,
    8.76370222e-05,
    -0.000619783792,
    -0.000191831881,
    0.102769056,
    1.12837927,
)


def erf(x: Array, out: Array) -> Iterator[Step]:
    """The steps that write ``erf(x) = 2/√π ∫ exp(-t²) dt`` from 0 to `x` into `out`, which may be `x`; NaN stays NaN.

    Single precision takes a single formula, ``tanh(x q(x²))``: no branches, and NumPy's tanh is vectorised. The error
    is at most 4 units in the last place, on average 0.4. Half precision must be widened first.

    Double precision goes by ranges, as in W. J. Cody, "Rational Chebyshev approximations for the error function",
    Math. Comp. 23 (1969): ``x + x p(x²)`` up to 1, ``1 - exp(-x²) t(x)`` beyond, with polynomials instead of
    quotients. In both, what is approximated is small next to what it is added to; the error is at most 2 units.
    """
    if out.dtype == np.float32:
        squares, steepness = scratch_like("erf", out, 2)
        yield np.square, x, squares
        yield from polynomial(_SINGLE, squares, steepness)
        yield np.multiply, steepness, x, steepness
        yield np.tanh, steepness, out
    else:
        yield partial(_by_ranges, x, out)


def polynomial(coefficients: tuple[float, ...], x: Array, out: Array) -> Iterator[Step]:
    """The steps of Horner's rule, from the highest power down, in `out`, which must not be `x`."""
    yield np.multiply, x, coefficients[0], out
    for coefficient in coefficients[1:-1]:
        yield np.add, out, coefficient, out
        yield np.multiply, out, x, out
    yield np.add, out, coefficients[-1], out


def _by_ranges(x: Array, out: Array) -> None:
    flat = x.reshape(-1)
    central = np.abs(flat) <= 1
    inside, outside = np.flatnonzero(central), np.flatnonzero(~central)  # faster to index with than booleans
    result = np.empty_like(flat)
    result[inside] = _centre(flat[inside])
    result[outside] = _tail(flat[outside])
    out[...] = result.reshape(x.shape)


def _centre(x: Array) -> Array:
    result = _polynomial(_CENTRE, x * x)
    result *= x
    result += x
    return result


def _tail(x: Array) -> Array:
    size = np.abs(x)
    np.minimum(size, 6, out=size)  # there 1 - erf is less than half a unit in the last place
    result = _polynomial(_TAIL, (size - 2.5) / (size + 2.5))
    size *= size
    np.negative(size, out=size)
    result *= np.exp(size, out=size)
    np.subtract(1, result, out=result)
    return np.copysign(result, x, out=result)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    value = np.empty_like(x)
    for step in polynomial(coefficients, x, value):
        ready(step)()
    return value
