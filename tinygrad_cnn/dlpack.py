"""DLPack: sharing memory with other libraries, without a copy (https://dmlc.github.io/dlpack, NumPy does the work)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Variable

__all__ = ["CPU", "DLPack", "shared_array"]

CPU = (1, 0)
# CPU, and the two kinds of host memory that a GPU's driver allocates.
_HOST_KINDS = (1, 3, 11)
_VERSIONED = tuple(int(part) for part in np.__version__.split(".")[:2]) >= (2, 1)


class DLPack(Variable):
    """What ``torch.from_dlpack(t)`` and its like ask of a tensor."""

    __slots__ = ()

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a capsule through which another library shares this tensor's memory; it keeps the memory alive.

        Writing through it goes behind the library's back, as writing through ``.data`` does.

        Parameters
        ----------
        stream : None
            There are no streams on a CPU (PyTorch's -1, "none", is accepted).
        max_version : tuple of int, optional
            The newest version of DLPack that the caller understands. Memory that is read-only can be handed on from
            version 1.0 on, which has a flag for it.
        dl_device : tuple of int, optional
            Where the caller wants it: ``(1, 0)``, the CPU.
        copy : bool, optional
            True: hand over a copy. False and None: never copy.

        Raises
        ------
        BufferError
            If the tensor requires a gradient, which the other library would not see; `detach` it first. If it runs
            backwards through memory, which PyTorch has no tensors for: it ends the process. If it is read-only and
            `max_version` is older than 1.0, or another device is asked for.
        ValueError
            If a stream is given.
        """
        if self._requires_grad:
            raise BufferError("dlpack: the tensor requires a gradient, which can't be handed over; use detach()")
        if stream not in (None, -1):
            raise ValueError(f"dlpack: stream expects None, as there are none on a CPU, but got {stream!r}")
        if dl_device is not None and tuple(dl_device) != CPU:
            raise BufferError(f"dlpack: dl_device expects the CPU, (1, 0), but got {dl_device!r}")
        array = self.data.copy(order="C") if copy else self.data
        if array.size and any(stride < 0 and n > 1 for n, stride in zip(array.shape, array.strides, strict=True)):
            raise BufferError("dlpack: the tensor runs backwards through memory, as a[::-1] does; use contiguous()")
        if _VERSIONED and max_version is not None:
            return array.__dlpack__(max_version=max_version)
        if not array.flags.writeable:
            raise BufferError("dlpack: the tensor is read-only, which DLPack before 1.0 can't tell; use clone()")
        return array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the kind and the number of the device: the CPU, ``(1, 0)``."""
        return CPU


def shared_array(ext_tensor: Any, copy: bool | None) -> np.ndarray:
    """Return an array on the memory of `ext_tensor`, or a copy if `copy` says so.

    Raises
    ------
    TypeError
        If `ext_tensor` does not speak DLPack.
    BufferError
        If its memory can't be shared: it lies on another device, NumPy lacks its dtype, or its library refuses.
    """
    if not hasattr(ext_tensor, "__dlpack__") or not hasattr(ext_tensor, "__dlpack_device__"):
        raise TypeError(f"from_dlpack: ext_tensor expects __dlpack__ but {type(ext_tensor).__name__} lacks it")
    kind, number = ext_tensor.__dlpack_device__()
    if kind not in _HOST_KINDS:
        raise BufferError(f"from_dlpack: ext_tensor expects memory of the CPU but got device {(int(kind), number)}")
    try:
        array = np.from_dlpack(ext_tensor)
    except (RuntimeError, ValueError) as error:  # what NumPy raises for a dtype or a layout that it lacks
        raise BufferError(f"from_dlpack: ext_tensor can't be shared ({error})") from None
    return array.copy() if copy else array
