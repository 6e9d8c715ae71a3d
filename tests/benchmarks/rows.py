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
    tolerance : float
        How far apart, relatively, the results of two libraries may be: by default what rounding and the order of sums
        make of them; more where each draws at random, and they agree on average only.
    """

    name: str
    task: dict[str, Any]
    unit: str = "s"
    calls: int = 1
    tolerance: float = 0.01


def _drawn(below: int, *shape: int) -> dict[str, Any]:
    """An argument that is an array of whole numbers from 0 on, or, for 2, of booleans: a worker draws it."""
    return {"below": below, "shape": shape}


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
    Constants have the shape of the first array. Others, places and masks, are `arguments` that are `_drawn`.
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


SPATIAL = (
    _operation("conv2d 5×5, 1→20, 64×28×28", "conv2d", (64, 1, 28, 28), (20, 1, 5, 5)),
    _operation("conv2d 3×3, 20→50, 64×12×12", "conv2d", (64, 20, 12, 12), (50, 20, 3, 3)),
    _operation("conv2d 5×5, 16→32, 64×14×14", "conv2d", (64, 16, 14, 14), (32, 16, 5, 5), padding=2),
    _operation("conv2d 1×1, 64→64, 64×14×14", "conv2d", (64, 64, 14, 14), (64, 64, 1, 1)),
    _operation("conv2d 3×3 stride 2, 64→64, 64×15×15", "conv2d", (64, 64, 15, 15), (64, 64, 3, 3), stride=2, padding=1),
    _operation(
        "conv2d 3×3 dilation 2, 64→64, 64×14×14", "conv2d", (64, 64, 14, 14), (64, 64, 3, 3), dilation=2, padding=2
    ),
    _operation(
        "conv2d 5×5, 2 groups, 96→256, 4×27×27", "conv2d", (4, 96, 27, 27), (256, 48, 5, 5), groups=2, padding=2
    ),
    _operation(
        "conv2d 3×3, 32 groups, 128→128, 16×28×28", "conv2d", (16, 128, 28, 28), (128, 4, 3, 3), groups=32, padding=1
    ),
    _operation(
        "conv2d 3×3, 32 groups, 256→256, 16×14×14", "conv2d", (16, 256, 14, 14), (256, 8, 3, 3), groups=32, padding=1
    ),
    _operation("conv2d 3×3 depthwise, 64, 64×14×14", "conv2d", (64, 64, 14, 14), (64, 1, 3, 3), groups=64, padding=1),
    _operation(
        "conv2d 3×3 depthwise stride 2, 96, 16×28×28",
        "conv2d", (16, 96, 28, 28), (96, 1, 3, 3), stride=2, groups=96, padding=1,
    ),
    _operation(
        "conv_transpose2d 2×2 stride 2, 64→32, 64×14×14", "conv_transpose2d", (64, 64, 14, 14), (64, 32, 2, 2), stride=2
    ),
    _operation(
        "conv_transpose2d 4×4 stride 2, 64→32, 64×7×7",
        "conv_transpose2d", (64, 64, 7, 7), (64, 32, 4, 4), stride=2, padding=1,
    ),
    _operation("conv1d 3, 64→64, 32×128", "conv1d", (32, 64, 128), (64, 64, 3), padding=1),
    _operation("max_pool1d 2, 32×64×128", "max_pool1d", (32, 64, 128), kernel_size=2),
    _operation("max_pool2d 2, 64×64×24×24", "max_pool2d", (64, 64, 24, 24), kernel_size=2),
    _operation("max_pool2d 3 stride 2, 64×64×25×25", "max_pool2d", (64, 64, 25, 25), kernel_size=3, stride=2),
    _operation(
        "max_pool2d 2 with indices, 64×32×24×24", "max_pool2d", (64, 32, 24, 24), kernel_size=2, return_indices=True
    ),
    _operation("max_pool2d and max_unpool2d 2, 64×32×24×24", "max_unpool2d", (64, 32, 24, 24), kernel_size=2),
    _operation("avg_pool2d 2, 64×64×24×24", "avg_pool2d", (64, 64, 24, 24), kernel_size=2),
    _operation("avg_pool2d 3 stride 2, 64×64×25×25", "avg_pool2d", (64, 64, 25, 25), kernel_size=3, stride=2),
    _operation("lp_pool2d 2 of 2, 64×64×24×24", "lp_pool2d", (64, 64, 24, 24), norm_type=2, kernel_size=2),
    _operation("adaptive_avg_pool2d to 1×1, 64×256×7×7", "adaptive_avg_pool2d", (64, 256, 7, 7), output_size=1),
    _operation("adaptive_avg_pool2d to 6×6, 64×64×13×13", "adaptive_avg_pool2d", (64, 64, 13, 13), output_size=6),
    _operation("adaptive_max_pool2d to 1×1, 64×256×7×7", "adaptive_max_pool2d", (64, 256, 7, 7), output_size=1),
    _operation("adaptive_max_pool2d to 6×6, 64×64×13×13", "adaptive_max_pool2d", (64, 64, 13, 13), output_size=6),
    _operation("unfold 3×3, 64×16×28×28", "unfold", (64, 16, 28, 28), kernel_size=3, padding=1),
    _operation("fold 3×3, 64×16×28×28", "fold", (64, 144, 784), output_size=28, kernel_size=3, padding=1),
    *(
        _operation(f"pad {mode} 3, 64×16×32×32", "pad", (64, 16, 32, 32), pad=(3, 3, 3, 3), mode=mode)
        for mode in ("constant", "reflect", "replicate", "circular")
    ),
    *(
        _operation(
            f"interpolate {mode} ×{factor}, 64×32×{size}×{size}",
            "interpolate", (64, 32, size, size), scale_factor=factor, mode=mode,
        )
        for mode in ("nearest", "bilinear", "bicubic")
        for factor, size in ((2, 14), (0.5, 28))
    ),
    _operation("interpolate area ×0.5, 64×32×28×28", "interpolate", (64, 32, 28, 28), scale_factor=0.5, mode="area"),
    _operation("interpolate linear ×2, 32×64×128", "interpolate", (32, 64, 128), scale_factor=2, mode="linear"),
)  # fmt: skip

OPERATIONS = (
    *SPATIAL,
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

NORMS_AND_REDUCTIONS = (
    _operation("batch_norm in evaluation, 64×32×24×24", "batch_norm in evaluation", MAPS, (32,), (32,)),
    _operation("layer_norm 128, 64×128", "layer_norm", (64, 128), (128,), (128,), normalized_shape=(128,)),
    _operation("layer_norm 512, 256×512", "layer_norm", (256, 512), (512,), (512,), normalized_shape=(512,)),
    _operation("layer_norm 32×24×24, 64×32×24×24", "layer_norm", MAPS, normalized_shape=MAPS[1:]),
    _operation("sum of all, 1024×1024", "sum", MATRIX),
    _operation("sum of rows, 1024×1024", "sum", MATRIX, dim=1),
    _operation("mean of channels, 64×32×24×24", "mean", MAPS, dim=(2, 3)),
    _operation("var of rows, 1024×1024", "var", MATRIX, dim=1),
    _operation("std of channels, 64×32×24×24", "std", MAPS, dim=(2, 3)),
    _operation("amax of rows, 1024×1024", "amax", MATRIX, dim=1),
    _operation("max with its places, 1024×1024", "max", MATRIX, dim=1),
    _operation("logsumexp, 256×1000", "logsumexp", SCORES, dim=1),
    _operation("prod of columns, 1024×1024", "prod", MATRIX, dim=0),
    _operation("prod, 256×64", "prod", (256, 64), dim=1),
    _operation("norm, 256×128", "norm", (256, 128), dim=1),
    _operation("norm of all, 256×1000", "norm", SCORES),
    _operation("sort descending, 256×1000", "sort", SCORES, descending=True),
)

SHAPES_AND_PLACES = (
    _operation("gather, 256×1000", "gather", SCORES, dim=1, index=_drawn(1000, *SCORES)),
    _operation("gather one of each row, 256×1000", "gather", SCORES, dim=1, index=_drawn(1000, 256, 1)),
    _operation("scatter_add, 256×1000", "scatter_add", SCORES, SCORES, dim=1, index=_drawn(1000, *SCORES)),
    _operation("masked_fill, 8×8×128×128", "masked_fill", (8, 8, 128, 128), mask=_drawn(2, 128, 128), value=-1e9),
    _operation("x[index], rows of 10000×64 at 64×32", "getitem", (10_000, 64), index=_drawn(10_000, 64, 32)),
    _operation("x[mask], 256×1000", "getitem", SCORES, index=_drawn(2, *SCORES)),
    _operation("x[::2, 1:], 1024×1024", "slice", MATRIX),
    _operation("cat along rows, 256×1000", "cat", SCORES, SCORES, dim=1),
    _operation("cat along channels, 64×32×24×24", "cat", MAPS, MAPS, dim=1),
    _operation("stack, 32 of 3×32×32", "stack", *((3, 32, 32),) * 32),
    _operation("split in 4, 1024×1024", "split", MATRIX, split_size_or_sections=256, dim=1),
    _operation("chunk in 2, 64×32×24×24", "chunk", MAPS, chunks=2, dim=1),
    _operation("unbind, 32×128×64", "unbind", (32, 128, 64)),
    _operation("tile 2×2, 256×1000", "tile", SCORES, dims=(2, 2)),
    _operation("repeat 4 times, 256×1000", "repeat", SCORES, repeats=(4, 1)),
    _operation("expand to 64×32×24×24", "expand", (1, 32, 1, 1), size=MAPS),
    _operation("roll, 64×32×24×24", "roll", MAPS, shifts=(1, 2), dims=(2, 3)),
    _operation("flip, 64×32×24×24", "flip", MAPS, dims=(3,)),
    _operation("tril, 1024×1024", "tril", MATRIX),
    _operation("triu, 64×128×128", "triu", (64, 128, 128), diagonal=1),
    _operation("transposed copy, 1024×1024", "permuted copy", MATRIX, dims=(1, 0)),
    _operation("permuted copy, 8×128×8×64", "permuted copy", (8, 128, 8, 64), dims=(0, 2, 1, 3)),
    _operation("flatten, 64×50×5×5", "flatten", (64, 50, 5, 5), start_dim=1),
)

PRODUCTS = (
    _operation("outer, 1000 and 1000", "outer", (1000,), (1000,)),
    _operation("matmul of a vector, 1000×1000", "matmul", (1000, 1000), (1000,)),
    _operation("matmul of vectors, 100000", "matmul", (100_000,), (100_000,)),
    _operation("matmul 64×64", "matmul", (64, 64), (64, 64)),
    _operation("matmul of a batch, 64×64×64", "matmul", (64, 64, 64), (64, 64, 64)),
    _operation("matmul of a batch and one, 64×128×64 and 64×64", "matmul", (64, 128, 64), (64, 64)),
    _operation("linear 784→128, batch 64", "linear", (64, 784), (128, 784), (128,)),
    _operation("linear 256→256, 8×128×256", "linear", (8, 128, 256), (256, 256), (256,)),
    _operation(
        "einsum bhqk,bhkd→bhqd, 8×8×128×64", "einsum", (8, 8, 128, 128), (8, 8, 128, 64), equation="bhqk,bhkd->bhqd"
    ),
)

REPEATS = 1000
OVERHEAD = (
    Row("x * x, 10 elements, forward, recorded", {"what": "overhead", "kind": "forward mul"}, calls=REPEATS),
    Row("relu(x), 10 elements, forward, recorded", {"what": "overhead", "kind": "forward relu"}, calls=REPEATS),
    Row("chain of 1,000 y * x, forward and backward", {"what": "overhead", "kind": "chain mul"}, calls=REPEATS),
    Row("chain of 1,000 tanh(y), forward and backward", {"what": "overhead", "kind": "chain tanh"}, calls=REPEATS),
)


PICTURES = {"10,000×1×28×28": (10_000, 1, 28, 28), "256×3×32×32": (256, 3, 32, 32)}


def _affine(mode: str) -> list[Row]:
    return [
        Row(f"affine maps, {mode}, {name}", {"what": "affine", "shape": shape, "mode": mode})
        for name, shape in PICTURES.items()
    ]


def _transform(name: str, transform: str, **arguments: Any) -> list[Row]:
    task = {"what": "transform", "transform": transform, "arguments": arguments}
    return [Row(f"{name}, {size}", {**task, "shape": shape}, tolerance=0.05) for size, shape in PICTURES.items()]


AUGMENTATION = (
    *_affine("bilinear"),
    *_affine("nearest"),
    *_transform("random rotation, bilinear", "RandomRotation", degrees=15, interpolation="bilinear"),
    *_transform("random elastic distortion", "ElasticTransform", alpha=68, sigma=4),
    *_transform("random crop with padding 4", "RandomCrop", padding=4),
    *_transform("random horizontal flip", "RandomHorizontalFlip"),
    *_transform("random erasing", "RandomErasing"),
    *_transform("normalize", "Normalize", mean=0.5, std=0.25),
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
            yield from OPERATIONS + ELEMENTWISE + NORMS_AND_REDUCTIONS + SHAPES_AND_PLACES + PRODUCTS
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
