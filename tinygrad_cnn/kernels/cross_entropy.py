"""The cross-entropy of the softmax of scores (N, C, *) with classes (N, *) or distributions, and its gradient.

For each sample it is ``-sum(q * log_softmax(x))``, where q is a distribution, or ``own`` at the class plus
``rest * shares`` everywhere, with one share for each class: smoothed labels are never written out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.kernels.buffers import SMALLEST, scratch
from tinygrad_cnn.kernels.elementwise import empty_like
from tinygrad_cnn.kernels.lines import Lines, Part, lines_of, sums, sums_of_products, with_each
from tinygrad_cnn.kernels.softmax import exponentials, shifted_exponentials
from tinygrad_cnn.kernels.threads import Call

__all__ = [
    "Powers",
    "class_losses",
    "class_losses_grad",
    "distribution_losses",
    "distribution_losses_grad",
    "pick",
    "put_back",
]

Array = NDArray[Any]
# ``exp(x - peak)``, and its sum over the classes in the order of memory: what a gradient asks for.
Powers = tuple[Array | None, Array]

# Probabilities down to exp(-8) are computed as such, and have a logarithm that keeps its digits near 0 and never is
# above; those of less likely classes, as differences of logarithms.
_LIKELY = -8


def pick(x: Array, classes: Array) -> Array:
    """Return the elements of `x` (N, C, *) at the classes (N, *)."""
    lines = lines_of(x, 1)
    chosen = lines.bring(x).reshape(-1).take(lines.bring_choice(classes))
    return lines.restore(chosen)


def put_back(values: Array, x: Array, classes: Array) -> Array:
    """Return an array like `x` (N, C, *) with `values` (N, *), or one value, at the classes and 0 elsewhere."""
    lines = lines_of(x, 1)
    y = empty_like(x, values.dtype)
    y.fill(0)
    lines.bring(y).reshape(-1)[lines.bring_choice(classes)] = _values(lines, values).reshape(-1)
    return y


def class_losses(x: Array, classes: Array, shares: Array | None, keep: bool) -> tuple[Array, Array | None, Powers]:
    """Return ``-log_softmax(x)`` at the classes, its sum with `shares` (C,), and what the gradient asks for.

    If there will be no gradient, ``keep=False`` saves the memory of the powers.
    """
    lines = lines_of(x, 1)
    x_ = lines.bring(x)
    mean = lines.statistic(x.dtype)

    def mean_of(part: Part, exponents: Array) -> list[Call]:
        return [sums(exponents, mean[part], shares)]

    powers, peak, total = _powers(x, lines, exponentials, keep, None if shares is None else mean_of)
    exponents = x_.reshape(-1).take(lines.bring_choice(classes)) - peak.reshape(-1)
    likely = np.maximum(exponents, _LIKELY)
    # A sum is at least as large as each of its terms, also when it is rounded. Halves soon end below the quotient.
    quotients = np.divide(total.reshape(-1), np.exp(likely), dtype=np.result_type(x, np.float32))
    losses = np.log(quotients).astype(x.dtype, copy=False) + (likely - exponents)
    if shares is None:
        return lines.restore(losses), None, (powers, total)
    if np.isnan(mean).any():  # possibly of 0 * inf
        mean = _sum_of_products(shares[:, None], x_ - peak)
    even = np.add.reduce(shares) * np.log(total) - mean
    return lines.restore(losses), lines.restore(even), (powers, total)


def class_losses_grad(
    height: Array, own: Array, rest: Array, shares: Array | None, classes: Array, powers: Array, total: Array
) -> Array:
    """Return ``height * softmax(x) - own`` at the class ``- rest * shares``; the first three (N, *), or one number."""
    lines = lines_of(powers, 1)
    by_x = empty_like(powers)
    powers_, by_x_ = map(lines.bring, (powers, by_x))
    scale = _values(lines, height) / total
    spread = np.broadcast_to(_values(lines, rest), total.shape)

    def plan(part: Part) -> list[Call]:
        out = by_x_[part]
        calls = with_each(np.multiply, powers_[part], scale[part], out)
        if shares is not None:
            product = scratch("product", out.shape, out.dtype)
            calls += [_outer(spread[part], shares, product), partial(np.subtract, out, product, out=out)]
        return calls

    lines.over_blocks(plan)
    by_x_.reshape(-1)[lines.bring_choice(classes)] -= _values(lines, own).reshape(-1)
    return by_x


def distribution_losses(x: Array, q: Array, keep: bool) -> tuple[Array, Array, Powers]:
    """Return ``-sum(q * log_softmax(x))`` (N, *), where 0 * inf is 0, ``sum(q)`` and what the gradient asks for."""
    lines = lines_of(x, 1)
    x_, q_ = map(lines.bring, (x, q))
    mean, weight = lines.statistic(x.dtype), lines.statistic(x.dtype)

    def mean_of(part: Part, exponents: Array) -> list[Call]:
        spare = scratch("product", exponents.shape, x.dtype)
        return [*sums_of_products(q_[part], exponents, mean[part], spare), sums(q_[part], weight[part])]

    # With the peaks subtracted: the loss of what is nearly certain keeps its digits.
    powers, peak, total = _powers(x, lines, shifted_exponentials, keep, mean_of)
    if np.isnan(mean).any():
        mean = _sum_of_products(q_, x_ - peak)
    losses = weight * np.log(total) - mean
    return lines.restore(losses), lines.restore(weight), (powers, total)


def distribution_losses_grad(height: Array, g: Array, q: Array, powers: Array, total: Array) -> Array:
    """Return ``height * softmax(x) - g * q``; `height` and `g` (N, *), or one number."""
    lines = lines_of(powers, 1)
    by_x = empty_like(powers)
    powers_, q_, by_x_ = map(lines.bring, (powers, q, by_x))
    scale = _values(lines, height) / total
    factor = np.broadcast_to(_values(lines, g), total.shape)

    def plan(part: Part) -> list[Call]:
        out = by_x_[part]
        product = scratch("product", out.shape, out.dtype)
        return [
            *with_each(np.multiply, powers_[part], scale[part], out),
            *with_each(np.multiply, q_[part], factor[part], product),
            partial(np.subtract, out, product, out=out),
        ]

    lines.over_blocks(plan)
    return by_x


def _powers(
    x: Array,
    lines: Lines,
    exponentials: Callable[..., list[Call]],
    keep: bool,
    and_of: Callable[[Part, Array], list[Call]] | None,
) -> tuple[Array | None, Array, Array]:
    """``exp(x - peak)``, the peaks and the sums; for each block, with ``and_of(part, exponents)``.

    That may compute 0 * inf without a warning. Of large arrays, powers that need not be kept are not.
    """
    powers = empty_like(x) if keep or x.nbytes < SMALLEST else None
    x_, powers_ = lines.bring(x), None if powers is None else lines.bring(powers)
    peak, total = lines.statistic(x.dtype), lines.statistic(x.dtype)

    def plan(part: Part) -> list[Call]:
        out = scratch("powers", x_[part].shape, x.dtype) if powers_ is None else powers_[part]
        each = (x_[part], out, peak[part], total[part])
        return exponentials(*each, partial(and_of, part)) if and_of else exponentials(*each)

    with np.errstate(over="ignore", invalid="ignore" if and_of else None):
        lines.over_blocks(plan)
    return powers, peak, total


def _values(lines: Lines, values: Array) -> Array:
    """One value for each line, or one for all."""
    return lines.bring_values(values) if values.ndim else values


def _outer(values: Array, shares: Array, out: Array) -> Call:
    """The call that writes ``values * shares``, the former for each line, the latter for each place on it."""
    if out.shape[2] > 1:
        return partial(np.multiply, values, shares[:, None], out=out)
    # BLAS is faster with two columns than with one.
    pairs, rows = np.zeros((len(values), 2), out.dtype), np.zeros((2, len(shares)), out.dtype)
    pairs[:, 0], rows[0] = values[:, 0, 0], shares
    return partial(np.matmul, pairs, rows, out=out[:, :, 0])


def _sum_of_products(a: Array, b: Array) -> Array:
    """The sums of ``a * b`` along lines, where 0 * inf is 0."""
    a = np.broadcast_to(a, b.shape)
    return np.add.reduce(np.multiply(a, b, out=np.zeros_like(b), where=a != 0), axis=1, keepdims=True)
