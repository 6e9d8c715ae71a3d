"""Neural networks: modules, layers, losses, initialisation, and the functions behind them (`functional`)."""

from tinygrad_cnn.nn import functional, init, utils
from tinygrad_cnn.nn.activation import (
    ELU,
    GELU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softmin,
    Softplus,
    Tanh,
)
from tinygrad_cnn.nn.batchnorm import BatchNorm1d, BatchNorm2d
from tinygrad_cnn.nn.containers import ModuleDict, ModuleList, Sequential
from tinygrad_cnn.nn.conv import Conv2d, ConvTranspose2d, LazyConv2d
from tinygrad_cnn.nn.dropout import Dropout, Dropout2d
from tinygrad_cnn.nn.flatten import Flatten
from tinygrad_cnn.nn.instancenorm import InstanceNorm2d
from tinygrad_cnn.nn.linear import Identity, LazyLinear, Linear
from tinygrad_cnn.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from tinygrad_cnn.nn.module import Module
from tinygrad_cnn.nn.normalization import GroupNorm, LayerNorm, LocalContrastNorm, LocalResponseNorm
from tinygrad_cnn.nn.padding import CircularPad2d, ConstantPad2d, ReflectionPad2d, ReplicationPad2d, ZeroPad2d
from tinygrad_cnn.nn.parameter import Parameter, UninitializedParameter
from tinygrad_cnn.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "CircularPad2d",
    "ConstantPad2d",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout2d",
    "ELU",
    "Flatten",
    "GELU",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "GroupNorm",
    "HuberLoss",
    "Identity",
    "InstanceNorm2d",
    "KLDivLoss",
    "L1Loss",
    "LayerNorm",
    "LazyConv2d",
    "LazyLinear",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LocalContrastNorm",
    "LocalResponseNorm",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "PReLU",
    "Parameter",
    "ReLU",
    "ReflectionPad2d",
    "ReplicationPad2d",
    "ReLU6",
    "SELU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Softmin",
    "Softplus",
    "Tanh",
    "UninitializedParameter",
    "ZeroPad2d",
    "functional",
    "init",
    "utils",
]
