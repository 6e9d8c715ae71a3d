"""What one writes with tensors: operators, and the operations that are methods too."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.autograd import Variable
from tinygrad_cnn.ops import (
    accumulate,
    activation,
    einsum,
    elementwise,
    functions,
    indexing,
    linalg,
    ordering,
    parts,
    piecewise,
    reduction,
    tiling,
    truth,
)
from tinygrad_cnn.ops import shape as shapes
from tinygrad_cnn.ops import softmax as softmaxes

__all__ = ["Operators"]


class Operators(Variable):
    """The operations of `ops` as operators and methods; each is documented where it is defined."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __add__(self, other: Any) -> Any:
        return elementwise.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return elementwise.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return elementwise.sub(self, other)

    def __rsub__(self, other: Any) -> Any:
        return elementwise.sub(other, self)

    def __mul__(self, other: Any) -> Any:
        return elementwise.mul(self, other)

    def __rmul__(self, other: Any) -> Any:
        return elementwise.mul(other, self)

    def __truediv__(self, other: Any) -> Any:
        return elementwise.div(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return elementwise.div(other, self)

    def __pow__(self, other: Any) -> Any:
        return elementwise.pow(self, other)

    def __rpow__(self, other: Any) -> Any:
        return elementwise.pow(other, self)

    def __matmul__(self, other: Any) -> Any:
        return linalg.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return linalg.matmul(other, self)

    def __neg__(self) -> Any:
        return elementwise.neg(self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return elementwise.abs(self)

    def __eq__(self, other: Any) -> Any:
        return elementwise.eq(self, other) if _is_operand(other) else NotImplemented

    def __ne__(self, other: Any) -> Any:
        return elementwise.ne(self, other) if _is_operand(other) else NotImplemented

    def __lt__(self, other: Any) -> Any:
        return elementwise.lt(self, other)

    def __le__(self, other: Any) -> Any:
        return elementwise.le(self, other)

    def __gt__(self, other: Any) -> Any:
        return elementwise.gt(self, other)

    def __ge__(self, other: Any) -> Any:
        return elementwise.ge(self, other)

    def __and__(self, other: Any) -> Any:
        return elementwise.bitwise_and(self, other)

    def __rand__(self, other: Any) -> Any:
        return elementwise.bitwise_and(other, self)

    def __or__(self, other: Any) -> Any:
        return elementwise.bitwise_or(self, other)

    def __ror__(self, other: Any) -> Any:
        return elementwise.bitwise_or(other, self)

    def __xor__(self, other: Any) -> Any:
        return elementwise.bitwise_xor(self, other)

    def __rxor__(self, other: Any) -> Any:
        return elementwise.bitwise_xor(other, self)

    def __invert__(self) -> Any:
        return elementwise.bitwise_not(self)

    def __getitem__(self, index: Any) -> Any:
        return indexing.getitem(self, index)

    # -------------------------- operations that are methods too, documented where they are defined

    add = elementwise.add_scaled
    sub = elementwise.sub_scaled
    mul = elementwise.mul
    div = elementwise.div
    neg = elementwise.neg
    pow = elementwise.pow
    exp = elementwise.exp
    log = elementwise.log
    sqrt = elementwise.sqrt
    abs = elementwise.abs
    sign = elementwise.sign
    tanh = elementwise.tanh
    sin = functions.sin
    cos = functions.cos
    square = functions.square
    reciprocal = functions.reciprocal
    rsqrt = functions.rsqrt
    expm1 = functions.expm1
    log1p = functions.log1p
    erf = functions.erf
    floor = functions.floor
    ceil = functions.ceil
    round = functions.round
    sigmoid = activation.sigmoid
    relu = piecewise.relu
    prelu = piecewise.prelu
    isnan = truth.isnan
    isinf = truth.isinf
    isfinite = truth.isfinite
    any = truth.any
    all = truth.all
    allclose = truth.allclose
    clamp = elementwise.clamp
    maximum = elementwise.maximum
    minimum = elementwise.minimum
    eq = elementwise.eq
    ne = elementwise.ne
    lt = elementwise.lt
    le = elementwise.le
    gt = elementwise.gt
    ge = elementwise.ge
    clone = elementwise.clone
    matmul = linalg.matmul
    outer = einsum.outer
    sum = reduction.sum
    mean = reduction.mean
    var = reduction.var
    std = reduction.std
    amax = reduction.amax
    amin = reduction.amin
    max = reduction.max
    min = reduction.min
    argmax = reduction.argmax
    argmin = reduction.argmin
    logsumexp = reduction.logsumexp
    prod = accumulate.prod
    cumsum = accumulate.cumsum
    count_nonzero = accumulate.count_nonzero
    softmax = softmaxes.softmax
    log_softmax = softmaxes.log_softmax
    reshape = shapes.reshape
    view = shapes.reshape
    flatten = shapes.flatten
    permute = shapes.permute
    transpose = shapes.transpose
    squeeze = shapes.squeeze
    unsqueeze = shapes.unsqueeze
    expand = shapes.expand
    sum_to_size = shapes.sum_to_size
    flip = shapes.flip
    tile = tiling.tile
    repeat = tiling.repeat
    roll = tiling.roll
    chunk = parts.chunk
    unbind = parts.unbind
    narrow = parts.narrow
    tril = parts.tril
    triu = parts.triu
    gather = indexing.gather
    scatter_add = indexing.scatter_add
    masked_fill = indexing.masked_fill
    sort = ordering.sort
    argsort = ordering.argsort
    topk = ordering.topk

    def norm(self, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
        """Its p-norm over `dim`, computed in `dtype`."""
        return accumulate.norm(self, p, dim, keepdim, dtype=dtype)

    def split(self, split_size: Any, dim: int = 0) -> Any:
        """Pieces of one size along `dim`, or of the sizes in a list."""
        return parts.split(self, split_size, dim)

    def where(self, condition: Any, other: Any) -> Any:
        """Its own elements where `condition` holds, else those of `other`."""
        return elementwise.where(condition, self, other)


def _is_operand(x: Any) -> bool:
    """Whether `x` can be compared with a tensor elementwise."""
    return isinstance(x, (Variable, np.ndarray, np.generic, int, float))
