"""What is measured: one task for each row of the table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

WHAT = ("train", "inference", "operations", "overhead", "augmentation", "memory", "import")


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes
    ----------
    name : str
        What the reader sees.
    task : dict
        What a worker is asked to do.
    unit : str
        "s" or "B".
    calls : int
        By how many the time is divided: images of a batch, operations of a chain.
    """

    name: str
    task: dict[str, Any]
    unit: str = "s"
    calls: int = 1


def _operation(
    name: str,
    function: str,
    *shapes: tuple[int, ...],
    draw: str = "numbers",
    constants: dict[str, str] | None = None,
    **arguments: Any,
) -> Row:
    """A row for a function of arrays of these shapes, and of constants that are named.

    Both are random, and `draw` and the values of `constants` say which numbers: keys of `DRAWS` in `workers.serve`.
    Constants have the shape of the first array.
    """
    task = {
        "what": "operation",
        "function": function,
        "shapes": shapes,
        "draw": draw,
        "constants": constants or {},
        "arguments": arguments,
    }
    return Row(f"{name}, forward and backward", task)


OPERATIONS = (
    _operation("conv2d 5×5, 1→20, 64×28×28", "conv2d", (64, 1, 28, 28), (20, 1, 5, 5)),
    _operation("conv2d 3×3, 20→50, 64×12×12", "conv2d", (64, 20, 12, 12), (50, 20, 3, 3)),
    _operation("conv2d 1×1, 64→64, 64×14×14", "conv2d", (64, 64, 14, 14), (64, 64, 1, 1)),
    _operation("conv2d 3×3 stride 2, 64→64, 64×15×15", "conv2d", (64, 64, 15, 15), (64, 64, 3, 3), stride=2, padding=1),
    _operation(
        "conv2d 3×3 dilation 2, 64→64, 64×14×14", "conv2d", (64, 64, 14, 14), (64, 64, 3, 3), dilation=2, padding=2
    ),
    _operation("conv2d 3×3 depthwise, 64, 64×14×14", "conv2d", (64, 64, 14, 14), (64, 1, 3, 3), groups=64, padding=1),
    _operation(
        "conv_transpose2d 2×2 stride 2, 64→32, 64×14×14", "conv_transpose2d", (64, 64, 14, 14), (64, 32, 2, 2), stride=2
    ),
    _operation("conv1d 3, 64→64, 32×128", "conv1d", (32, 64, 128), (64, 64, 3), padding=1),
    _operation("max_pool2d 2, 64×64×24×24", "max_pool2d", (64, 64, 24, 24), kernel_size=2),
    _operation("max_pool2d 3 stride 2, 64×64×25×25", "max_pool2d", (64, 64, 25, 25), kernel_size=3, stride=2),
    _operation("avg_pool2d 2, 64×64×24×24", "avg_pool2d", (64, 64, 24, 24), kernel_size=2),
    _operation("lp_pool2d 2 of 2, 64×64×24×24", "lp_pool2d", (64, 64, 24, 24), norm_type=2, kernel_size=2),
    _operation("adaptive_max_pool2d to 6×6, 64×64×13×13", "adaptive_max_pool2d", (64, 64, 13, 13), output_size=6),
    _operation("max_pool2d and max_unpool2d 2, 64×32×24×24", "max_unpool2d", (64, 32, 24, 24), kernel_size=2),
    _operation("unfold 3×3, 64×16×28×28", "unfold", (64, 16, 28, 28), kernel_size=3, padding=1),
    _operation("fold 3×3, 64×16×28×28", "fold", (64, 144, 784), output_size=28, kernel_size=3, padding=1),
    _operation("interpolate nearest ×2, 64×32×14×14", "interpolate", (64, 32, 14, 14), scale_factor=2),
    _operation(
        "interpolate bilinear ×2, 64×32×14×14", "interpolate", (64, 32, 14, 14), scale_factor=2, mode="bilinear"
    ),
    _operation("batch_norm, 64×32×24×24", "batch_norm", (64, 32, 24, 24), (32,), (32,)),
    _operation("instance_norm, 64×32×24×24", "instance_norm", (64, 32, 24, 24)),
    _operation("group_norm 8, 64×32×24×24", "group_norm", (64, 32, 24, 24), num_groups=8),
    _operation("layer_norm 256, 64×128×256", "layer_norm", (64, 128, 256), normalized_shape=(256,)),
    _operation("local_response_norm 5, 32×96×27×27", "local_response_norm", (32, 96, 27, 27), size=5),
    _operation("normalize, 256×1000", "normalize", (256, 1000)),
    _operation("relu, 64×32×24×24", "relu", (64, 32, 24, 24)),
    _operation("leaky_relu, 64×32×24×24", "leaky_relu", (64, 32, 24, 24)),
    _operation("gelu, 64×32×24×24", "gelu", (64, 32, 24, 24)),
    _operation("silu, 64×32×24×24", "silu", (64, 32, 24, 24)),
    _operation("sigmoid, 64×32×24×24", "sigmoid", (64, 32, 24, 24)),
    _operation("hardswish, 64×32×24×24", "hardswish", (64, 32, 24, 24)),
    _operation("erf, 64×32×24×24", "erf", (64, 32, 24, 24)),
    _operation("linear 1250→128, batch 256", "linear", (256, 1250), (128, 1250), (128,)),
    _operation("matmul 512×512", "matmul", (512, 512), (512, 512)),
    _operation("add with broadcasting, 1024×1024 + 1024", "add", (1024, 1024), (1024,)),
    _operation("pow 3, 1024×1024", "pow", (1024, 1024), exponent=3),
    _operation("exp, 1024×1024", "exp", (1024, 1024)),
    _operation("einsum bhqd,bhkd→bhqk, 8×8×128×64", "einsum", *((8, 8, 128, 64),) * 2, equation="bhqd,bhkd->bhqk"),
    _operation("prod, 1024×1024", "prod", (1024, 1024), dim=1),
    _operation("cumsum, 1024×1024", "cumsum", (1024, 1024), dim=1),
    _operation("norm, 1024×1024", "norm", (1024, 1024), dim=1),
    _operation("sort, 1024×1024", "sort", (1024, 1024)),
    _operation("topk 10, 256×1000", "topk", (256, 1000), k=10),
    _operation("pad reflect 3, 64×16×32×32", "pad", (64, 16, 32, 32), pad=(3, 3, 3, 3), mode="reflect"),
    _operation("cross_entropy, 64×10", "cross_entropy", (64, 10), constants={"target": "classes"}),
    _operation("cross_entropy, 256×1000", "cross_entropy", (256, 1000), constants={"target": "classes"}),
    _operation("huber_loss of each, 256×1000", "huber_loss", (256, 1000), (256, 1000), reduction="none"),
    _operation("huber_loss, 256×1000", "huber_loss", (256, 1000), (256, 1000)),
    _operation(
        "binary_cross_entropy_with_logits, 256×1000", "binary_cross_entropy_with_logits", (256, 1000), (256, 1000)
    ),
)

MAPS, MATRIX, SCORES = (64, 32, 24, 24), (1024, 1024), (256, 1000)
TO_NUMBERS, TO_FRACTIONS = {"target": "numbers"}, {"target": "fractions"}

# With those above, every elementwise function that is differentiable, every activation function and every loss.
ELEMENTWISE = (
    *(_operation(f"{name}, 1024×1024", name, MATRIX) for name in ("neg", "abs", "sin", "cos", "square", "expm1")),
    *(
        _operation(f"{name}, 1024×1024", name, MATRIX, draw="fractions")
        for name in ("sqrt", "rsqrt", "reciprocal", "log", "log1p")
    ),
    _operation("clamp, 1024×1024", "clamp", MATRIX, min=-1.0, max=1.0),
    _operation("pow 2, 1024×1024", "pow", MATRIX, exponent=2),
    _operation("pow 2.5, 1024×1024", "pow", MATRIX, draw="fractions", exponent=2.5),
    *(
        _operation(f"{name}, 1024×1024 and as many", name, MATRIX, MATRIX)
        for name in ("add", "sub", "mul", "div", "maximum", "minimum")
    ),
    _operation("pow, 1024×1024 and as many", "pow", MATRIX, MATRIX, draw="fractions"),
    _operation("where, 1024×1024", "where", MATRIX, MATRIX, constants={"condition": "booleans"}),
    *(
        _operation(f"{name}, 64×32×24×24", name, MAPS)
        for name in (
            "relu6",
            "elu",
            "selu",
            "mish",
            "softplus",
            "logsigmoid",
            "tanh",
            "hardtanh",
            "hardsigmoid",
            "dropout",
        )
    ),
    _operation("dropout2d 0.1, 512×64×8×8", "dropout2d", (512, 64, 8, 8), p=0.1),  # many channels: alike by chance
    _operation("gelu, tanh, 64×32×24×24", "gelu", MAPS, approximate="tanh"),
    _operation("prelu, 64×32×24×24", "prelu", MAPS, (32,)),
    *(_operation(f"{name}, 256×1000", name, SCORES, dim=1) for name in ("softmax", "softmin", "log_softmax")),
    _operation("cross_entropy from distributions, 256×1000", "cross_entropy", SCORES, constants=TO_FRACTIONS),
    _operation(
        "cross_entropy smoothed, 256×1000",
        "cross_entropy",
        SCORES,
        constants={"target": "classes"},
        label_smoothing=0.1,
    ),
    _operation("nll_loss, 256×1000", "nll_loss", SCORES, constants={"target": "classes"}),
    *(
        _operation(f"{name} from constants, 256×1000", name, SCORES, constants=TO_NUMBERS)
        for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
    ),
    _operation("kl_div from constants, 256×1000", "kl_div", SCORES, constants=TO_FRACTIONS, reduction="batchmean"),
    _operation(
        "binary_cross_entropy from constants, 256×1000",
        "binary_cross_entropy",
        SCORES,
        draw="fractions",
        constants=TO_FRACTIONS,
    ),
    _operation(
        "binary_cross_entropy_with_logits from constants, 256×1000",
        "binary_cross_entropy_with_logits",
        SCORES,
        constants=TO_FRACTIONS,
    ),
)

REPEATS = 1000
OVERHEAD = (
    Row("x * x, 10 elements, forward, recorded", {"what": "overhead", "kind": "forward mul"}, calls=REPEATS),
    Row("relu(x), 10 elements, forward, recorded", {"what": "overhead", "kind": "forward relu"}, calls=REPEATS),
    Row("chain of 1,000 y * x, forward and backward", {"what": "overhead", "kind": "chain mul"}, calls=REPEATS),
    Row("chain of 1,000 tanh(y), forward and backward", {"what": "overhead", "kind": "chain tanh"}, calls=REPEATS),
)


def _affine(name: str, shape: tuple[int, ...], mode: str) -> Row:
    return Row(f"affine maps, {mode}, {name}", {"what": "augmentation", "shape": shape, "mode": mode})


AUGMENTATION = (
    _affine("10,000×1×28×28", (10_000, 1, 28, 28), "bilinear"),
    _affine("10,000×1×28×28", (10_000, 1, 28, 28), "nearest"),
    _affine("256×3×32×32", (256, 3, 32, 32), "bilinear"),
)


def rows_of(what: list[str], models: list[str], batches: list[int] | None) -> Iterator[Row]:
    """The rows for the options of the command line; `batches` of None are the usual ones of each kind of row."""
    for kind in what:
        if kind in ("train", "inference"):
            title = "training step" if kind == "train" else "inference"
            for model in models:
                for batch in batches or ((64, 256) if kind == "train" else (1, 64, 256)):
                    task = {"what": kind, "model": model, "batch": batch}
                    yield Row(f"{title}, {model}, batch {batch}, per image", task, calls=batch)
        elif kind == "operations":
            yield from OPERATIONS + ELEMENTWISE
        elif kind == "overhead":
            yield from OVERHEAD
        elif kind == "augmentation":
            yield from AUGMENTATION
        elif kind == "memory":
            for model in models:
                for batch in batches or (256,):
                    task = {"what": "memory", "model": model, "batch": batch}
                    yield Row(f"peak memory of training, {model}, batch {batch}", task, unit="B")
        elif kind == "import":
            yield Row("import", {"what": "import"})
