"""Gradients, vector-Jacobian and Jacobian-vector products of functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.func.run import Run, by_argument, positions_of
from tinygrad_cnn.func.trees import leaves_like, rebuild, tree_map

__all__ = ["grad", "grad_and_value", "jvp", "vjp"]


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of a function, and the function that multiplies its Jacobian from the left.

    Parameters
    ----------
    func : callable
        Takes the primals, returns a tensor or a tree of tensors.
    *primals : tensor, or dict, list or tuple of tensors
        Where. Floating.
    has_aux : bool
        Whether `func` returns a pair ``(output, aux)``, of which `aux` is passed on and not differentiated.

    Returns
    -------
    output
        ``func(*primals)``.
    vjp_fn : callable
        Takes cotangents, in the form of `output`, and returns ``cotangents @ J``: a tuple, with an entry in the
        form of each primal. It can be called any number of times.
    aux
        With `has_aux` only.

    Raises
    ------
    TypeError
        If an input or an output is not a floating tensor.
    ValueError
        If there are no primals, or if cotangents do not have the form and shapes of the output.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> output, pull = vjp(lambda x: x * x, tg.tensor([1.0, 2.0]))
    >>> output, pull(tg.tensor([1.0, 10.0]))
    (tensor([1., 4.]), (tensor([ 2., 40.]),))
    """
    return _vjp("vjp", func, primals, has_aux)[1]


def _vjp(operation: str, func: Callable[..., Any], primals: Sequence[Any], has_aux: bool) -> tuple[Run, Any]:
    if not primals:
        raise ValueError(f"{operation}: primals expects at least one but got none")
    positions = range(len(primals))
    run = Run(operation, func, primals, {}, positions, has_aux)

    def vjp_fn(cotangents: Any) -> Any:
        gradients = run.pull(run.check_vectors(leaves_like(operation, "cotangents", cotangents, run.output)))
        return by_argument(primals, positions, False, gradients)

    return run, (run.output, vjp_fn, run.aux) if has_aux else (run.output, vjp_fn)


def jvp(
    func: Callable[..., Any],
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> Any:
    """The value of a function, and the derivative of its output in the direction of `tangents`: ``J @ tangents``.

    The vector-Jacobian product ``c -> c @ J`` is linear in c; its own vector-Jacobian product is ``t -> J @ t``
    [1]_. So two passes of reverse mode give a forward one.

    Parameters
    ----------
    func : callable
    primals : tuple of tensors or trees of tensors
        Where: the arguments of `func`.
    tangents : tuple
        The direction, of the same form and shapes.
    strict : bool
        Raise if an output does not depend on the primals, instead of returning zeros for it.
    has_aux : bool
        As for `vjp`.

    Returns
    -------
    output, product : in the form of the output of `func`; and aux, with `has_aux`

    Raises
    ------
    TypeError
        If `primals` or `tangents` is not a tuple, or holds anything but floating tensors.
    ValueError
        If the forms or shapes of `primals` and `tangents` differ.
    RuntimeError
        If `strict` and an output is constant.

    References
    ----------
    .. [1] J. Townsend, A new trick for calculating Jacobian vector products (2017).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> jvp(lambda x: x * x, (tg.tensor([1.0, 2.0]),), (tg.tensor([1.0, 10.0]),))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple):
            raise TypeError(f"jvp: {name} expects a tuple but got {type(given).__name__}")
    directions = leaves_like("jvp", "tangents", tangents, primals)
    run, (output, pull, *aux) = _vjp("jvp", func, primals, has_aux)
    if strict and not all(run.depends()):
        raise RuntimeError("jvp: with strict, every output expects to depend on the primals, but one does not")
    zeros = tree_map(lambda y: y._wrap(np.zeros_like(y.data)), output)
    transposed, _ = _vjp("jvp", pull, (zeros,), False)
    product = transposed.pull(transposed.check_vectors(directions), retain=False)
    return (output, rebuild(output, product), *aux)


def grad(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that computes the gradient of a scalar function.

    Parameters
    ----------
    func : callable
        Returns a 0-d tensor.
    argnums : int or tuple of int
        Which positional arguments to differentiate in: tensors, or dicts, lists and tuples of tensors. The others
        are constants and may be anything.
    has_aux : bool
        Whether `func` returns a pair ``(output, aux)``.

    Returns
    -------
    callable
        Takes what `func` takes; returns the gradient in the form of the argument (a tuple of them for a tuple
        `argnums`), or ``(gradient, aux)``. If the argument requires a gradient, or anything else that the
        gradient depends on does, the result hangs in the graph; under `no_grad`, it does not.

    Raises
    ------
    TypeError
        If an argument to differentiate in, or the output, is not a floating tensor.
    ValueError
        If the output is not 0-d.
    IndexError
        If there is no such argument.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> third = grad(grad(grad(lambda x: x**4)))
    >>> third(tg.tensor(2.0))
    tensor(48.)
    """
    evaluate = _grad_and_value("grad", func, argnums, has_aux)

    @functools.wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        result, value = evaluate(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return gradient


def grad_and_value(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """The function that computes the gradient of a scalar function, and its value.

    Parameters and errors as for `grad`.

    Returns
    -------
    callable
        Returns ``(gradient, value)``, or ``(gradient, (value, aux))``.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> grad_and_value(lambda x: (x * x).sum())(tg.tensor([1.0, 2.0]))
    (tensor([2., 4.]), tensor(5.))
    """
    return _grad_and_value("grad_and_value", func, argnums, has_aux)


def _grad_and_value(
    operation: str, func: Callable[..., Any], argnums: int | tuple[int, ...], has_aux: bool
) -> Callable[..., Any]:
    @functools.wraps(func)
    def gradient_and_value(*args: Any, **kwargs: Any) -> Any:
        positions, single = positions_of(operation, argnums, len(args))
        run = Run(operation, func, args, kwargs, positions, has_aux)
        value = run.output
        if isinstance(value, (dict, list, tuple)) or value.ndim:
            came = f"shape {value.shape}" if hasattr(value, "shape") else f"a {type(value).__name__}"
            raise ValueError(f"{operation}: func expects to return a 0-d tensor but returned {came}")
        gradients = run.pull([value._wrap(np.ones_like(value.data))], retain=False)
        return by_argument(args, positions, single, gradients), ((value, run.aux) if has_aux else value)

    return gradient_and_value
