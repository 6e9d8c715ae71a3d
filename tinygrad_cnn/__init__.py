"""A small tensor library with reverse-mode automatic differentiation, on NumPy alone.

>>> import tinygrad_cnn as tg
>>> x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

import numpy as _np

from tinygrad_cnn import autograd, data, func, metrics, nn, optim, random, utils
from tinygrad_cnn.autograd import enable_grad, grad, is_grad_enabled, no_grad, set_grad_enabled
from tinygrad_cnn.checkpoint import Checkpoint
from tinygrad_cnn.creation import (
    arange,
    empty,
    empty_like,
    eye,
    from_dlpack,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    zeros,
    zeros_like,
)
from tinygrad_cnn.devices import accelerator, backends, cuda, device
from tinygrad_cnn.graphviz import graph
from tinygrad_cnn.kernels.threads import get_num_threads, set_num_threads
from tinygrad_cnn.ops.accumulate import count_nonzero, cumsum, norm, prod
from tinygrad_cnn.ops.activation import selu, sigmoid
from tinygrad_cnn.ops.conv import conv1d, conv2d, conv_transpose2d
from tinygrad_cnn.ops.einsum import einsum, outer
from tinygrad_cnn.ops.elementwise import (
    abs,
    clamp,
    clone,
    div,
    eq,
    exp,
    ge,
    gt,
    le,
    log,
    lt,
    maximum,
    minimum,
    mul,
    ne,
    neg,
    pow,
    sign,
    sqrt,
    tanh,
    where,
)
from tinygrad_cnn.ops.elementwise import add_scaled as add
from tinygrad_cnn.ops.elementwise import sub_scaled as sub
from tinygrad_cnn.ops.functions import ceil, cos, erf, expm1, floor, log1p, reciprocal, round, rsqrt, sin, square
from tinygrad_cnn.ops.indexing import gather, masked_fill, scatter_add
from tinygrad_cnn.ops.linalg import matmul
from tinygrad_cnn.ops.norm import batch_norm, dropout
from tinygrad_cnn.ops.ordering import argsort, sort, topk
from tinygrad_cnn.ops.parts import chunk, narrow, split, tril, triu, unbind
from tinygrad_cnn.ops.piecewise import prelu, relu
from tinygrad_cnn.ops.reduction import amax, amin, argmax, argmin, logsumexp, max, mean, min, std, sum, var
from tinygrad_cnn.ops.shape import (
    cat,
    expand,
    flatten,
    flip,
    permute,
    reshape,
    squeeze,
    stack,
    sum_to_size,
    transpose,
    unsqueeze,
)
from tinygrad_cnn.ops.softmax import log_softmax, softmax
from tinygrad_cnn.ops.tiling import roll, tile
from tinygrad_cnn.ops.truth import all, allclose, any, isfinite, isinf, isnan
from tinygrad_cnn.random import manual_seed
from tinygrad_cnn.serialization import load, save
from tinygrad_cnn.summary import summary
from tinygrad_cnn.tensor import Tensor, tensor
from tinygrad_cnn.version import __version__

bool = _np.dtype("bool")
uint8 = _np.dtype("uint8")
int8 = _np.dtype("int8")
int16 = _np.dtype("int16")
int32 = _np.dtype("int32")
int64 = _np.dtype("int64")
float16 = half = _np.dtype("float16")
float32 = float = _np.dtype("float32")
float64 = double = _np.dtype("float64")
int = int32
long = int64

__all__ = [
    "__version__",
    "abs",
    "accelerator",
    "add",
    "all",
    "allclose",
    "amax",
    "amin",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "autograd",
    "backends",
    "batch_norm",
    "bool",
    "cat",
    "ceil",
    "Checkpoint",
    "chunk",
    "clamp",
    "clone",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "count_nonzero",
    "cos",
    "cuda",
    "cumsum",
    "data",
    "device",
    "div",
    "double",
    "dropout",
    "einsum",
    "empty",
    "empty_like",
    "enable_grad",
    "eq",
    "erf",
    "exp",
    "expand",
    "expm1",
    "eye",
    "flatten",
    "flip",
    "float",
    "float16",
    "float32",
    "float64",
    "floor",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "func",
    "gather",
    "ge",
    "get_num_threads",
    "grad",
    "graph",
    "gt",
    "half",
    "int",
    "int16",
    "int32",
    "int64",
    "int8",
    "is_grad_enabled",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "linspace",
    "load",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "long",
    "lt",
    "manual_seed",
    "masked_fill",
    "matmul",
    "max",
    "maximum",
    "mean",
    "metrics",
    "min",
    "minimum",
    "mul",
    "narrow",
    "ne",
    "neg",
    "nn",
    "no_grad",
    "norm",
    "ones",
    "ones_like",
    "optim",
    "outer",
    "permute",
    "pow",
    "prod",
    "prelu",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "random",
    "randperm",
    "reciprocal",
    "relu",
    "reshape",
    "roll",
    "save",
    "scatter_add",
    "round",
    "rsqrt",
    "selu",
    "set_grad_enabled",
    "set_num_threads",
    "sigmoid",
    "sign",
    "sin",
    "softmax",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "sub",
    "sum",
    "sum_to_size",
    "summary",
    "tanh",
    "Tensor",
    "tensor",
    "tile",
    "topk",
    "transpose",
    "tril",
    "triu",
    "uint8",
    "unbind",
    "unsqueeze",
    "utils",
    "var",
    "where",
    "zeros",
    "zeros_like",
]
