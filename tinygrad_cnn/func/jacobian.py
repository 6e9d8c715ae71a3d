"""Jacobians and Hessians, whole or multiplied with a vector."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_cnn.errors import check_int
from tinygrad_cnn.func.run import Run, by_argument, positions_of
from tinygrad_cnn.func.transforms import grad_and_value, vjp
from tinygrad_cnn.func.trees import leaves, rebuild
from tinygrad_cnn.ops.shape import reshape, stack
from tinygrad_cnn.tensor import Tensor

__all__ = ["hessian", "hvp", "jacrev"]


def jacrev(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that computes the Jacobian of a function, one pass of reverse mode for each row.

    Parameters
    ----------
    func : callable
        Returns a tensor or a tree of tensors.
    argnums : int or tuple of int
        Which positional arguments to differentiate in.
    has_aux : bool
        Whether `func` returns a pair ``(output, aux)``.
    chunk_size : int, optional
        How many rows to compute at once. One row is computed after the other here, whatever it says.

    Returns
    -------
    callable
        Returns the Jacobian, or ``(jacobian, aux)``: for an output of shape ``(*out)`` and an argument of shape
        ``(*in)`` a tensor ``(*out, *in)``; else the tree of the output, with the tree of the argument (a tuple of
        them, for a tuple `argnums`) in the place of each leaf.

    Raises
    ------
    TypeError, IndexError
        As `grad`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> jacrev(lambda x: x * x)(tg.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if chunk_size is not None:
        check_int("jacrev", "chunk_size", chunk_size, 1)

    @functools.wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        positions, single = positions_of("jacrev", argnums, len(args))
        run = Run("jacrev", func, args, kwargs, positions, has_aux)
        outputs = leaves(run.output)
        blocks = [by_argument(args, positions, single, _rows(run, i, y)) for i, y in enumerate(outputs)]
        result = rebuild(run.output, blocks)
        return (result, run.aux) if has_aux else result

    return jacobian


def _rows(run: Run, index: int, output: Tensor) -> list[Tensor]:
    """The Jacobian of one leaf of the output in each leaf of the inputs."""
    rows = []
    cotangents: list[Tensor | None] = [None] * len(leaves(run.output))
    for position in np.ndindex(output.shape):
        unit = np.zeros_like(output.data)
        unit[position] = 1
        cotangents[index] = output._wrap(unit)
        rows.append(run.pull(cotangents))
    if not rows:
        return [x._wrap(np.zeros((*output.shape, *x.shape), x.dtype)) for x in run.inputs]
    return [
        reshape(stack(column), (*output.shape, *x.shape))
        for x, column in zip(run.inputs, zip(*rows, strict=True), strict=True)
    ]


def hessian(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function that computes all second derivatives: the Jacobian of the Jacobian.

    Parameters
    ----------
    func : callable
        Usually returns a 0-d tensor.
    argnums : int or tuple of int
        Which positional arguments to differentiate in.

    Returns
    -------
    callable
        For an output of shape ``(*out)`` and an argument of shape ``(*in)`` it returns a tensor ``(*out, *in, *in)``;
        for a dict of parameters, ``h["a"]["b"]`` is the block of the derivatives in a, then in b.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> hessian(lambda x: x[0] * x[0] * x[1])(tg.tensor([3.0, 5.0]))
    tensor([[10.,  6.],
            [ 6.,  0.]])
    """
    return jacrev(jacrev(func, argnums), argnums)


def hvp(func: Callable[..., Any], inputs: Any, v: Any) -> tuple[Any, Any]:
    """The value of a scalar function, and its Hessian times a vector, without the Hessian.

    As in `torch.autograd.functional.hvp`. The Hessian is symmetric, so this is the vector-Jacobian product of the
    gradient: about three times the cost of a gradient, whatever the number of parameters.

    Parameters
    ----------
    func : callable
        Returns a 0-d tensor.
    inputs : tensor or dict or list of tensors, or a tuple of these
        A tuple holds the arguments of `func`; anything else is its only argument.
    v : of the form of `inputs`
        The vector.

    Returns
    -------
    value, product
        ``func(inputs)``, and the product in the form of `inputs`.

    Raises
    ------
    TypeError, ValueError
        As `grad`; also if `v` does not have the form and shapes of `inputs`.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> hvp(lambda x: (x**3).sum(), tg.tensor([1.0, 2.0]), tg.tensor([1.0, 1.0]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    primals = inputs if isinstance(inputs, tuple) else (inputs,)
    argnums = tuple(range(len(primals)))

    def gradient(*primals: Any) -> tuple[Any, Any]:
        return grad_and_value(func, argnums)(*primals)

    _, pull, value = vjp(gradient, *primals, has_aux=True)
    product = pull(v if isinstance(inputs, tuple) else (v,))
    return value, product if isinstance(inputs, tuple) else product[0]
