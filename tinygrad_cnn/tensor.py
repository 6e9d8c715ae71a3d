"""The tensor: an array, its gradient, and its place in the graph; operators and methods over `ops`."""

from __future__ import annotations

import builtins
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy import ndarray

from tinygrad_cnn.array_like import as_array
from tinygrad_cnn.autograd import Node, backward
from tinygrad_cnn.devices import check_cpu
from tinygrad_cnn.devices import device as device_type
from tinygrad_cnn.dlpack import DLPack
from tinygrad_cnn.errors import check_tensor
from tinygrad_cnn.hooks import RemovableHandle, next_key
from tinygrad_cnn.inplace import InPlace
from tinygrad_cnn.numpy_protocol import NumpyProtocol
from tinygrad_cnn.operators import Operators
from tinygrad_cnn.ops import elementwise
from tinygrad_cnn.ops import shape as shapes
from tinygrad_cnn.ops.dtypes import DEFAULT, as_dtype, is_dtype
from tinygrad_cnn.types import DTypeLike

__all__ = ["Tensor", "tensor"]

_DEVICE_NAMES = ("cpu", "cuda", "mps", "xpu", "meta")


class Tensor(Operators, InPlace, NumpyProtocol, DLPack):
    """An n-dimensional array that records what is done with it.

    Parameters
    ----------
    data : array_like
        An array is taken as it is, without a copy; lists and numbers become one (Python's floats in float32).
    requires_grad : bool
        Whether `backward` fills in `grad`.

    Attributes
    ----------
    data : numpy.ndarray
        The values. Writing through it goes behind the library's back: the graph does not notice.

    Raises
    ------
    TypeError
        If the dtype is not one of tensors, or not floating though a gradient is required, or `requires_grad` no bool.

    Examples
    --------
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        if type(data) is not np.ndarray or not is_dtype(data.dtype):
            data = as_array(data)
        self.data = data
        self._requires_grad = False
        self._grad = None
        self._node = None
        self._version = [0]
        self._hooks = None
        if requires_grad is not False:
            if not isinstance(requires_grad, bool | np.bool_):
                raise TypeError(
                    f"Tensor: requires_grad expects a bool but got {requires_grad!r}; a tensor of a given shape is "
                    f"made by empty(*size)"
                )
            self.requires_grad = requires_grad

    def _wrap(self, array: Any) -> Tensor:
        result = Tensor.__new__(Tensor)
        result.data = array if type(array) is ndarray else np.asarray(array)
        result._requires_grad = False
        result._grad = None
        result._node = None
        result._version = [0]
        result._hooks = None
        return result

    # ------------------------------------------------------------------------- what it is

    @property
    def shape(self) -> tuple[builtins.int, ...]:
        """The sizes of its dimensions."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its elements."""
        return self.data.dtype

    @property
    def ndim(self) -> builtins.int:
        """The number of its dimensions."""
        return self.data.ndim

    @property
    def device(self) -> device_type:
        """Where it lives: on the CPU, always."""
        return device_type("cpu")

    def size(self, dim: builtins.int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        if dim is None:
            return self.data.shape
        try:
            return self.data.shape[dim]
        except IndexError:
            raise IndexError(f"size: dim expects one of {self.data.ndim} dimension(s) but is {dim}") from None

    def dim(self) -> builtins.int:
        """The number of dimensions."""
        return self.data.ndim

    def numel(self) -> builtins.int:
        """The number of elements."""
        return self.data.size

    def is_floating_point(self) -> builtins.bool:
        """Whether the dtype is a floating one."""
        return self.data.dtype.kind == "f"

    def numpy(self) -> np.ndarray:
        """The values as an array that shares the tensor's memory.

        Raises
        ------
        RuntimeError
            If the tensor requires a gradient, which would be lost; `detach` it first.
        """
        if self._requires_grad:
            raise RuntimeError(
                "numpy: the tensor requires a gradient, which an array would lose; use .detach().numpy()"
            )
        return self.data

    def __array__(self, dtype: Any = None, copy: builtins.bool | None = None) -> np.ndarray:
        # np.asarray(t) leaves the graph: an array cannot hold it.
        return np.array(self.data, dtype, copy=copy)

    def item(self) -> Any:
        """The only element as a Python number.

        Raises
        ------
        ValueError
            If there is not exactly one.
        """
        if self.data.size != 1:
            raise ValueError(f"item: the tensor expects to have 1 element but has {self.data.size}, shape {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self.data.tolist()

    def __len__(self) -> builtins.int:
        if self.data.ndim == 0:
            raise TypeError("len: a 0-d tensor has no length")
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        if self.data.ndim == 0:
            raise TypeError("iter: a 0-d tensor cannot be iterated over")
        return iter(self.unbind())

    def __contains__(self, element: Any) -> builtins.bool:
        if not isinstance(element, (Tensor, np.ndarray, np.generic, int, float)):
            raise TypeError(f"in: expected a number or a tensor to look for but got {type(element).__name__}")
        return bool((self == element).data.any())

    def __bool__(self) -> builtins.bool:
        if self.data.size != 1:
            raise ValueError(
                f"bool: a tensor of {self.data.size} elements, shape {self.shape}, is neither true nor false"
            )
        return bool(self.data.item())

    def __float__(self) -> builtins.float:
        return float(self.item())

    def __int__(self) -> builtins.int:
        return int(self.item())

    def __index__(self) -> builtins.int:
        if self.data.dtype.kind not in "iub" or self.data.size != 1:
            raise TypeError(
                f"index: expected an integer tensor of one element but got {self.dtype}, shape {self.shape}"
            )
        return int(self.data.item())

    def __format__(self, spec: str) -> str:
        if not spec:
            return repr(self)
        if self.data.ndim:
            raise TypeError(f"format: expected a 0-d tensor for the format {spec!r} but got shape {self.shape}")
        return format(self.item(), spec)

    def __repr__(self) -> str:
        text = np.array2string(self.data, separator=", ", prefix="tensor(", threshold=1000)
        notes = "" if self.data.size else f", shape={self.shape}"
        if self.dtype not in (DEFAULT, np.int64, np.bool_) or (not self.data.size and self.dtype != DEFAULT):
            notes += f", dtype={self.dtype}"
        if self._node is not None:
            notes += f", grad_fn={self._node!r}"
        elif self._requires_grad:
            notes += ", requires_grad=True"
        return f"tensor({text}{notes})"

    def __deepcopy__(self, memo: dict[builtins.int, Any]) -> Self:
        if self._node is not None:
            raise RuntimeError("deepcopy: just leaves can be copied with their place in the graph; detach() this first")
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        Tensor.__init__(twin, self.data.copy(order="K"), self._requires_grad)
        if self._grad is not None:
            twin._grad = self._grad._wrap(self._grad.data.copy(order="K"))
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("pickle: tensors are not pickled; use tinygrad_cnn.save and tinygrad_cnn.load")

    # --------------------------------------------------------------- its place in the graph

    @property
    def requires_grad(self) -> builtins.bool:
        """Whether a backward pass computes a gradient for it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: builtins.bool) -> None:
        if self._node is not None and not value:
            raise RuntimeError("requires_grad: a tensor that an operation made cannot change; use detach()")
        if value and self.data.dtype.kind != "f":
            raise TypeError(f"requires_grad: just floating tensors can require a gradient but this one is {self.dtype}")
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: builtins.bool = True) -> Self:
        """Set `requires_grad`, in place."""
        self.requires_grad = requires_grad
        return self

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward passes added up so far, or None."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad: expected a tensor or None but got {type(value).__name__}")
            if value.shape != self.shape or value.dtype != self.dtype:
                raise ValueError(
                    f"grad: expected shape {self.shape} and dtype {self.dtype} but got {value.shape} and {value.dtype}"
                )
        self._grad = value

    @property
    def grad_fn(self) -> Node | None:
        """The node of the graph that made it, None for a leaf."""
        return self._node

    @property
    def is_leaf(self) -> builtins.bool:
        """Whether no recorded operation made it."""
        return self._node is None

    def backward(
        self,
        gradient: Any = None,
        retain_graph: builtins.bool | None = None,
        create_graph: builtins.bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradients of this tensor to the ``.grad`` of the leaves that it depends on.

        Parameters
        ----------
        gradient : tensor or array, optional
            The cotangent, of this tensor's shape. Default: one, for a single element.
        retain_graph : bool, optional
            Keep what the graph holds, to go through it again. Default: `create_graph`.
        create_graph : bool
            Record the backward pass too.
        inputs : tensor or sequence of tensors, optional
            Fill in the gradients of these alone.

        Raises
        ------
        RuntimeError
            If the tensor requires no gradient, has several elements and no `gradient`, or belongs to a graph that
            was freed, or if a value that the graph keeps was modified in place.
        """
        backward(self, None if gradient is None else [gradient], retain_graph, create_graph, inputs)

    def detach(self) -> Tensor:
        """A constant that shares this tensor's memory."""
        result = self._wrap(self.data)
        result._version = self._version
        return result

    def retain_grad(self) -> None:
        """Let backward passes fill in `grad` though this is not a leaf.

        Raises
        ------
        RuntimeError
            If it requires no gradient.
        """
        if not self._requires_grad:
            raise RuntimeError("retain_grad: the tensor does not require a gradient")
        if self._node is not None:
            retained = self._node.retained = self._node.retained or []
            if not any(reference() is self for reference in retained):
                retained.append(weakref.ref(self))

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `hook` with this tensor's gradient in every backward pass; what it returns replaces the gradient.

        Returns
        -------
        RemovableHandle
            Its ``remove()`` takes the hook away again.

        Raises
        ------
        TypeError
            If `hook` cannot be called.
        RuntimeError
            If the tensor requires no gradient.
        """
        if not callable(hook):
            raise TypeError(f"register_hook: hook expects a callable but got {type(hook).__name__}")
        if not self._requires_grad:
            raise RuntimeError("register_hook: the tensor does not require a gradient")
        if self._node is None:
            hooks = self._hooks = {} if self._hooks is None else self._hooks
        else:
            hooks = self._node.hooks = {} if self._node.hooks is None else self._node.hooks
        key = next_key()
        hooks[key] = hook
        return RemovableHandle(hooks, key)

    # --------------------------------------------------------------------- conversions

    def to(self, *args: Any, dtype: DTypeLike | None = None, device: Any = None, **kwargs: Any) -> Tensor:
        """The tensor in another dtype, or on the CPU, where it is: ``to(tg.float64)``, ``to("cpu")``, ``to(other)``.

        Returns itself where nothing changes. Further keywords of PyTorch (``non_blocking``, ``copy``) are accepted
        as far as they have a meaning here.

        Raises
        ------
        ValueError
            For a device other than the CPU.
        TypeError
            For a dtype that tensors cannot have.
        """
        copy = bool(kwargs.pop("copy", False))
        kwargs.pop("non_blocking", None)
        if kwargs:
            raise TypeError(f"to: got an unexpected argument {next(iter(kwargs))!r}")
        for argument in args:
            if isinstance(argument, Tensor):
                dtype = argument.dtype
            elif isinstance(argument, device_type) or str(argument).partition(":")[0] in _DEVICE_NAMES:
                device = argument
            elif not isinstance(argument, bool):
                dtype = argument
        check_cpu("to", device)
        target = self.dtype if dtype is None else as_dtype(dtype)
        if target != self.dtype:
            return elementwise.cast(self, target)
        return self.clone() if copy else self

    def cpu(self) -> Tensor:
        """Itself."""
        return self

    def float(self) -> Tensor:
        """In float32."""
        return self.to(np.float32)

    def double(self) -> Tensor:
        """In float64."""
        return self.to(np.float64)

    def long(self) -> Tensor:
        """In int64; fractions are cut off."""
        return self.to(np.int64)

    def int(self) -> Tensor:
        """In int32; fractions are cut off."""
        return self.to(np.int32)

    def bool(self) -> Tensor:
        """Whether the elements differ from zero."""
        return self.to(np.bool_)

    def contiguous(self) -> Tensor:
        """The same values in row-major memory: itself, where they are, else a copy."""
        if self.data.flags.c_contiguous:
            return self
        return elementwise.contiguous(self)

    def is_contiguous(self) -> builtins.bool:
        """Whether the elements lie in row-major order without gaps."""
        return self.data.flags.c_contiguous

    def view_as(self, other: Tensor) -> Tensor:
        """In the shape of another."""
        check_tensor("view_as", "other", other)
        return shapes.reshape(self, other.shape)

    def expand_as(self, other: Tensor) -> Tensor:
        """Expanded to the shape of another."""
        check_tensor("expand_as", "other", other)
        return shapes.expand(self, other.shape)

    def t(self) -> Tensor:
        """The transpose of a matrix; a 1-d or 0-d tensor as it is."""
        if self.ndim > 2:
            raise ValueError(f"t: expected at most 2 dimensions but got shape {self.shape}")
        return shapes.transpose(self, 0, 1) if self.ndim == 2 else self

    @property
    def T(self) -> Tensor:
        """With all dimensions reversed."""
        return shapes.permute(self, tuple(reversed(range(self.ndim)))) if self.ndim else self

    @property
    def mT(self) -> Tensor:
        """With the last two dimensions swapped."""
        if self.ndim < 2:
            raise ValueError(f"mT: expected at least 2 dimensions but got shape {self.shape}")
        return shapes.transpose(self, -2, -1)


def tensor(data: Any, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of its own memory from numbers, nested lists, arrays or tensors.

    Parameters
    ----------
    data : array_like
    dtype : dtype, optional
        Default: float32 for Python's floats and int64 for its ints; arrays and tensors keep theirs.
    requires_grad : bool

    Raises
    ------
    TypeError
        If the dtype is not one of tensors, or not floating though a gradient is required.
    ValueError
        If nested lists are ragged.

    Examples
    --------
    >>> tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    array = as_array(data, dtype)
    return Tensor(array.copy() if np.may_share_memory(array, as_array(data)) else array, requires_grad)
