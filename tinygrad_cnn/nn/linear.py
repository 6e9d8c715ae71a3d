"""Fully connected layers, and the layer that does nothing."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn import init
from tinygrad_cnn.nn.lazy import LazyModule
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.parameter import Parameter, new_parameter
from tinygrad_cnn.nn.sizes import size
from tinygrad_cnn.tensor import Tensor


class Identity(Module):
    """Return the input. Any arguments of the constructor are accepted and not used, so it can replace any layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return the input."""
        return input


class Linear(Module):
    """Fully connected layer, ``y = x @ weight.T + bias``: (..., in_features) -> (..., out_features).

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last dimension of the input and of the output.
    bias : bool, default True
        Whether to add a bias.
    device, dtype : optional
        ``"cpu"``; the dtype of the parameters, float32 by default.

    Attributes
    ----------
    weight : Parameter, (out_features, in_features)
    bias : Parameter or None, (out_features,)
        Both are drawn from the uniform distribution on ±1/sqrt(in_features).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> nn.Linear(20, 30)(tg.ones(128, 20)).shape
    (128, 30)
    """

    weight: Parameter
    bias: Parameter | None
    _new_parameter = staticmethod(new_parameter)

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = size("Linear", "in_features", in_features)
        self.out_features = size("Linear", "out_features", out_features)
        self.weight = self._new_parameter(self.out_features, self.in_features, device=device, dtype=dtype)
        if bias:
            self.bias = self._new_parameter(self.out_features, device=device, dtype=dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new first values."""
        init.layer_(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input @ weight.T + bias``."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class LazyLinear(LazyModule, Linear):
    """A `Linear` that learns `in_features` from its first input, and is a `Linear` from then on.

    Parameters
    ----------
    out_features, bias, device, dtype
        As `Linear`'s.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> layer = nn.LazyLinear(10)
    >>> _ = layer(tg.ones(2, 784))
    >>> layer
    Linear(in_features=784, out_features=10, bias=True)
    """

    becomes = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, out_features, bias, device, dtype)

    def _infer(self, input: Tensor) -> dict[str, tuple[int, ...]]:
        if input.ndim == 0:
            raise ValueError("LazyLinear: input expects at least 1 dimension but got a 0-d tensor")
        self.in_features = input.shape[-1]
        shapes: dict[str, tuple[int, ...]] = {"weight": (self.out_features, self.in_features)}
        return shapes if self.bias is None else shapes | {"bias": (self.out_features,)}
