"""Comparison of derivatives with central differences, with PyTorch's signatures."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import grad
from tinygrad_cnn.tensor import Tensor
from tinygrad_cnn.testing.differences import Function, outputs_of
from tinygrad_cnn.testing.explain import explain

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """An analytic derivative differs from the numeric one; the message says where, by how much, and perhaps why."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Compare the gradients of a function with central differences, at one point.

    The entry ``d output[j] / d input[i]`` passes if ``|analytic - numeric| <= atol + rtol * |numeric|``, where
    numeric is ``(func(x + eps*e_i)[j] - func(x - eps*e_i)[j]) / (2*eps)``. The backward pass must also give the same
    twice, and leave the cotangents as they are. Inputs that require no gradient, and outputs that are not floating,
    are left alone.

    Parameters
    ----------
    func : callable
        Takes the inputs, returns a tensor or a tuple of them.
    inputs : tensor or tuple of tensors
        Where the derivative is taken: float64, away from kinks and ties. Other arguments of `func` may be among them.
    eps : float
        The step.
    atol, rtol : float
        The tolerances.
    raise_exception : bool
        Whether a failure raises instead of returning False.
    fast_mode : bool
        Compare one random projection of each Jacobian instead of all its entries. Its cost does not grow with the
        number of elements; a failure is then looked for, and explained, entry by entry.

    Returns
    -------
    bool
        Whether all derivatives agree.

    Raises
    ------
    GradcheckError
        If one does not: names output, input, index, both values, and what the difference looks like.
    ValueError
        If no input requires a gradient.
    TypeError
        If `func` returns no floating tensor.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.tensor([0.5, -1.0, 2.0], dtype=tg.float64, requires_grad=True)
    >>> gradcheck(tg.tanh, x)
    True
    """
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    function = _at(func, arguments, eps)
    try:
        _check_repeatable(function)
        if not fast_mode:
            _check_entries(function, atol, rtol)
        elif not _projections_agree(function, atol, rtol):
            _check_entries(function, atol, rtol)
            raise GradcheckError("gradcheck: a random projection of the Jacobian differs, though no entry alone does")
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Compare the second derivatives of a function with central differences of its first ones, at one point.

    What is checked by `gradcheck` is the map from `inputs` and `grad_outputs` to the gradients of `inputs`.

    Parameters
    ----------
    func, inputs, eps, atol, rtol, raise_exception, fast_mode
        As for `gradcheck`.
    grad_outputs : tensor or sequence of tensors, optional
        The cotangents of the outputs that require a gradient. Default: drawn at random.

    Raises
    ------
    GradcheckError, ValueError, TypeError
        As `gradcheck`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> x = tg.tensor([0.5, -1.0, 2.0], dtype=tg.float64, requires_grad=True)
    >>> gradgradcheck(lambda x: x * tg.exp(x), x)
    True
    """
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    outputs = [y for y in _at(func, arguments, eps).outputs if y.requires_grad]
    if grad_outputs is None:
        draws = np.random.default_rng(1)
        cotangents = [Tensor(_draw(draws, y.data), requires_grad=True) for y in outputs]
    else:
        cotangents = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    count = len(arguments)

    def gradients(*both: Any) -> tuple[Any, ...]:
        active = [x for x in both[:count] if isinstance(x, Tensor) and x.requires_grad]
        recorded = [y for y in outputs_of(func(*both[:count])) if y.requires_grad]
        found = grad(recorded, active, both[count:], create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    if not outputs or not gradients(*arguments, *cotangents):
        return True  # nothing depends on the inputs, and the first derivative says so
    try:
        return gradcheck(
            gradients,
            (*arguments, *cotangents),
            eps=eps,
            atol=atol,
            rtol=rtol,
            raise_exception=raise_exception,
            fast_mode=fast_mode,
        )
    except GradcheckError as error:
        message = str(error).replace("gradcheck", "gradgradcheck", 1)
        where = f"the outputs are first derivatives here, and the inputs from {count} on their cotangents"
        raise GradcheckError(f"{message}\n  {where}") from None


def _at(func: Callable[..., Any], arguments: tuple[Any, ...], eps: float) -> Function:
    active = [x for x in arguments if isinstance(x, Tensor) and x.requires_grad]
    if not active:
        raise ValueError("gradcheck: inputs expects at least one tensor that requires a gradient but has none")
    if any(x.dtype != np.float64 for x in active):
        warnings.warn("gradcheck: inputs expects float64; differences in less are too coarse", stacklevel=3)
    return Function(func, arguments, eps)


def _draw(draws: np.random.Generator, like: np.ndarray) -> np.ndarray:
    """Numbers between 0.5 and 1.5 of either sign: none so small that an error next to it would not show."""
    return (draws.uniform(0.5, 1.5, like.shape) * draws.choice([-1.0, 1.0], like.shape)).astype(like.dtype)


def _check_repeatable(function: Function) -> None:
    draws = np.random.default_rng(2)
    for k, y in enumerate(function.outputs):
        cotangent = _draw(draws, y.data)
        handed = cotangent.copy()
        for i, first, second in zip(
            function.active, function.vjp(k, cotangent), function.vjp(k, cotangent), strict=True
        ):
            if not np.array_equal(first, second, equal_nan=True):
                raise GradcheckError(
                    f"gradcheck: output {k}, input {i}: two backward passes through one graph give different gradients"
                )
        if not np.array_equal(cotangent, handed):
            raise GradcheckError(f"gradcheck: output {k}: a VJP writes into the gradient that it is handed")


def _agree(analytic: Any, numeric: Any, atol: float, rtol: float) -> Any:
    return np.isclose(analytic, numeric, rtol, atol, equal_nan=True)


def _projections_agree(function: Function, atol: float, rtol: float) -> bool:
    """Compare ``<v, J u>`` with ``<J^T v, u>`` for random u and v, for every pair of output and input."""
    draws = np.random.default_rng(3)
    cotangents = [_draw(draws, y.data) for y in function.outputs]
    gradients = [function.vjp(k, v) for k, v in enumerate(cotangents)]
    for position, i in enumerate(function.active):
        u = _draw(draws, function.inputs[i].data)
        for v, analytic, numeric in zip(cotangents, gradients, function.directional(i, u), strict=True):
            if not _agree(np.sum(analytic[position] * u), np.sum(v * numeric), atol, rtol):
                return False
    return True


def _check_entries(function: Function, atol: float, rtol: float) -> None:
    """Compare every entry of every Jacobian."""
    analytic = [function.analytic_jacobians(k) for k in range(len(function.outputs))]
    numeric = [function.numeric_jacobians(i) for i in function.active]
    for k in range(len(function.outputs)):
        for position in range(len(function.active)):
            agree = _agree(analytic[k][position], numeric[position][k], atol, rtol)
            if not np.all(agree):
                pairs = [(analytic[k][q], numeric[q][k]) for q in range(len(function.active))]
                raise GradcheckError(explain(function, k, position, pairs, agree))
