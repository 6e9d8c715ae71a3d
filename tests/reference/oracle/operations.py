"""The table of the sweep: one row an operation, with every way to call it.

A row's name is that of PyTorch's operator sample (`OpInfo`), a variant's name after a dot. A call is a path that both
libraries resolve (see `libraries.Library`); a path with a star takes its last list as separate arguments,
`x.view(*shape)`; where the sample's order of arguments is nobody's, the call is a function of the library.
Another operation is another row here, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oracle.libraries import Library

Call = str | Callable[..., Any]


@dataclass(frozen=True)
class Operation:
    """One row: the sample's name, the calls, and whether the result is random (then only shapes and dtypes compare)."""

    name: str
    calls: tuple[Call, ...]
    random: bool = False

    @property
    def opinfo(self) -> str:
        """PyTorch's name of the operation, without the variant."""
        return self.name.split(":")[0]

    @property
    def variant(self) -> str:
        """PyTorch's name of the variant; empty for most."""
        return self.name.partition(":")[2]


def row(name: str, *calls: Call, random: bool = False) -> Operation:
    return Operation(name, calls, random)


def tensor_and_package(name: str, *more: Call) -> Operation:
    """An operation that is `tg.name` and a method, under PyTorch's name or `name:variant`."""
    plain = name.split(":")[0]
    return row(name, f"tg.{plain}", f"Tensor.{plain}", *more)


def functional(name: str, *more: Call, variant: str = "", random: bool = False) -> Operation:
    return row(f"nn.functional.{name}{variant and ':' + variant}", f"F.{name}", *more, random=random)


def reflected(symbol: str) -> Call:
    """`y ∘ x` for the sample (x, y): what Python's reflected operators do."""

    def call(library: Library, x: Any, y: Any) -> Any:
        return library.resolve(f"operator.{symbol}")(y, x)

    call.__name__ = f"reflected operator.{symbol}"
    return call


def where(library: Library, x: Any, condition: Any, other: Any) -> Any:
    """The sample has the first choice before the condition."""
    return library.resolve("tg.where")(condition, x, other)


def einsum(library: Library, operands: Any, equation: Any) -> Any:
    """The sample has the operands first."""
    return library.resolve("tg.einsum")(equation, *operands)


def einsum_of_list(library: Library, operands: Any, equation: Any) -> Any:
    return library.resolve("tg.einsum")(equation, operands)


ELEMENTWISE = (
    tensor_and_package("add", "operator.add"),
    tensor_and_package("sub", "operator.sub"),
    tensor_and_package("mul", "operator.mul"),
    tensor_and_package("div:no_rounding_mode", "operator.truediv"),
    tensor_and_package("neg", "operator.neg"),
    tensor_and_package("pow", "operator.pow"),
    row("__radd__", reflected("add")),
    row("__rsub__", reflected("sub")),
    row("__rmul__", reflected("mul")),
    row("__rdiv__", reflected("truediv")),
    row("__rpow__", reflected("pow")),
    tensor_and_package("exp"),
    tensor_and_package("log"),
    tensor_and_package("sqrt"),
    tensor_and_package("abs", "operator.abs"),
    tensor_and_package("tanh", "F.tanh"),
    tensor_and_package("sigmoid", "F.sigmoid"),
    functional("relu", "tg.relu", "Tensor.relu"),
    functional("leaky_relu"),
    *(tensor_and_package(name) for name in ("sin", "cos", "square", "reciprocal", "rsqrt", "expm1", "log1p", "erf")),
    *(tensor_and_package(name) for name in ("sign", "floor", "ceil", "round")),
    *(tensor_and_package(f"round:decimals_{digits}") for digits in ("0", "3", "neg_3")),
    functional("elu"),
    functional("selu", "tg.selu"),
    functional("gelu"),
    functional("silu"),
    functional("mish"),
    functional("softplus"),
    functional("logsigmoid"),
    functional("hardtanh"),
    functional("relu6"),
    functional("hardsigmoid"),
    functional("hardswish"),
    functional("prelu", "tg.prelu", "Tensor.prelu"),
    *(tensor_and_package(name) for name in ("isnan", "isinf", "isfinite", "any", "all", "allclose")),
    tensor_and_package("maximum"),
    tensor_and_package("minimum"),
    row("where", where, "Tensor.where"),
    tensor_and_package("clamp"),
    tensor_and_package("eq", "operator.eq"),
    tensor_and_package("ne", "operator.ne"),
    tensor_and_package("lt", "operator.lt"),
    tensor_and_package("le", "operator.le"),
    tensor_and_package("gt", "operator.gt"),
    tensor_and_package("ge", "operator.ge"),
)

REDUCTIONS = (
    tensor_and_package("sum"),
    tensor_and_package("mean"),
    tensor_and_package("var"),
    tensor_and_package("var:unbiased"),
    tensor_and_package("std"),
    tensor_and_package("std:unbiased"),
    tensor_and_package("amax"),
    tensor_and_package("amin"),
    tensor_and_package("max:reduction_with_dim"),
    tensor_and_package("max:reduction_no_dim"),
    tensor_and_package("max:binary"),
    tensor_and_package("min:reduction_with_dim"),
    tensor_and_package("min:reduction_no_dim"),
    tensor_and_package("min:binary"),
    tensor_and_package("logsumexp"),
    tensor_and_package("argmax"),
    tensor_and_package("argmin"),
    tensor_and_package("prod"),
    tensor_and_package("cumsum"),
    tensor_and_package("norm"),
    tensor_and_package("norm:fro"),
    tensor_and_package("norm:inf"),
    tensor_and_package("count_nonzero"),
    tensor_and_package("sort"),
    tensor_and_package("argsort"),
    tensor_and_package("topk"),
)

SHAPES = (
    tensor_and_package("reshape", "Tensor.reshape*"),
    row("view", "Tensor.view", "Tensor.view*"),
    row("view_as", "Tensor.view_as"),
    tensor_and_package("permute", "Tensor.permute*"),
    tensor_and_package("transpose"),
    row("T", "attribute.T"),
    row("mT", "attribute.mT"),
    tensor_and_package("flatten"),
    tensor_and_package("squeeze"),
    tensor_and_package("squeeze:multiple"),
    tensor_and_package("unsqueeze"),
    row("expand", "Tensor.expand", "Tensor.expand*"),
    row("cat", "tg.cat"),
    row("stack", "tg.stack"),
    tensor_and_package("flip", "Tensor.flip*"),
    row("repeat", "Tensor.repeat", "Tensor.repeat*"),
    tensor_and_package("tile", "Tensor.tile*"),
    tensor_and_package("roll"),
    tensor_and_package("split"),
    tensor_and_package("split:list_args"),
    tensor_and_package("chunk"),
    tensor_and_package("unbind"),
    tensor_and_package("narrow"),
    tensor_and_package("tril"),
    tensor_and_package("triu"),
    tensor_and_package("outer"),
    row("einsum", einsum, einsum_of_list),
    functional("pad", variant="constant"),
    functional("pad", variant="reflect"),
    functional("pad", variant="replicate"),
    functional("pad", variant="replicate_negative"),
    functional("pad", variant="circular"),
    row("__getitem__", "operator.getitem"),
    tensor_and_package("gather"),
    tensor_and_package("scatter_add"),
    tensor_and_package("masked_fill"),
    tensor_and_package("clone"),
    row("contiguous", "Tensor.contiguous"),
    row("float", "Tensor.float"),
    row("double", "Tensor.double"),
    row("long", "Tensor.long"),
)

LAYERS = (
    tensor_and_package("matmul", "operator.matmul"),
    row("__rmatmul__", reflected("matmul")),
    functional("linear"),
    functional("conv2d", "tg.conv2d"),
    functional("conv1d", "tg.conv1d"),
    functional("conv_transpose2d", "tg.conv_transpose2d"),
    functional("max_pool2d"),
    functional("avg_pool2d"),
    functional("adaptive_avg_pool2d"),
    functional("adaptive_max_pool2d"),
    functional("max_pool1d"),
    functional("max_unpool2d"),
    functional("max_unpool2d", variant="grad"),
    functional("unfold"),
    functional("interpolate", variant="nearest"),
    functional("interpolate", variant="nearest-exact"),
    functional("interpolate", variant="linear"),
    functional("interpolate", variant="bilinear"),
    functional("interpolate", variant="trilinear"),
    functional("interpolate", variant="bicubic"),
    functional("interpolate", variant="area"),
    functional("batch_norm"),
    functional("layer_norm"),
    functional("group_norm"),
    functional("instance_norm"),
    functional("local_response_norm"),
    functional("normalize"),
    functional("dropout"),
    functional("dropout2d"),
    tensor_and_package("log_softmax", "F.log_softmax"),
    tensor_and_package("log_softmax:with_dtype"),
    tensor_and_package("softmax", "F.softmax"),
    tensor_and_package("softmax:with_dtype"),
    functional("softmin"),
    functional("softmin", variant="with_dtype"),
    functional("nll_loss"),
    functional("cross_entropy"),
    functional("mse_loss"),
    functional("l1_loss"),
    functional("smooth_l1_loss"),
    functional("huber_loss"),
    functional("binary_cross_entropy"),
    functional("binary_cross_entropy_with_logits"),
    functional("kl_div"),
    functional("one_hot"),
)

CREATION = (
    row("zeros", "tg.zeros", "tg.zeros*"),
    row("ones", "tg.ones", "tg.ones*"),
    row("full", "tg.full"),
    row("empty", "tg.empty", "tg.empty*", random=True),
    row("arange", "tg.arange"),
    row("linspace", "tg.linspace"),
    row("eye", "tg.eye"),
    row("randn", "tg.randn", "tg.randn*", random=True),
    row("randint", "tg.randint", random=True),
    row("zeros_like", "tg.zeros_like"),
    row("ones_like", "tg.ones_like"),
    row("full_like", "tg.full_like"),
    row("empty_like", "tg.empty_like", random=True),
    row("rand_like", "tg.rand_like", random=True),
    row("randn_like", "tg.randn_like", random=True),
)

OPERATIONS = ELEMENTWISE + REDUCTIONS + SHAPES + LAYERS + CREATION
