"""First values of parameters. Every function writes into its tensor and returns it; nothing is recorded.

An array will do as well: PyTorch scripts fill ``layer.weight.data``, which is an array here.

All draws come from the library's generator, in the dtype of the tensor (a float32 tensor never goes through
float64), so `manual_seed` fixes them.

References
----------
Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010 (Xavier).
He, Zhang, Ren & Sun, "Delving deep into rectifiers", 2015 (Kaiming).
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np

from tinygrad_cnn.random import generator
from tinygrad_cnn.tensor import Tensor

T = TypeVar("T", bound=Tensor | np.ndarray[Any, Any])

_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0) -> T:
    """Fill with draws from the uniform distribution on [a, b).

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> from tinygrad_cnn import nn
    >>> w = nn.init.uniform_(tg.empty(3, 5), -1, 1)
    >>> -1 <= w.min().item() and w.max().item() < 1
    True
    """
    if not a <= b:
        raise ValueError(f"uniform_: a expects at most b={b} but got {a}")
    dtype = _drawn_dtype("uniform_", tensor)
    values = generator().random(tensor.shape, dtype=dtype)
    values *= b - a
    values += a
    return _write("uniform_", tensor, values)


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0) -> T:
    """Fill with draws from the normal distribution of this mean and standard deviation."""
    if not std >= 0:
        raise ValueError(f"normal_: std expects a number that is not negative but got {std}")
    dtype = _drawn_dtype("normal_", tensor)
    values = generator().standard_normal(tensor.shape, dtype=dtype)
    values *= std
    values += mean
    return _write("normal_", tensor, values)


def constant_(tensor: T, val: float) -> T:
    """Fill with one value."""
    return _write("constant_", tensor, val)


def ones_(tensor: T) -> T:
    """Fill with ones."""
    return _write("ones_", tensor, 1.0)


def zeros_(tensor: T) -> T:
    """Fill with zeros."""
    return _write("zeros_", tensor, 0.0)


def xavier_uniform_(tensor: T, gain: float = 1.0) -> T:
    """Fill uniformly on ±gain · sqrt(6 / (fan_in + fan_out)): activations and gradients keep their variance."""
    fan_in, fan_out = _fans("xavier_uniform_", tensor)
    bound = gain * math.sqrt(6.0 / (fan_in + fan_out)) if fan_in + fan_out else 0.0
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: T, gain: float = 1.0) -> T:
    """Fill normally with standard deviation gain · sqrt(2 / (fan_in + fan_out))."""
    fan_in, fan_out = _fans("xavier_normal_", tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / (fan_in + fan_out)) if fan_in + fan_out else 0.0)


def kaiming_uniform_(tensor: T, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> T:
    """Fill uniformly on ±gain · sqrt(3 / fan): the variance survives layers that a rectifier follows.

    Parameters
    ----------
    tensor : Tensor, (out, in) or (out, in, height, width)
        The weight of a layer.
    a : float, default 0
        The negative slope, if `nonlinearity` is ``"leaky_relu"``.
    mode : "fan_in" or "fan_out"
        Keep the variance of the activations on the way forward, or of the gradients on the way back.
    nonlinearity : str
        What follows the layer; see `calculate_gain`.
    """
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: T, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> T:
    """Fill normally with standard deviation gain / sqrt(fan). Parameters as `kaiming_uniform_`'s."""
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return by how much a nonlinearity shrinks the standard deviation, as a factor that makes up for it.

    1 for linear and convolution layers and ``"sigmoid"``, 5/3 for ``"tanh"``, sqrt(2) for ``"relu"``,
    sqrt(2 / (1 + slope²)) for ``"leaky_relu"`` (`param` is the slope, 0.01 by default), 3/4 for ``"selu"``.

    Raises
    ------
    ValueError
        For another name, or a slope that is not a number.
    """
    if nonlinearity in (*_LINEAR, "sigmoid"):
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3.0
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "selu":
        return 3.0 / 4.0
    if nonlinearity != "leaky_relu":
        raise ValueError(f"calculate_gain: nonlinearity expects the name of a nonlinearity but got {nonlinearity!r}")
    if param is None:
        param = 0.01
    if isinstance(param, bool) or not isinstance(param, int | float):
        raise ValueError(f"calculate_gain: param expects a negative slope but got {param!r}")
    return math.sqrt(2.0 / (1 + param**2))


def layer_(weight: Tensor, bias: Tensor | None) -> None:
    """Fill the weight and the bias of a layer the way `Linear` and the convolutions do by default.

    Both uniformly on ±1/sqrt(fan_in); for the weight that is `kaiming_uniform_` with ``a=sqrt(5)``.
    """
    kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in, _ = _fans("layer_", weight)
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        uniform_(bias, -bound, bound)


def _fans(operation: str, tensor: Tensor | np.ndarray[Any, Any]) -> tuple[int, int]:
    """Return how many inputs each output value of a layer has, and how many outputs each input value feeds."""
    _check_tensor(operation, tensor)
    if tensor.ndim < 2:
        raise ValueError(f"{operation}: tensor expects at least 2 dimensions but got shape {tensor.shape}")
    receptive_field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive_field, tensor.shape[0] * receptive_field


def _kaiming_std(
    operation: str, tensor: Tensor | np.ndarray[Any, Any], a: float, mode: str, nonlinearity: str
) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{operation}: mode expects 'fan_in' or 'fan_out' but got {mode!r}")
    fan = _fans(operation, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def _drawn_dtype(operation: str, tensor: Tensor | np.ndarray[Any, Any]) -> type[np.float32] | type[np.float64]:
    """Return the dtype to draw in: NumPy draws only these two."""
    _check_tensor(operation, tensor)
    if tensor.dtype.kind != "f":
        raise TypeError(f"{operation}: tensor expects a floating dtype but got {tensor.dtype}")
    return np.float64 if tensor.dtype == np.float64 else np.float32


def _check_tensor(operation: str, tensor: Any) -> None:
    if not isinstance(tensor, (Tensor, np.ndarray)):
        raise TypeError(f"{operation}: tensor expects a tensor or an array but got {type(tensor).__name__}")


def _write(operation: str, tensor: T, values: np.ndarray[Any, Any] | float) -> T:
    _check_tensor(operation, tensor)
    if isinstance(tensor, Tensor):
        tensor.data[...] = values
        tensor.bump_version()
    else:
        tensor[...] = values
    return tensor
