"""Activation functions as layers. Each keeps the shape of its input."""

from __future__ import annotations

from typing import Any

from tinygrad_cnn.nn import functional as F
from tinygrad_cnn.nn import init as initialize
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.parameter import new_parameter
from tinygrad_cnn.nn.sizes import size
from tinygrad_cnn.tensor import Tensor


class _Activation(Module):
    """An elementwise function.

    Parameters
    ----------
    inplace : bool, default False
        Accepted so that models written for PyTorch run, and shown in the repr. The values and gradients are the
        same either way: operations here never write over their input.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def _settings(self) -> str:
        return ""

    def extra_repr(self) -> str:
        """Return the settings, `inplace` only if it is not the default."""
        return ", ".join(filter(None, (self._settings(), "inplace=True" if self.inplace else "")))


class ReLU(_Activation):
    """``max(x, 0)``, elementwise. The derivative at 0 is 0.

    Parameters
    ----------
    inplace : bool, default False
        Without effect: the values and gradients are the same either way.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return ``max(input, 0)``."""
        return F.relu(input)


class LeakyReLU(_Activation):
    """``x`` where ``x > 0``, else ``negative_slope * x``, elementwise.

    Parameters
    ----------
    negative_slope : float, default 0.01
        The slope for negative inputs.
    inplace : bool, default False
        Without effect.
    """

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        """Return the input, its negative part scaled."""
        return F.leaky_relu(input, self.negative_slope)

    def _settings(self) -> str:
        return f"negative_slope={self.negative_slope}"


class PReLU(Module):
    """`LeakyReLU` whose slope is learnt: one for all channels, or one for each.

    Parameters
    ----------
    num_parameters : int, default 1
        1, or the number of channels: the size of dimension 1.
    init : float, default 0.25
        The first value of the slopes.
    device, dtype : optional
        The CPU; float32 by default.

    Attributes
    ----------
    weight : Parameter, (num_parameters,)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = size("PReLU", "num_parameters", num_parameters)
        self.init = init
        self.weight = new_parameter(self.num_parameters, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the slopes to their first value."""
        initialize.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Return the input, its negative part scaled."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"num_parameters={self.num_parameters}"


class ELU(_Activation):
    """``x`` where ``x > 0``, else ``alpha * (exp(x) - 1)``, elementwise.

    Parameters
    ----------
    alpha : float, default 1.0
        Minus the limit for large negative inputs.
    inplace : bool, default False
        Without effect.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        """Return `functional.elu` of the input."""
        return F.elu(input, self.alpha)

    def _settings(self) -> str:
        return f"alpha={self.alpha}"


class SELU(_Activation):
    """`ELU` with the two constants that keep mean 0 and variance 1.

    Parameters
    ----------
    inplace : bool, default False
        Without effect.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `functional.selu` of the input."""
        return F.selu(input)


class SiLU(_Activation):
    """``x * sigmoid(x)``, elementwise.

    Parameters
    ----------
    inplace : bool, default False
        Without effect.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `functional.silu` of the input."""
        return F.silu(input)


class Mish(_Activation):
    """``x * tanh(log(1 + exp(x)))``, elementwise.

    Parameters
    ----------
    inplace : bool, default False
        Without effect.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `functional.mish` of the input."""
        return F.mish(input)


class GELU(Module):
    """``x`` times the distribution function of the normal distribution, elementwise.

    Parameters
    ----------
    approximate : "none" or "tanh", default "none"
        Whether to approximate the distribution function by a hyperbolic tangent.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Return `functional.gelu` of the input."""
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """``log(1 + exp(beta x)) / beta``, elementwise: a smooth `ReLU`.

    Parameters
    ----------
    beta : float, default 1.0
        The larger, the nearer to `ReLU`.
    threshold : float, default 20.0
        Where ``beta x`` exceeds it the result is ``x``.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """Return `functional.softplus` of the input."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardtanh(_Activation):
    """``x`` limited to ``[min_val, max_val]``, elementwise. The derivative at the limits is 0.

    Parameters
    ----------
    min_val, max_val : float, default -1.0 and 1.0
    inplace : bool, default False
        Without effect.

    Raises
    ------
    ValueError
        Unless ``min_val < max_val``.
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        if not min_val < max_val:
            raise ValueError(f"Hardtanh: max_val expects more than min_val {min_val} but got {max_val}")
        self.min_val = min_val
        self.max_val = max_val

    def forward(self, input: Tensor) -> Tensor:
        """Return `functional.hardtanh` of the input."""
        return F.hardtanh(input, self.min_val, self.max_val)

    def _settings(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class ReLU6(_Activation):
    """``min(max(x, 0), 6)``, elementwise.

    Parameters
    ----------
    inplace : bool, default False
        Without effect.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `functional.relu6` of the input."""
        return F.relu6(input)


class Hardsigmoid(_Activation):
    """``min(max(x + 3, 0), 6) / 6``, elementwise.

    Parameters
    ----------
    inplace : bool, default False
        Without effect.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `functional.hardsigmoid` of the input."""
        return F.hardsigmoid(input)


class Hardswish(_Activation):
    """``x * min(max(x + 3, 0), 6) / 6``, elementwise.

    Parameters
    ----------
    inplace : bool, default False
        Without effect.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `functional.hardswish` of the input."""
        return F.hardswish(input)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``, elementwise."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the sigmoid of the input."""
        return F.sigmoid(input)


class LogSigmoid(Module):
    """``log(1 / (1 + exp(-x)))``, elementwise."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the logarithm of the sigmoid of the input."""
        return F.logsigmoid(input)


class Tanh(Module):
    """``tanh(x)``, elementwise."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the hyperbolic tangent of the input."""
        return F.tanh(input)


class Softmax(Module):
    """``exp(x) / sum(exp(x))`` along one dimension: positive numbers that sum to 1.

    Parameters
    ----------
    dim : int
        The dimension that sums to 1.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmax of the input."""
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """``log(softmax(x))`` along one dimension, without the overflow and underflow of taking it literally.

    Parameters
    ----------
    dim : int
        The dimension whose exponentials sum to 1.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the logarithm of the softmax of the input."""
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"dim={self.dim}"


class Softmin(Module):
    """``softmax(-x)`` along one dimension.

    Parameters
    ----------
    dim : int
        The dimension that sums to 1.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmax of the negated input."""
        return F.softmin(input, self.dim)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"dim={self.dim}"
