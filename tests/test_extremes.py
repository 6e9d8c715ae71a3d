"""Operations where arrays have no elements, or numbers have no neighbours: nothing, infinity, half precision."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F

RANDOM = np.random.default_rng(0)


# --------------------------------------------------------------------------------------------- nothing


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(6, 4, 0), (0, 5), (3, 0), (2, 3, 0, 7)])
def test_the_cross_entropy_of_nothing_is_0_and_so_is_its_gradient(shape, smoothing):
    samples = (shape[0], *shape[2:])
    for target in (tg.full(samples, -100, dtype=tg.int64), tg.zeros(*shape)):
        x = tg.zeros(*shape, requires_grad=True)
        each = F.cross_entropy(x, target, reduction="none", label_smoothing=smoothing)
        assert each.shape == samples
        assert not each.data.any()
        F.cross_entropy(x, target, reduction="sum", label_smoothing=smoothing).backward()
        assert x.grad.shape == shape
