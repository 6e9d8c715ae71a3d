"""Networks of the classic papers, as plain model code: their numbers of parameters, and a step of training."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn import nn, optim


def alexnet():
    """Krizhevsky, Sutskever & Hinton (2012), in the two groups in which it was split over two GPUs."""
    norm = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    return nn.Sequential(
        *(nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), norm, nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm, nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        nn.Flatten(),
        *(nn.Dropout(0.5), nn.Linear(256 * 6 * 6, 4096), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, 1000),
    )


def network_in_network(classes=10):
    """Lin, Chen & Yan (2014): convolutions followed by small networks at each pixel, and averages instead of layers."""

    def block(inputs, outputs, kernel_size, padding):
        first, second, third = outputs
        return (
            *(nn.Conv2d(inputs, first, kernel_size, padding=padding), nn.ReLU()),
            *(nn.Conv2d(first, second, 1), nn.ReLU(), nn.Conv2d(second, third, 1), nn.ReLU()),
        )

    return nn.Sequential(
        *(*block(3, (192, 160, 96), 5, 2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Dropout(0.5)),
        *(*block(96, (192, 192, 192), 5, 2), nn.AvgPool2d(3, 2, ceil_mode=True), nn.Dropout(0.5)),
        *block(192, (192, 192, classes), 3, 1),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


class Inception(nn.Module):
    """A block of GoogLeNet (Szegedy et al. 2015): four ways beside each other, their channels concatenated."""

    def __init__(self, inputs, plain, reduce3, conv3, reduce5, conv5, pooled):
        super().__init__()
        self.plain = self.convolution(inputs, plain, 1)
        self.three = nn.Sequential(self.convolution(inputs, reduce3, 1), self.convolution(reduce3, conv3, 3))
        self.five = nn.Sequential(self.convolution(inputs, reduce5, 1), self.convolution(reduce5, conv5, 5))
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), self.convolution(inputs, pooled, 1))

    @staticmethod
    def convolution(inputs, outputs, kernel_size):
        return nn.Sequential(nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2), nn.ReLU())

    def forward(self, x):
        return tg.cat([self.plain(x), self.three(x), self.five(x), self.pooled(x)], 1)


def inception_3a():
    return nn.Sequential(Inception(192, 64, 96, 128, 16, 32, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten())


NETWORKS = [
    (alexnet, (1, 3, 227, 227), 60_965_224, 724_406_816),
    (network_in_network, (2, 3, 32, 32), 966_986, 444_973_056),
    (inception_3a, (2, 192, 28, 28), 163_696, 256_098_304),
]


@pytest.mark.parametrize(("build", "shape", "parameters", "mult_adds"), NETWORKS)
def test_parameters_and_a_step_of_training(build, shape, parameters, mult_adds):
    tg.manual_seed(0)
    model = build()
    summary = tg.summary(model, shape)
    assert summary.total_params == summary.trainable_params == parameters
    assert summary.mult_adds == mult_adds
    images, labels = tg.randn(*shape), tg.tensor(np.arange(shape[0]))
    weights = [parameter for name, parameter in model.named_parameters() if name.endswith("weight")]
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    assert all(np.isfinite(weight.grad.data).all() and weight.grad.data.any() for weight in weights)
    before = [weight.data.flat[0] for weight in weights]
    optim.SGD(model.parameters(), lr=1.0).step()
    assert any(weight.data.flat[0] != value for weight, value in zip(weights, before, strict=True))
    assert 0 < loss.item() < 10


def test_an_inception_block_concatenates_its_four_ways():
    block = Inception(8, 2, 3, 4, 3, 5, 6)
    x = tg.randn(1, 8, 6, 7)
    y = block(x)
    assert y.shape == (1, 2 + 4 + 5 + 6, 6, 7)
    np.testing.assert_array_equal(y.data[:, :2], block.plain(x).data)
    np.testing.assert_array_equal(y.data[:, -6:], block.pooled(x).data)
