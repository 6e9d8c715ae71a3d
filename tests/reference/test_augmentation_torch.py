"""Resampling, compared with PyTorch's `grid_sample`."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_cnn.kernels import resample

torch = pytest.importorskip("torch")
F = torch.nn.functional


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (4, 3, 7, 12), (3, 2, 1, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_affine_maps_are_those_of_grid_sample(mode, shape, dtype):
    generator = np.random.default_rng(0)
    count, _, height, width = shape
    images = generator.random(shape).astype(dtype)
    matrices = np.eye(2, 3) + generator.normal(0, 0.4, (count, 2, 3))
    # PyTorch counts from the centre, in halves of the image.
    to_pixels = np.array([[width / 2, 0, (width - 1) / 2], [0, height / 2, (height - 1) / 2], [0, 0, 1]])
    square = np.concatenate([matrices, np.broadcast_to([[[0.0, 0, 1]]], (count, 1, 3))], 1)
    theta = (np.linalg.inv(to_pixels) @ square @ to_pixels)[:, :2].astype(dtype)
    grid = F.affine_grid(torch.from_numpy(theta), list(shape), align_corners=False)
    expected = F.grid_sample(torch.from_numpy(images), grid, mode=mode, align_corners=False).numpy()
    np.testing.assert_allclose(resample.affine(images, matrices, mode == "bilinear"), expected, atol=1e-5)


def test_displacements_are_those_of_grid_sample():
    generator = np.random.default_rng(1)
    images = generator.random((3, 2, 9, 9), np.float32)
    moves = generator.normal(0, 2, (3, 2, 9, 9)).astype(np.float32)
    identity = F.affine_grid(torch.eye(2, 3).repeat(3, 1, 1), [3, 2, 9, 9], align_corners=False)
    grid = identity + torch.from_numpy(moves).permute(0, 2, 3, 1) / 4.5
    expected = F.grid_sample(torch.from_numpy(images), grid, align_corners=False).numpy()
    np.testing.assert_allclose(resample.displace(images, moves), expected, atol=1e-5)
