"""What a wrong derivative looks like: a constant factor, a transpose, a missing sum, a kink."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.testing.differences import Function

__all__ = ["explain"]


def explain(
    function: Function, output: int, position: int, pairs: list[tuple[np.ndarray, np.ndarray]], agree: np.ndarray
) -> str:
    """The message for a Jacobian that differs.

    Parameters
    ----------
    function : Function
    output, position : int
        Which output, and which of the active inputs.
    pairs : list of (analytic, numeric)
        The Jacobians of that output in each active input, of shape (elements of the input, elements of the output).
    agree : array of bool
        Which entries of the Jacobian in question pass.
    """
    analytic, numeric = pairs[position]
    with np.errstate(invalid="ignore"):
        error = np.where(agree, -1.0, np.nan_to_num(np.abs(analytic - numeric), nan=np.inf))
    i, j = (int(n) for n in np.unravel_index(np.argmax(error), error.shape))
    argument = function.active[position]
    x, y = function.inputs[argument], function.outputs[output]
    wrong = agree.size - int(agree.sum())
    place = f"d output{_index(j, y.shape)} / d input{_index(i, x.shape)}"
    values = f"analytic {analytic[i, j]:.9g}, numeric {numeric[i, j]:.9g}"
    message = (
        f"gradcheck: output {output}, input {argument}: {wrong} of {agree.size} derivatives differ, most of all\n"
        f"  {place}: {values}"
    )
    hint = _hint(pairs, position, x.shape, function.one_sided(argument, i, output, j))
    return f"{message}\n  hint: {hint}" if hint else message


def _index(flat: int, shape: tuple[int, ...]) -> str:
    return str([int(n) for n in np.unravel_index(flat, shape)]) if shape else ""


def _hint(
    pairs: list[tuple[np.ndarray, np.ndarray]], position: int, shape: tuple[int, ...], sides: tuple[float, float]
) -> str:
    """What the difference looks like; empty if it looks like nothing known."""
    analytic, numeric = pairs[position]
    right, left = sides
    if abs(right - left) > 1e-2 * max(1.0, abs(right), abs(left)):
        return (
            f"a kink or a jump is nearby: the difference is {right:.6g} to the right and {left:.6g} to the left; "
            f"take another point"
        )
    if not np.all(np.isfinite(analytic)):
        return "the analytic derivative is not finite: perhaps 0 * inf, or a logarithm or root of 0, in the VJP"
    if not analytic.any():
        return "the analytic derivative is zero everywhere: is the input detached, or its VJP missing?"
    factor = _constant_factor(analytic, numeric)
    if factor is not None:
        kind = "a wrong sign" if np.isclose(factor, -1) else "a factor is wrong or missing"
        return f"the analytic derivative is {factor:.6g} times the numeric one everywhere: {kind}"
    if _is_transposed(analytic, numeric, shape):
        return "the gradient is transposed: the two agree once the last two dimensions of the input are swapped"
    if analytic.shape[0] == analytic.shape[1] and _close(analytic.T, numeric):
        return "the Jacobian is transposed: the VJP multiplies by the Jacobian instead of its transpose"
    for other, (_, theirs) in enumerate(pairs):
        if other != position and theirs.shape == analytic.shape and _close(analytic, theirs):
            return "this is the derivative in another input: two VJPs are swapped"
    if np.all(_near(analytic, numeric) | _near(analytic, 0)):
        return "where the analytic derivative is not zero it is right: terms are missing, such as a broadcast sum"
    missing = _missing_sum(analytic, numeric, shape)
    if missing is not None:
        return f"summed over dimension {missing} of the input the two agree: a broadcast sum is missing or misplaced"
    return ""


def _near(a: Any, b: Any) -> Any:
    return np.isclose(a, b, 1e-3, 1e-5)


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.all(_near(a, b)))


def _constant_factor(analytic: np.ndarray, numeric: np.ndarray) -> float | None:
    """The number c with ``analytic = c * numeric``, if there is one."""
    square = float(np.sum(numeric * numeric))
    if square == 0:
        return None
    factor = float(np.sum(analytic * numeric)) / square
    return factor if factor != 0 and _close(analytic, factor * numeric) else None


def _is_transposed(analytic: np.ndarray, numeric: np.ndarray, shape: Any) -> bool:
    if len(shape) < 2 or shape[-1] != shape[-2]:
        return False
    swapped = np.swapaxes(analytic.reshape(*shape, -1), -2, -3).reshape(analytic.shape)
    return _close(swapped, numeric)


def _missing_sum(analytic: np.ndarray, numeric: np.ndarray, shape: Any) -> int | None:
    """The dimension over which sums agree, though entries do not."""
    a, n = analytic.reshape(*shape, -1), numeric.reshape(*shape, -1)
    for dim, size in enumerate(shape):
        if size > 1 and _close(a.sum(dim), n.sum(dim)):
            return dim
    return None
