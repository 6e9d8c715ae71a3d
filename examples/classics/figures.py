"""Figures for lectures: curves, images with predictions, filters, feature maps, confusion, the worst mistakes.

Each function returns a figure of matplotlib (extra ``plot``), and `save` writes them. Lines differ in colour and in
dashes, in Okabe and Ito's palette, which colour-blind people can tell apart; signed values go from purple to orange.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import common
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn
from tinygrad_cnn.metrics import confusion_matrix

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]
DASHES = ["-", "--", "-.", ":"]
WRONG = "#D55E00"
STYLE = {
    "font.size": 14,
    "axes.titlesize": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "lines.linewidth": 2.2,
    "legend.frameon": False,
    "image.cmap": "gray_r",
    "image.interpolation": "nearest",
    "figure.constrained_layout.w_pad": 0.12,  # inches
    "figure.constrained_layout.h_pad": 0.1,
}


def save(folder: str | Path, album: Mapping[str, Figure]) -> None:
    """Write each figure as ``folder/name.png``."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    for name, figure in album.items():
        with mpl.rc_context(STYLE):
            figure.savefig(path / f"{name}.png", dpi=80)
    print(f"drew {', '.join(album)} into {path}")


# --------------------------------------------------------------------------------------------------- curves


def curves(run: common.Run, title: str, rivals: Mapping[str, common.Run] | None = None) -> Figure:
    """Two panels: the loss of the batches, smoothed, and the accuracy after each epoch.

    `rivals` are other runs on the same data, of which the accuracy is shown.
    """
    with mpl.rc_context(STYLE):
        figure, (left, right) = _panels(1, 2, (11, 4.4), title)
        batches = len(run.steps) / len(run.loss)
        window = max(1, min(500, round(batches / 10)))
        smooth = _smooth(run.steps, window)
        left.plot((np.arange(len(smooth)) + window) / batches, smooth, color=COLOURS[0])
        left.set_title("loss of each batch" if window == 1 else f"loss, mean of {window} batches in a row")
        _loss_axis(left, "epochs")
        epochs = np.arange(1, len(run.loss) + 1)
        lines = [("training images, while it learns", run.train_accuracy), ("test images", run.test_accuracy)]
        lines += [(f"test images, {name}", rival.test_accuracy) for name, rival in (rivals or {}).items()]
        for (label, values), colour, dash in zip(lines, COLOURS, DASHES, strict=False):
            right.plot(epochs, 100 * np.array(values), dash, marker="o", color=colour, label=label)
        right.set(xlabel="epochs", ylabel="accuracy (%)", title="accuracy")
        right.set_xticks(epochs[:: math.ceil(len(epochs) / 10)])
        right.legend()
    return figure


def race(losses: Mapping[str, Sequence[float]], title: str) -> Figure:
    """The losses of several optimizers, step by step, each smoothed with a running mean."""
    with mpl.rc_context(STYLE):
        figure, (axes,) = _panels(1, 1, (9, 5), title)
        for (name, values), colour, dash in zip(losses.items(), COLOURS, DASHES, strict=True):
            window = max(1, len(values) // 30)
            smooth = _smooth(values, window)
            axes.plot(np.arange(len(smooth)) + window, smooth, dash, color=colour, label=name)
        _loss_axis(axes, "steps (batches)")
        axes.legend()
    return figure


def _loss_axis(axes: Axes, unit: str) -> None:
    """A logarithmic axis with plain numbers on it."""
    axes.set(xlabel=unit, ylabel="cross-entropy (nats)", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _smooth(values: Sequence[float], window: int) -> np.ndarray:
    """The mean of each `window` values in a row."""
    sums = np.cumsum(np.concatenate([[0.0], np.asarray(values, float)]))
    return (sums[window:] - sums[:-window]) / window


# --------------------------------------------------------------------------------------------------- images


def grid(images: Sequence[Any], captions: Sequence[str], title: str, wrong: Sequence[bool] = ()) -> Figure:
    """Images (H, W), eight in a row, each with a caption; those that are `wrong` in another colour and in bold."""
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    gap = 1 + 5 * lines  # pixels above each image, for the caption
    picture, corners = _mosaic(np.stack(images), 8, (gap, 4))
    rows, columns = picture.shape
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure, (axes,) = _panels(1, 1, (12, 12 * rows / columns + 0.7), title)
        axes.imshow(picture, vmin=min(map(np.min, images)), vmax=max(map(np.max, images)))
        for number, ((top, left), caption) in enumerate(zip(corners, captions, strict=True)):
            style = {"color": WRONG, "weight": "bold"} if number < len(wrong) and wrong[number] else {}
            middle = left + images[number].shape[1] / 2 - 0.5
            axes.text(middle, top - 1, caption, ha="center", va="bottom", fontsize=12, **style)
        axes.set_axis_off()
    return figure


def predictions(answers: np.ndarray, data: common.Data, title: str, count: int = 24) -> Figure:
    """The first test images with what the model, whose logits are `answers` (N, classes), calls them."""
    images, labels = common.whole(common.first(data.test, count))
    chosen, labels = answers[: len(labels)].argmax(axis=1), labels.numpy()
    captions = [
        data.classes[got] if got == label else f"{data.classes[got]}\nnot {data.classes[label]}"
        for got, label in zip(chosen, labels, strict=True)
    ]
    return grid(images.numpy()[:, 0], captions, title, list(chosen != labels))


def filters(weight: tg.Tensor, title: str) -> Figure:
    """The kernels of a convolution (O, 1, kH, kW): negative weights purple, zero white, positive orange."""
    return _signed_maps({"": weight.detach().numpy()[:, 0]}, title, "weight")


def feature_maps(model: nn.Module, layers: Mapping[str, nn.Module], image: tg.Tensor, title: str) -> Figure:
    """What comes out of some layers of the model when an image (1, H, W) goes in: every map of each, and the image.

    Hooks on the layers catch their outputs on the way.
    """
    caught = {"the image": image.numpy()}

    def catch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: tg.Tensor) -> None:
            caught[name] = output.detach().numpy()[0]

        return hook

    handles = [layer.register_forward_hook(catch(name)) for name, layer in layers.items()]
    common.logits(model, [(image, 0)])
    for handle in handles:
        handle.remove()
    return _signed_maps(caught, title, "value")


def _signed_maps(groups: Mapping[str, np.ndarray], title: str, unit: str) -> Figure:
    """Groups of maps (N, H, W), ten in a row, each group with a scale of its own: purple is below zero."""
    pictures = {name: _mosaic(maps, 10, (maps.shape[1] // 9 + 1,) * 2)[0] for name, maps in groups.items()}
    heights = [max(len(picture) / picture.shape[1], 0.1) for picture in pictures.values()]
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        size = 10 * sum(heights) + 0.5 * len(heights) + 0.5
        figure, panels = _panels(len(heights), 1, (11, size), title, height_ratios=heights)
        for axes, (name, picture) in zip(panels, pictures.items(), strict=True):
            maps, largest = groups[name], abs(groups[name]).max()
            shown = axes.imshow(picture, cmap="PuOr_r", vmin=-largest, vmax=largest)
            if name:
                height, width = maps.shape[1:]
                number = f"{len(maps)} maps of " if len(maps) > 1 else ""
                axes.set_title(f"{name}: {number}{height}\u00d7{width} pixels", loc="left")
            axes.set_axis_off()
            axes.set_anchor("W")
            figure.colorbar(shown, ax=axes, label=unit, pad=0.01)
    return figure


def _mosaic(tiles: np.ndarray, columns: int, gap: tuple[int, int]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Tiles (N, H, W) side by side, with a gap above and left of each; and where their upper left corners are."""
    count, height, width = tiles.shape
    rows, down, right = math.ceil(count / columns), height + gap[0], width + gap[1]
    corners = [(i // columns * down + gap[0], i % columns * right + gap[1]) for i in range(count)]
    picture = np.full((rows * down, columns * right), np.nan)
    for (top, left), tile in zip(corners, tiles, strict=True):
        picture[top : top + height, left : left + width] = tile
    return picture, corners


def table(inputs: Sequence[Sequence[int]], title: str, of_input: str, of_output: str) -> Figure:
    """Which inputs (rows) each output (column) is connected to."""
    connected = np.array([[row in column for column in inputs] for row in range(max(map(max, inputs)) + 1)])
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure, (axes,) = _panels(1, 1, (0.55 * len(inputs) + 1, 0.55 * len(connected) + 1.6), title)
        axes.imshow(connected, cmap="Blues", vmax=1.4)
        axes.set_xticks(range(len(inputs)))
        axes.set_yticks(range(len(connected)))
        axes.set_xticks(np.arange(len(inputs) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(connected) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.tick_params(which="minor", length=0)
        axes.set(xlabel=of_output, ylabel=of_input)
    return figure


# ------------------------------------------------------------------------------------------------- mistakes


def mistakes(answers: np.ndarray, data: common.Data) -> dict[str, Figure]:
    """The confusion matrix, and the worst mistakes if any, of a model with the logits `answers` for the test images."""
    labels = common.labels_of(data.test)
    chosen = answers.argmax(axis=1)
    album = {"confusion": confusion(confusion_matrix(chosen, labels, len(data.classes)).numpy(), data.classes)}
    return album | ({"worst": worst(answers, labels, data)} if (chosen != labels).any() else {})


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """The confusion matrix with its numbers; the shade is the share of the true class, mistakes made visible."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure, (axes,) = _panels(1, 1, (9.5, 7.8), f"{np.trace(matrix)} of {matrix.sum()} test images right")
        picture = axes.imshow(100 * share, cmap="Blues", norm=PowerNorm(0.35, 0, 100))
        for (i, j), number in np.ndenumerate(matrix):
            if number:
                axes.text(
                    j, i, number, ha="center", va="center", fontsize=12, color="white" if share[i, j] > 0.3 else "black"
                )
        axes.set_xticks(range(len(classes)), classes, rotation=45 if max(map(len, classes)) > 2 else 0)
        axes.set_yticks(range(len(classes)), classes)
        axes.set(xlabel="predicted class", ylabel="true class")
        figure.colorbar(picture, label="share of the true class (%)", ticks=[0, 1, 5, 20, 50, 100])
    return figure


def worst(answers: np.ndarray, labels: np.ndarray, data: common.Data, count: int = 24) -> Figure:
    """The images with the largest loss: what they are, and what the model was so sure they were."""
    chances = F.softmax(tg.tensor(answers), dim=1).numpy()
    order = np.argsort(chances[np.arange(len(labels)), labels])
    order = order[answers[order].argmax(axis=1) != labels[order]][:count]
    captions = [
        f"{data.classes[labels[i]]}\n{data.classes[chances[i].argmax()]}? {chances[i].max():.0%}" for i in order
    ]
    images = [data.test[int(i)][0].numpy()[0] for i in order]
    return grid(
        images, captions, "The worst mistakes: the true class, and below it what the model saw, and how sure it was"
    )


# ---------------------------------------------------------------------------------------------------- panels


def _panels(
    rows: int, columns: int, size: tuple[float, float], title: str, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of `size` inches with a title and a grid of axes."""
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=16)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).flat)
