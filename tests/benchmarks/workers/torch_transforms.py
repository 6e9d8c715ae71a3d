"""The library's random transforms as one writes them for a batch in PyTorch: a draw for each picture, and no loops.

Each function makes a transform of images (N, C, H, W) and has the name and the arguments of the library's class.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Transform = Callable[[Tensor], Tensor]


def affine(images: Tensor, matrices: Tensor, mode: str) -> Tensor:
    """A grid, and the samples at its places."""
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode=mode, align_corners=False)


def RandomRotation(degrees: float, interpolation: str) -> Transform:
    """By an angle from -degrees to degrees."""

    def rotate(x: Tensor) -> Tensor:
        angles = (2 * torch.rand(len(x)) - 1) * math.radians(degrees)
        cos, sin, zeros = torch.cos(angles), torch.sin(angles), torch.zeros(len(x))
        matrices = torch.stack([cos, -sin, zeros, sin, cos, zeros], 1).view(-1, 2, 3)
        return affine(x, matrices, interpolation)

    return rotate


def ElasticTransform(alpha: float, sigma: float) -> Transform:
    """Displacements smoothed along one axis and then along the other."""
    radius = int(8 * sigma + 1) // 2
    window = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    window /= window.sum()

    def distort(x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        fields = F.pad(torch.rand(2 * n, 1, h, w) * 2 - 1, (radius,) * 4, mode="reflect")
        smooth = F.conv2d(F.conv2d(fields, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1)).view(n, 2, h, w)
        # Of half the picture, in which grids count, as is alpha.
        displacements = torch.stack([smooth[:, 0] * (alpha / w), smooth[:, 1] * (alpha / h)], -1)
        grid = F.affine_grid(torch.eye(2, 3).expand(n, 2, 3), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid + displacements, align_corners=False)

    return distort


def RandomCrop(padding: int) -> Transform:
    """Pieces of the pictures' own size."""

    def crop(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        padded = F.pad(x, (padding,) * 4)
        rows = torch.randint(2 * padding + 1, (n, 1, 1, 1)) + torch.arange(h).view(1, 1, h, 1)
        columns = torch.randint(2 * padding + 1, (n, 1, 1, 1)) + torch.arange(w).view(1, 1, 1, w)
        return padded[torch.arange(n).view(n, 1, 1, 1), torch.arange(c).view(1, c, 1, 1), rows, columns]

    return crop


def RandomHorizontalFlip() -> Transform:
    """Every second picture, at random."""
    return lambda x: torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)


def RandomErasing() -> Transform:
    """One attempt for each picture."""

    def erase(x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        area = h * w * (0.02 + 0.31 * torch.rand(n))
        ratio = torch.exp(math.log(0.3) + math.log(3.3 / 0.3) * torch.rand(n))
        height, width = torch.round(torch.sqrt(area * ratio)), torch.round(torch.sqrt(area / ratio))
        happens = (torch.rand(n) < 0.5) & (height < h) & (width < w)
        top = torch.floor(torch.rand(n) * (h - height + 1)).view(n, 1)
        left = torch.floor(torch.rand(n) * (w - width + 1)).view(n, 1)
        rows, columns = torch.arange(h), torch.arange(w)
        inside_rows = (top <= rows) & (rows < top + (height * happens).view(n, 1))
        inside_columns = (left <= columns) & (columns < left + width.view(n, 1))
        return torch.where((inside_rows[:, :, None] & inside_columns[:, None, :])[:, None], 0.0, x)

    return erase


def Normalize(mean: float, std: float) -> Transform:
    """With numbers for each channel."""

    def normalize(x: Tensor) -> Tensor:
        means, deviations = (torch.full((x.shape[1], 1, 1), value) for value in (mean, std))
        return (x - means) / deviations

    return normalize
