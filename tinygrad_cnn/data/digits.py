"""The digits that come with the package: small, real, and there without a network."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.image_dataset import ImageDataset, Transform, check_flag

__all__ = ["Digits"]

_FILE = Path(__file__).with_name("digits.npz")
_SIZE = 28
_TRAINING = 1500


class Digits(ImageDataset):
    """1,797 handwritten digits, 28x28: 1,500 images for training and 297 for testing.

    They are the test set of the UCI Optical Recognition of Handwritten Digits data, 8x8 with values 0 to 16,
    enlarged to 28x28 by bilinear interpolation and scaled to 0 to 255. The package contains them in a random
    order that was drawn once, so that the split is the same everywhere and for ever.

    Parameters
    ----------
    train : bool, default True
        Whether to load the training set or the test set.
    transform, target_transform : callable, optional
        Applied to each image, to each label.

    Raises
    ------
    TypeError
        If an argument has a wrong type.

    References
    ----------
    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
    1998, doi:10.24432/C50P49, CC BY 4.0.

    Examples
    --------
    >>> digits = Digits()
    >>> len(digits), digits[0][0].shape
    (1500, (28, 28))
    """

    classes: ClassVar[list[str]] = [str(digit) for digit in range(10)]

    def __init__(
        self,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
    ) -> None:
        check_flag("Digits", "train", train)
        part = slice(None, _TRAINING) if train else slice(_TRAINING, None)
        with np.load(_FILE, allow_pickle=False) as archive:
            images, labels = archive["images"][part], archive["labels"][part]
        super().__init__(_enlarge(images), labels, bool(train), transform, target_transform)


def _enlarge(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Interpolate images of 8x8 values 0..16 bilinearly to 28x28 values 0..255: (N, 8, 8) -> (N, 28, 28).

    Pixel centres map to pixel centres, and the border is continued, as in PyTorch's `interpolate` with
    ``align_corners=False``. Positions are multiples of 1/14, and all sums are integers that float32
    represents exactly: the result is the same whatever the order of summation.
    """
    small = images.shape[-1]
    step = 2 * _SIZE // 4  # 14 parts of a pixel
    # Output pixel i has its centre at (i + 1/2) 8/28 - 1/2 = (4 i - 5) / 14 pixels.
    position = np.clip(4 * np.arange(_SIZE) - 5, 0, step * (small - 1))
    weights = np.maximum(step - np.abs(position[:, np.newaxis] - step * np.arange(small)), 0).astype(np.float32)
    sums = weights @ images.astype(np.float32) @ weights.T
    largest = 16 * step**2
    rounded: NDArray[np.float32] = np.floor(sums * np.float32(255) / np.float32(largest) + np.float32(0.5))
    return rounded.astype(np.uint8)
