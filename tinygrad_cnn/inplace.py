"""Writing into a tensor's memory: the underscore methods and augmented assignment.

Nothing here is recorded, so it is for tensors that no gradient flows through: constants, and leaves under `no_grad`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np

from tinygrad_cnn import random
from tinygrad_cnn.autograd import Variable, is_grad_enabled
from tinygrad_cnn.errors import check_float
from tinygrad_cnn.ops import indexing
from tinygrad_cnn.ops.dtypes import check_number

__all__ = ["InPlace"]


class InPlace(Variable):
    """The methods that write; each returns the tensor itself.

    They raise RuntimeError while recording if the tensor, or what is written into it, requires a gradient.
    """

    __slots__ = ()

    def _write(self, operation: str, write: Callable[..., Any], *operands: Any) -> Self:
        """Let ``write(data, *operands)`` change the data, and note that it did."""
        if is_grad_enabled():
            for x in (self, *operands):
                if isinstance(x, Variable) and x._requires_grad:
                    raise RuntimeError(
                        f"{operation}: writing in place is not recorded, and a tensor here requires a gradient; "
                        f"do it under no_grad()"
                    )
        try:
            write(self.data, *(x.data if isinstance(x, Variable) else x for x in operands))
        except (IndexError, OverflowError, TypeError, ValueError) as error:
            kind = next((k for k in (IndexError, TypeError) if isinstance(error, k)), ValueError)
            raise kind(f"{operation}: {error} (the tensor is {self.data.dtype}, shape {self.data.shape})") from None
        self.bump_version()
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        position = indexing.plain_index(index)
        view: Any = ...
        if isinstance(position, tuple) and indexing.mixes_ints(position):
            view, position = indexing.ints_first(position)
        self._write("setitem", lambda data, x: data[view].__setitem__(position, x), value)

    def copy_(self, src: Any) -> Self:
        """Copy `src`, broadcast, into it."""
        return self._write("copy_", lambda data, x: np.copyto(data, x, casting="unsafe"), src)

    def fill_(self, value: Any) -> Self:
        """Set every element to `value`, a number or a tensor of one.

        Raises
        ------
        TypeError
            If it is neither.
        ValueError
            If the tensor has dimensions, or if the number does not fit into the dtype.
        """
        if not isinstance(value, Variable):
            value = check_number("fill_", "value", value, self.data.dtype)
        elif value.data.ndim:
            raise ValueError(f"fill_: value expects a number or a 0-d tensor but has shape {value.data.shape}")
        return self._write("fill_", lambda data, x: np.copyto(data, x, casting="unsafe"), value)

    def zero_(self) -> Self:
        """Set every element to 0."""
        return self._write("zero_", lambda data: data.fill(0))

    def add_(self, other: Any, *, alpha: float = 1) -> Self:
        """Add ``alpha * other``."""
        return self._write("add_", lambda data, x: _into(np.add, data, x if alpha == 1 else alpha * x), other)

    def sub_(self, other: Any, *, alpha: float = 1) -> Self:
        """Subtract ``alpha * other``."""
        return self._write("sub_", lambda data, x: _into(np.subtract, data, x if alpha == 1 else alpha * x), other)

    def mul_(self, other: Any) -> Self:
        """Multiply by `other`."""
        return self._write("mul_", lambda data, x: _into(np.multiply, data, x), other)

    def div_(self, other: Any) -> Self:
        """Divide by `other`."""
        return self._write("div_", lambda data, x: _into(np.true_divide, data, x), other)

    def clamp_(self, min: Any = None, max: Any = None) -> Self:
        """Limit to ``[min, max]``.

        Raises
        ------
        ValueError
            If both are None, or if the dtype can't hold one that is an int.
        """
        if min is None and max is None:
            raise ValueError("clamp_: expected min, max or both but got neither")

        for name, bound in (("min", min), ("max", max)):
            if isinstance(bound, int) and self.data.dtype.kind in "iu":
                check_number("clamp_", name, bound, self.data.dtype)

        def limit(data: np.ndarray, low: Any, high: Any) -> None:
            np.clip(data, _weak(low), _weak(high), out=data, casting="same_kind")

        return self._write("clamp_", limit, min, max)

    def uniform_(self, from_: float = 0.0, to: float = 1.0) -> Self:
        """Draw every element uniformly from ``[from_, to)``.

        Raises
        ------
        ValueError
            If `from_` exceeds `to`, or if the dtype can't hold their difference.
        """
        low, high = check_float("uniform_", "from_", from_), check_float("uniform_", "to", to)
        if low > high:
            raise ValueError(f"uniform_: from_ expects to be at most to, {high}, but is {low}")
        return self._write("uniform_", _draw_uniform, low, high)

    def normal_(self, mean: float = 0.0, std: float = 1.0) -> Self:
        """Draw every element from the normal distribution with this mean and standard deviation.

        Raises
        ------
        ValueError
            If `std` is negative.
        """
        centre, width = check_float("normal_", "mean", mean), check_float("normal_", "std", std, 0)
        return self._write("normal_", lambda data: _draw(data, "standard_normal", width, centre))

    # ------------------------------------------------------------------- augmented assignment

    def _augment(self, operation: str, write: Callable[..., Any], rebind: Callable[[], Any], other: Any) -> Any:
        """In place on a leaf under `no_grad`; on a leaf that is being recorded an error; else a new tensor."""
        if self._node is None and not is_grad_enabled():
            return write(other)
        if self._node is None and self._requires_grad:
            raise RuntimeError(
                f"{operation}: a leaf that requires a gradient cannot be changed in place while recording; "
                f"do it under no_grad(), or write x = x {operation[:-1]} ..."
            )
        return rebind()

    def __iadd__(self, other: Any) -> Any:
        return self._augment("+=", self.add_, lambda: self + other, other)

    def __isub__(self, other: Any) -> Any:
        return self._augment("-=", self.sub_, lambda: self - other, other)

    def __imul__(self, other: Any) -> Any:
        return self._augment("*=", self.mul_, lambda: self * other, other)

    def __itruediv__(self, other: Any) -> Any:
        return self._augment("/=", self.div_, lambda: self / other, other)


def _into(ufunc: np.ufunc, data: np.ndarray, x: Any) -> None:
    ufunc(data, _weak(x), out=data, casting="same_kind")


def _weak(x: Any) -> Any:
    return x.item() if isinstance(x, np.generic) else x


def _draw_uniform(data: np.ndarray, low: float, high: float) -> None:
    if data.dtype.kind == "f" and high - low > np.finfo(data.dtype).max:
        raise ValueError(f"to - from_ expects to fit into {data.dtype} but they are {high} and {low}")
    _draw(data, "random", high - low, low)
    if (low, high) != (0, 1) or data.itemsize == 2:  # what was rounded up to the limit
        kind = data.dtype.type
        np.minimum(data, np.nextafter(kind(high), kind(low)), out=data)


def _draw(data: np.ndarray, distribution: str, scale: float, shift: float) -> None:
    """Fill with ``scale * draw + shift``, drawn in the tensor's own precision."""
    if data.dtype.kind != "f":
        raise TypeError("just floating tensors can be filled with draws")
    precision = np.float64 if data.dtype == np.float64 else np.float32
    draws = getattr(random.generator(), distribution)(data.shape, dtype=precision)
    draws *= precision(scale)
    draws += precision(shift)
    data[...] = draws
