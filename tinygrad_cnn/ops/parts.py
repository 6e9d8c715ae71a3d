"""Parts of a tensor: equal or unequal pieces, slices, triangles.

Pieces are views. Those of one tensor are the outputs of one primitive, so its gradient is put together once, not
once for each piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import primitive
from tinygrad_cnn.errors import check_dim, check_int, check_tensor
from tinygrad_cnn.kernels import elementwise as kernels
from tinygrad_cnn.ops.indexing import getitem
from tinygrad_cnn.ops.shape import cat, stack
from tinygrad_cnn.types import Array


def _axis(operation: str, input: Any, dim: int) -> int:
    """A dimension of a tensor that has one."""
    check_tensor(operation, "input", input)
    if input.ndim == 0:
        raise ValueError(f"{operation}: input expects at least 1 dimension but got a 0-d tensor")
    return check_dim(operation, dim, input.ndim)


# ---------------------------------------------------------------------------------------------- pieces


@primitive
def _split(input: Array, sizes: tuple[int, ...], dim: int) -> tuple[Array, ...]:
    before = (slice(None),) * dim
    stops = np.cumsum(sizes).tolist()
    return tuple(input[(*before, slice(stop - size, stop))] for size, stop in zip(sizes, stops, strict=True))


@_split.vjp("input")
def _(g, dim):
    return cat(g, dim)


def split(tensor: Array, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Array, ...]:
    """Cut along `dim` into views: of one size, the last of which may be smaller, or of the sizes in a list.

    Raises
    ------
    TypeError
        If a size is not an int.
    ValueError
        If a size is negative, if the sizes do not add up to that of `dim`, or if the tensor is 0-d.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> [part.tolist() for part in tg.split(tg.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    >>> [part.tolist() for part in tg.split(tg.arange(5), [1, 4])]
    [[0], [1, 2, 3, 4]]
    """
    axis = _axis("split", tensor, dim)
    length = tensor.shape[axis]
    if isinstance(split_size_or_sections, (tuple, list)):
        sizes = tuple(check_int("split", "split_size_or_sections", n, 0) for n in split_size_or_sections)
        if sum(sizes) != length:
            raise ValueError(
                f"split: split_size_or_sections expects sizes that add up to {length}, the size of dimension {axis}, "
                f"but got {sizes}"
            )
    else:
        size = check_int("split", "split_size_or_sections", split_size_or_sections, 1 if length else 0)
        sizes = tuple(min(size, length - start) for start in range(0, length, size)) if length else (0,)
    return _split(tensor, sizes, axis) if sizes else ()


def chunk(input: Array, chunks: int, dim: int = 0) -> tuple[Array, ...]:
    """Cut along `dim` into `chunks` views of one size, the last of which may be smaller; or into fewer.

    Raises
    ------
    ValueError
        If `chunks` is less than 1, or if the tensor is 0-d.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> [part.tolist() for part in tg.chunk(tg.arange(5), 2)]
    [[0, 1, 2], [3, 4]]
    """
    axis = _axis("chunk", input, dim)
    count = check_int("chunk", "chunks", chunks, 1)
    length = input.shape[axis]
    return split(input, -(-length // count) if length else [0] * count, axis)


@primitive
def _unbind(input: Array, dim: int) -> tuple[Array, ...]:
    first = np.moveaxis(input, dim, 0)
    return tuple(first[i, ...] for i in range(len(first)))


@_unbind.vjp("input")
def _(g, dim):
    return stack(g, dim)


def unbind(input: Array, dim: int = 0) -> tuple[Array, ...]:
    """All slices along `dim`, as views without that dimension.

    Raises
    ------
    IndexError
        If there is no such dimension.
    """
    check_tensor("unbind", "input", input)
    if input.ndim == 0:
        raise IndexError("unbind: input expects at least 1 dimension but got a 0-d tensor")
    axis = check_dim("unbind", dim, input.ndim)
    return _unbind(input, axis) if input.shape[axis] else ()


def narrow(input: Array, dim: int, start: int | Array, length: int) -> Array:
    """The view of `length` slices along `dim` from `start` on; a negative `start` counts from the end.

    Raises
    ------
    IndexError
        If `start` lies outside.
    ValueError
        If `length` is negative or too large, if `start` is a tensor but no 0-d one, or if the input is 0-d.
    """
    axis = _axis("narrow", input, dim)
    size = input.shape[axis]
    if not isinstance(start, int) and hasattr(start, "ndim"):
        if start.ndim or start.dtype.kind not in "iu":
            raise ValueError(
                f"narrow: start expects an int or a 0-d integer tensor but got {start.dtype}, {tuple(start.shape)}"
            )
        start = int(start)
    first = check_int("narrow", "start", start)
    count = check_int("narrow", "length", length, 0)
    if not -size <= first <= size:
        raise IndexError(f"narrow: start expects {-size} <= start <= {size} but is {first}")
    first += size if first < 0 else 0
    if first + count > size:
        raise ValueError(f"narrow: start + length expects at most {size} but is {first} + {count}")
    return getitem(input, (slice(None),) * axis + (slice(first, first + count),))


# ------------------------------------------------------------------------------------------- triangles


def _below(x: np.ndarray, diagonal: int) -> np.ndarray:
    """Where the elements of a matrix (..., n, m) lie on or below a diagonal."""
    rows, columns = x.shape[-2:]
    return np.tri(rows, columns, diagonal, dtype=np.bool_)


@primitive
def _tril(input: Array, diagonal: int) -> Array:
    return kernels.masked(input, _below(input, diagonal))


@_tril.vjp("input")
def _(g, diagonal):
    return _tril(g, diagonal)


@primitive
def _triu(input: Array, diagonal: int) -> Array:
    return kernels.masked(input, ~_below(input, diagonal - 1))


@_triu.vjp("input")
def _(g, diagonal):
    return _triu(g, diagonal)


def _check_matrix(operation: str, input: Any, diagonal: Any) -> int:
    check_tensor(operation, "input", input)
    if input.ndim < 2:
        raise ValueError(f"{operation}: input expects at least 2 dimensions but has shape {tuple(input.shape)}")
    return check_int(operation, "diagonal", diagonal)


def tril(input: Array, diagonal: int = 0) -> Array:
    """The lower triangles of matrices (..., n, m), zeros above: where ``j - i <= diagonal``.

    Raises
    ------
    ValueError
        If `input` has fewer than two dimensions.
    """
    return _tril(input, _check_matrix("tril", input, diagonal))


def triu(input: Array, diagonal: int = 0) -> Array:
    """The upper triangles of matrices (..., n, m), zeros below: where ``j - i >= diagonal``.

    Raises
    ------
    ValueError
        If `input` has fewer than two dimensions.
    """
    return _triu(input, _check_matrix("triu", input, diagonal))
