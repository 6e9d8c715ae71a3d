"""The output sizes of sliding windows, and slices."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_slice", "balanced", "output_size"]


def output_size(
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    """Return how many windows fit along one dimension. The result is at most 0 if not even one does.

    ``floor((size + before + after - dilation * (kernel - 1) - 1) / stride) + 1``; with `ceil_mode` the quotient is
    rounded up, but a window that would start in the padding after the input is dropped, as in PyTorch.

    Parameters
    ----------
    size : int
        Of the input, without padding.
    kernel, stride, dilation : int
    padding : (int, int)
        Before and after the input.
    ceil_mode : bool, default False

    Examples
    --------
    >>> output_size(28, 5, 1, (2, 2)), output_size(7, 2, 2, (0, 0)), output_size(7, 2, 2, (0, 0), ceil_mode=True)
    (28, 3, 4)
    """
    before, after = padding
    span = size + before + after - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return span // stride + 1
    count = -(-span // stride) + 1
    return count - 1 if (count - 1) * stride >= size + before else count


def balanced(length: int, count: int) -> list[slice]:
    """Cut `length` things into about `count` slices whose lengths differ by one at most.

    A small count is rounded up to an even one, so that two threads finish together.
    """
    count = max(count, 1)
    if 1 < count < 16:
        count += count % 2
    count = min(count, length)
    ends = [length * number // count for number in range(1, count + 1)]
    return [slice(start, stop) for start, stop in pairwise([0, *ends])]


def as_slice(indices: NDArray[Any]) -> slice | NDArray[Any]:
    """Return `indices`, or if they are evenly spaced and ascending, the slice that says the same."""
    step = int(indices[1] - indices[0]) if len(indices) > 1 else 1
    if step < 1 or (np.diff(indices) != step).any():
        return indices
    return slice(int(indices[0]), int(indices[-1]) + 1, step)
