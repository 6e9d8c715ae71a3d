"""Normalisation by neighbours: of each vector by its length, of each pixel by neighbouring channels or pixels."""

from __future__ import annotations

import numpy as np

from tinygrad_cnn.autograd import Residuals, primitive
from tinygrad_cnn.errors import check_dims, check_float, check_int, check_tensor
from tinygrad_cnn.kernels import unit_vectors as kernels
from tinygrad_cnn.kernels.elementwise import empty_like
from tinygrad_cnn.ops.accumulate import norm
from tinygrad_cnn.ops.conv import conv2d
from tinygrad_cnn.ops.elementwise import clamp, maximum, sqrt, where
from tinygrad_cnn.ops.reduction import mean, sum
from tinygrad_cnn.types import Array, Dims


@primitive
def _channel_sums(input: Array, before: int, after: int) -> Array:
    """The sum over channels ``c - before`` to ``c + after`` at each channel c; there is nothing beyond the ends."""
    y = empty_like(input)
    np.copyto(y, input)
    channels = input.shape[1]
    for offset in range(1, min(before, channels - 1) + 1):
        np.add(y[:, offset:], input[:, :-offset], out=y[:, offset:])
    for offset in range(1, min(after, channels - 1) + 1):
        np.add(y[:, :-offset], input[:, offset:], out=y[:, :-offset])
    return y


@_channel_sums.vjp("input")
def _(g, before, after):
    return _channel_sums(g, after, before)


def local_response_norm(input: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Array:
    """Divide each value by a power of the squares around it in neighbouring channels.

    ``y[c] = x[c] / (k + alpha / size * sum(x[j]**2))**beta``, the sum over the channels ``c - size // 2`` to
    ``c + (size - 1) // 2``.

    Parameters
    ----------
    input : tensor (N, C, *)
        With at least one dimension after the channels.
    size : int
        How many channels are neighbours.
    alpha, beta, k : float

    Raises
    ------
    ValueError
        If `input` has less than three dimensions, or `size` is less than 1.

    References
    ----------
    Krizhevsky, Sutskever & Hinton: ImageNet classification with deep convolutional neural networks, 2012, section 3.3
    (where alpha is not divided by the size).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> import tinygrad_cnn.nn.functional as F
    >>> F.local_response_norm(tg.ones(1, 3, 1), 2, alpha=2.0, beta=1.0).tolist()
    [[[0.5], [0.3333333432674408], [0.3333333432674408]]]
    """
    operation = "local_response_norm"
    _check_floating(operation, input)
    if input.ndim < 3:
        raise ValueError(f"{operation}: input expects (N, C, *) with 3 or more dimensions but has {tuple(input.shape)}")
    if 0 in input.shape:
        return input
    width = check_int(operation, "size", size, minimum=1)
    scale = check_float(operation, "alpha", alpha) / width
    squares = _channel_sums(input * input, width // 2, (width - 1) // 2)
    return input * (squares * scale + check_float(operation, "k", k)) ** -check_float(operation, "beta", beta)


def local_contrast_norm(input: Array, kernel_size: int = 9, sigma: float | None = None, eps: float = 1e-4) -> Array:
    """Subtract from each pixel the mean around it, then divide it by the deviation around it, over all channels.

    ``v = x - mean(x)`` and ``y = v / max(c, s)`` with ``s = sqrt(mean(v**2))`` at each pixel and c the mean of s over
    the image. Both means are taken over all channels and a window with Gaussian weights, of which those count that lie
    inside the image.

    Parameters
    ----------
    input : tensor (N, C, H, W)
    kernel_size : int
        Height and width of the window, odd.
    sigma : float, optional
        Width of the Gaussian in pixels. Default: a quarter of `kernel_size`.
    eps : float
        The least deviation: flat regions give 0.

    Raises
    ------
    ValueError
        If `input` does not have four dimensions, `kernel_size` is even, or `sigma` or `eps` is not positive.

    References
    ----------
    Jarrett, Kavukcuoglu, Ranzato & LeCun: What is the best multi-stage architecture for object recognition?, ICCV
    2009, section 2.1.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> import tinygrad_cnn.nn.functional as F
    >>> F.local_contrast_norm(tg.ones(1, 1, 2, 2), kernel_size=3).abs().max().item() < 1e-6
    True
    """
    operation = "local_contrast_norm"
    _check_floating(operation, input)
    if input.ndim != 4:
        raise ValueError(f"{operation}: input expects (N, C, H, W) but has shape {tuple(input.shape)}")
    width = check_int(operation, "kernel_size", kernel_size, minimum=1)
    if not width % 2:
        raise ValueError(f"{operation}: kernel_size expects an odd number but got {kernel_size}")
    spread = width / 4 if sigma is None else check_float(operation, "sigma", sigma)
    if not spread > 0:
        raise ValueError(f"{operation}: sigma expects a positive number but got {sigma}")
    least = check_float(operation, "eps", eps)
    if not least > 0:
        raise ValueError(f"{operation}: eps expects a positive number but got {eps}")
    _, channels, height, columns = input.shape
    profile = np.exp(-0.5 * ((np.arange(width) - width // 2) / spread) ** 2)
    window = np.broadcast_to(np.outer(profile, profile), (1, channels, width, width)).astype(input.dtype)
    inside = conv2d(np.ones((1, channels, height, columns), input.dtype), window, padding=width // 2)
    centred = input - conv2d(input, window, padding=width // 2) / inside
    variance = conv2d(centred * centred, window, padding=width // 2) / inside
    # The root has no derivative at 0.
    deviation = sqrt(clamp(variance, least**2))
    return centred / maximum(deviation, mean(deviation, (1, 2, 3), True))


@primitive
def _unit_vectors(input: Array, dim: int, eps: float) -> Array:
    """``x / max(length, eps)``, for Euclid's length along `dim`."""
    y, length = kernels.unit_vectors(input, dim, eps)
    return Residuals(y, length=length)


@_unit_vectors.vjp("input")
def _(g, input, dim, eps, output, length):
    return _unit_vectors_grad(g, input, dim, eps, output, length)


# The unit vectors and the lengths are constants here; the derivatives compute them again, from the input.
@primitive(constants=("unit", "length"))
def _unit_vectors_grad(g: Array, input: Array, dim: int, eps: float, unit: Array, length: Array) -> Array:
    """``P g``, with ``P = (1 - y y^T) / length``, or ``1 / eps`` for shorter vectors: the symmetric Jacobian."""
    return kernels.unit_vectors_grad(g, unit, length, dim, eps)


@_unit_vectors_grad.vjp("g")
def _(h, input, dim, eps, unit, length):
    return _unit_vectors_grad(h, input, dim, eps, unit, length)


# <h, P g> is (<h, g> - <h, y> <g, y>) / length. The derivative of y is P, that of 1 / length is -y / length**2.
@_unit_vectors_grad.vjp("input")
def _(h, g, input, dim, eps, unit, length):
    y, size = _unit_vectors(input, dim, eps), norm(input, 2, dim, keepdim=True)
    along_g, along_h = sum(g * y, dim, True), sum(h * y, dim, True)
    turned_g, turned_h = (_unit_vectors_grad(c, input, dim, eps, unit, length) for c in (g, h))
    shrunk = (sum(g * h, dim, True) - along_g * along_h) * y / size
    return where(length > eps, -(shrunk + along_g * turned_h + along_h * turned_g) / size, 0)


def normalize(input: Array, p: float = 2.0, dim: Dims = 1, eps: float = 1e-12, out: None = None) -> Array:
    """Divide each vector along `dim` by its p-norm: ``x / max(norm(x), eps)``.

    Parameters
    ----------
    input : tensor of any shape
    p : float
        Infinity for the largest absolute value.
    dim : int or tuple of int
    eps : float
        The least divisor.
    out : None
        Accepted as None alone: the result is always new.

    Raises
    ------
    TypeError
        If the dtype is not floating, or `out` is given.
    IndexError
        If there is no such dimension.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> import tinygrad_cnn.nn.functional as F
    >>> F.normalize(tg.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    operation = "normalize"
    _check_floating(operation, input)
    if out is not None:
        raise TypeError(f"{operation}: out expects None: the result is always new")
    exponent, least = check_float(operation, "p", p), check_float(operation, "eps", eps)
    dims = check_dims(operation, dim, input.ndim)
    if exponent == 2 and len(dims) == 1 and input.dtype.itemsize >= 4 and 0 not in input.shape:
        return _unit_vectors(input, dims[0], least)
    return input / clamp(norm(input, exponent, dims, keepdim=True), least)


def _check_floating(operation: str, input: Array) -> None:
    check_tensor(operation, "input", input)
    if input.dtype.kind != "f":
        raise TypeError(f"{operation}: input expects a floating dtype but has {input.dtype}")
