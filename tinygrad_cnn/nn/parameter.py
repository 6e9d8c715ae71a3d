"""Parameter: the tensor that a module trains. And the one whose shape is not known yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Variable
from tinygrad_cnn.devices import check_cpu
from tinygrad_cnn.ops.dtypes import as_dtype
from tinygrad_cnn.tensor import Tensor


class Parameter(Tensor):
    """A tensor that registers itself when it becomes an attribute of a `Module`.

    Parameters
    ----------
    data : Tensor or ndarray, optional
        The first values; the memory is shared, not copied. Empty by default.
    requires_grad : bool, default True
        Whether gradients are computed for it.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.Parameter(tg.ones(2)).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Tensor | np.ndarray[Any, Any] | None = None, requires_grad: bool = True) -> None:
        if data is None:
            data = np.empty(0, np.float32)
        if not isinstance(data, Tensor | np.ndarray):
            raise TypeError(f"Parameter: data expects a Tensor or an ndarray but got {type(data).__name__}")
        super().__init__(data.data if isinstance(data, Tensor) else data, requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


# Where the class of tensors keeps its array.
_slot: Any = vars(Variable)["data"]


class UninitializedParameter(Parameter):
    """The parameter of a lazy layer before the first forward pass: it has a dtype, but no shape and no values.

    `materialize` turns it into an ordinary `Parameter` and leaves it the same object, so that an optimizer
    that already holds it goes on with it. Until then every use of its values is a RuntimeError.
    """

    __slots__ = ()

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        check_cpu("UninitializedParameter", device)
        array = np.empty(0, np.float32 if dtype is None else as_dtype(dtype))
        if array.dtype.kind != "f":
            raise TypeError(f"UninitializedParameter: dtype expects a floating dtype but got {array.dtype}")
        super().__init__(array, requires_grad)

    @property
    def data(self) -> np.ndarray[Any, Any]:
        """Not known yet: RuntimeError."""
        raise RuntimeError(
            "the shape and the values of this parameter are not known yet, because it belongs to a lazy layer: "
            "run the model once on an input, or load a state dict, before using the parameter"
        )

    @data.setter
    def data(self, array: np.ndarray[Any, Any]) -> None:
        # Kept out of reach in the slot of the base class, for its dtype.
        _slot.__set__(self, array)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that the values will have."""
        return _slot.__get__(self).dtype

    @property
    def requires_grad(self) -> bool:
        """Whether a backward pass will compute a gradient for it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._requires_grad = bool(value)

    def materialize(self, shape: tuple[int, ...]) -> None:
        """Become an ordinary parameter of this shape, with arbitrary values."""
        array = np.empty(shape, self.dtype)
        self.__class__ = Parameter  # type: ignore[assignment]
        self.data = array

    def detach(self) -> UninitializedParameter:
        """Return the parameter itself: there is nothing to detach yet."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedParameter:
        return memo.setdefault(id(self), UninitializedParameter(self.requires_grad, dtype=self.dtype))

    def __repr__(self) -> str:
        return "<UninitializedParameter>"


def new_parameter(*shape: int, device: Any = None, dtype: Any = None) -> Parameter:
    """Return a parameter, float32 by default, with arbitrary values for `reset_parameters` to fill.

    Raises
    ------
    ValueError
        If `device` is not the CPU.
    TypeError
        If `dtype` is not a floating dtype.
    """
    check_cpu("Parameter", device)
    return Parameter(np.empty(shape, np.float32 if dtype is None else as_dtype(dtype)))


def clear_gradients(parameters: Iterable[Tensor], set_to_none: bool) -> None:
    """Set every gradient to None, or fill those that exist with zeros."""
    for parameter in parameters:
        if set_to_none or parameter.grad is None:
            parameter.grad = None
        else:
            # Detached: a gradient with a history (create_graph=True) lets go of it here.
            parameter.grad = parameter.grad.detach()
            parameter.grad.data.fill(0)
            parameter.grad.bump_version()


def cast(tensor: Tensor, dtype: np.dtype[Any]) -> None:
    """Convert a floating tensor and its gradient to another floating dtype; it stays the same object."""
    if isinstance(tensor, UninitializedParameter):
        tensor.data = np.empty(0, dtype)
    elif tensor.dtype.kind == "f" and tensor.dtype != dtype:
        grad = tensor.grad
        tensor.grad = None
        tensor.data = tensor.data.astype(dtype)
        if grad is not None:
            tensor.grad = Tensor(grad.data.astype(dtype))
