"""Convolutions of small whole numbers are what one computes with a pencil, exactly, in every dtype that holds them."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F

BY_HAND = [
    # Two channels in: 268 = (0·0 + 1·1 + 3·2 + 4·3) + (9·4 + 10·5 + 12·6 + 13·7).
    ((1, 2, 3, 3), (1, 2, 2, 2), 1, [[[268, 296], [352, 380]]]),
    # Two kernels of one pixel mix three channels: 45 = 0·0 + 9·1 + 18·2.
    (
        (1, 3, 3, 3),
        (2, 3, 1, 1),
        1,
        [[[45, 48, 51], [54, 57, 60], [63, 66, 69]], [[126, 138, 150], [162, 174, 186], [198, 210, 222]]],
    ),
    # Windows side by side: 24 = 0·0 + 1·1 + 4·2 + 5·3.
    ((1, 1, 4, 4), (1, 1, 2, 2), 2, [[[24, 36], [72, 84]]]),
]


def counting(shape, dtype):
    """0, 1, 2, ... in a shape."""
    return tg.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)


@pytest.mark.parametrize("dtype", [tg.int16, tg.int32, tg.int64, tg.float16, tg.float32, tg.float64], ids=str)
@pytest.mark.parametrize(("image", "kernel", "stride", "expected"), BY_HAND)
def test_convolution_multiplies_and_adds(image, kernel, stride, expected, dtype):
    y = F.conv2d(counting(image, dtype), counting(kernel, dtype), stride=stride)
    assert y.dtype == dtype
    assert y.tolist() == [expected]


@pytest.mark.parametrize("dtype", [tg.int8, tg.uint8], ids=str)
def test_integers_wrap_around(dtype):
    y = F.conv2d(counting((1, 2, 3, 3), dtype), counting((1, 2, 2, 2), dtype))
    expected = np.array([[268, 296], [352, 380]]).astype(dtype)
    assert y.tolist() == [[expected.tolist()]]


@pytest.mark.parametrize(("image", "kernel"), [((5, 7), (3, 3)), ((6, 6), (2, 3)), ((4, 9), (4, 1)), ((3, 3), (1, 1))])
@pytest.mark.parametrize("mode", ["valid", "same", "full"])
def test_with_the_kernel_turned_it_is_true_convolution(image, kernel, mode):
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 10, image), rng.integers(-9, 10, kernel)
    # SciPy keeps the middle of the full result: of an even kernel, the extra zero goes to the top and left.
    before = [{"valid": 0, "same": k // 2, "full": k - 1}[mode] for k in kernel]
    after = [{"valid": 0, "same": (k - 1) // 2, "full": k - 1}[mode] for k in kernel]
    padded = F.pad(tg.tensor(x[None, None]), (before[1], after[1], before[0], after[0]))
    y = F.conv2d(padded, tg.flip(tg.tensor(w[None, None]), (2, 3)))
    np.testing.assert_array_equal(y.data[0, 0], signal.convolve2d(x, w, mode))


def test_as_it_is_it_is_cross_correlation():
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((8, 9)), rng.standard_normal((3, 4))
    y = F.conv2d(tg.tensor(x[None, None]), tg.tensor(w[None, None]))
    np.testing.assert_allclose(y.data[0, 0], signal.correlate2d(x, w, "valid"), rtol=1e-12)
