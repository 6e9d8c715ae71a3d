"""The classics compute what their originals compute."""

from __future__ import annotations

import by_hand
import common
import lenet5
import lenet_fashion
import momentum_conv
import numpy as np
import pytest
import simple_convnet
import three_layers

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
from tinygrad_cnn.data import DataLoader, TensorDataset, datasets


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 28, 28) between 0 and 1 in float64, and their labels."""
    dataset = datasets.Digits()
    return dataset.data.numpy()[:count] / 255, dataset.targets.numpy()[:count]


@pytest.mark.parametrize(("images_seen", "tolerance"), [(100, 1e-12), (600, 1e-8)], ids=["batch", "epoch"])
def test_momentum_goes_where_the_loop_over_images_goes(images_seen, tolerance):
    tg.manual_seed(1)
    model = momentum_conv.MnistConv().double()
    weights = [parameter.data.copy() for parameter in model.parameters()]
    weights[0] = weights[0][:, 0]
    images, labels = digits(images_seen)

    dataset = TensorDataset(images[:, np.newaxis], labels)
    common.fit(model, DataLoader(dataset, batch_size=momentum_conv.BATCH), momentum_conv.momentum(model), epochs=1)
    velocities = [np.zeros_like(w) for w in weights]
    by_hand.momentum_epoch(
        weights, velocities, images, labels, momentum_conv.ALPHA, momentum_conv.BETA, momentum_conv.BATCH
    )

    for parameter, weight in zip(model.parameters(), weights, strict=True):
        np.testing.assert_allclose(parameter.data.reshape(weight.shape), weight, rtol=0, atol=tolerance)


def test_the_loss_of_a_probability_has_the_gradients_of_the_fused_one():
    tg.manual_seed(2)
    model = three_layers.ThreeLayers(filters=4).double()
    images, labels = digits(5)
    x, t = tg.tensor(images[:, np.newaxis]), tg.tensor(labels)
    parameters = list(model.parameters())

    probabilities = F.softmax(model(x), dim=1)
    (of_probabilities,) = tg.grad(
        three_layers.loss_of_probability(probabilities, t), [probabilities], retain_graph=True
    )
    chosen = np.eye(10)[labels] / len(labels)
    np.testing.assert_allclose(of_probabilities.numpy(), -chosen / probabilities.data, rtol=1e-12)

    split = tg.grad(probabilities, parameters, of_probabilities)
    fused = tg.grad(F.cross_entropy(model(x), t), parameters)
    for one, other in zip(split, fused, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-9, atol=1e-14)


def test_three_layers_take_the_steps_of_the_loops_over_patches():
    tg.manual_seed(3)
    model = three_layers.ThreeLayers(filters=4).double()
    images, labels = digits(3)
    filters = model.conv.weight.data[:, 0].copy()
    # By hand the maps come last: (13, 13, filters).
    weight = model.softmax.weight.data.reshape(10, 4, 13, 13).transpose(2, 3, 1, 0).reshape(-1, 10).copy()
    bias = model.softmax.bias.data.copy()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.5)
    for image, label in zip(images, labels, strict=True):
        loss = F.cross_entropy(model(tg.tensor(image[np.newaxis, np.newaxis])), tg.tensor([label]))
        assert loss.item() == pytest.approx(by_hand.three_layers_step(filters, weight, bias, image, label, 0.5))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(model.conv.weight.data[:, 0], filters, atol=1e-13)
    np.testing.assert_allclose(model.softmax.bias.data, bias, atol=1e-13)
    moved = model.softmax.weight.data.reshape(10, 4, 13, 13).transpose(2, 3, 1, 0).reshape(-1, 10)
    np.testing.assert_allclose(moved, weight, atol=1e-13)


def test_gradient_is_what_backward_leaves():
    tg.manual_seed(4)
    model = simple_convnet.SimpleConvNet()
    images, labels = digits(6)
    x, t = tg.tensor(images[:, np.newaxis]).to(tg.float32), tg.tensor(labels)
    gradients = model.gradient(x, t)
    model.loss(x, t).backward()
    assert list(gradients) == [
        f"{layer}.{kind}" for layer in ("conv1", "affine1", "affine2") for kind in ("weight", "bias")
    ]
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(gradients[name].numpy(), parameter.grad.numpy())


def test_parameters_come_back_from_a_file(tmp_path):
    model, twin = simple_convnet.SimpleConvNet(), simple_convnet.SimpleConvNet()
    model.save_params(tmp_path / "params.npz")
    twin.load_params(tmp_path / "params.npz")
    images, labels = digits(20)
    x, t = tg.tensor(images[:, np.newaxis]).to(tg.float32), tg.tensor(labels)
    np.testing.assert_array_equal(model.predict(x).data, twin.predict(x).data)
    assert model.accuracy(x, t) == twin.accuracy(x, t)


def test_lenet5_has_the_parameters_that_the_paper_counts():
    assert lenet5.count(lenet5.LeNet5()) == {
        "c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164, "output": 850
    }  # fmt: skip


def test_table_one_connects_as_in_the_paper():
    # Rows: the maps of S2; columns: the maps of C3.
    paper = """
        X . . . X X X . . X X X X . X X
        X X . . . X X X . . X X X X . X
        X X X . . . X X X . . X . X X X
        . X X X . . X X X X . . X . X X
        . . X X X . . X X X X . X X . X
        . . . X X X . . X X X X . X X X
    """
    connected = np.array([[mark == "X" for mark in line.split()] for line in paper.strip().splitlines()])
    ours = np.array([[i in inputs for inputs in lenet5.TABLE] for i in range(6)])
    np.testing.assert_array_equal(ours, connected)
    assert connected.sum() == 60


def test_a_partial_convolution_is_a_sum_over_its_connections():
    tg.manual_seed(5)
    layer = lenet5.PartialConv2d(3, [(0, 2), (1,)], kernel_size=2).double()
    x = tg.randn(2, 3, 5, 5, dtype=tg.float64)
    y = layer(x).data
    w = layer.weight.data
    for n in range(2):
        first = by_hand.correlate(x.numpy()[n, 0], w[0]) + by_hand.correlate(x.numpy()[n, 2], w[1])
        np.testing.assert_allclose(y[n], [first, by_hand.correlate(x.numpy()[n, 1], w[2])], atol=1e-14)


def test_a_partial_convolution_gives_each_of_its_weights_the_dense_gradient():
    layer = lenet5.PartialConv2d(6, lenet5.TABLE, kernel_size=5).double()
    x = tg.randn(2, 6, 8, 8, dtype=tg.float64)
    dense = layer.dense().detach().requires_grad_()
    (whole,) = tg.grad((F.conv2d(x, dense) ** 2).sum(), [dense])
    (kept,) = tg.grad(((layer(x)) ** 2).sum(), [layer.weight])
    pairs = [(o, c) for o, inputs in enumerate(lenet5.TABLE) for c in inputs]
    np.testing.assert_allclose(kept.numpy(), [whole.numpy()[pair] for pair in pairs], rtol=1e-10)


def test_subsampling_adds_four_pixels():
    layer = lenet5.Subsampling(1)
    layer.load_state_dict({"coefficient": tg.full((1, 1, 1), 0.5), "bias": tg.full((1, 1, 1), 3.0)})
    assert layer(tg.arange(4.0).reshape(1, 1, 2, 2)).item() == 0.5 * (0 + 1 + 2 + 3) + 3


def test_the_sigmoid_of_the_paper_keeps_one_and_minus_one():
    assert lenet5.squash(tg.tensor([-1.0, 0.0, 1.0])).tolist() == pytest.approx([-1, 0, 1], abs=1e-4)


def test_lazy_layers_find_their_sizes():
    model = lenet_fashion.lenet().to(lenet_fashion.try_gpu())
    assert "LazyConv2d" in repr(model)
    model(tg.zeros(1, 1, 28, 28))
    assert "Lazy" not in repr(model)
    assert [layer.weight.shape[1] for layer in (model[0], model[3], model[7], model[9])] == [1, 20, 1250, 128]
