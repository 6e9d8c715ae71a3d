"""Transforms: torchvision's, for arrays, a whole batch at a time.

A transform is any callable on a sample. One that also has a method ``on_batch(samples)`` is applied to a whole
batch at once by the library's data sets: it takes and returns samples stacked along a new first dimension, as
an array where a sample is an array and as a tensor where it is a tensor.

The random ones draw for each picture of a batch by itself, from the library's generator (`manual_seed`). One alone
gives the same pictures whether they come one by one or as a batch, unless it draws noise for them. Of several, each
draws for the whole batch in turn: with the same seed, the pictures of a batch are others than those that come one by
one.
"""

from __future__ import annotations

from tinygrad_cnn.data.transforms.affine import RandomAffine, RandomRotation
from tinygrad_cnn.data.transforms.basic import Compose, Lambda, Normalize, ToTensor
from tinygrad_cnn.data.transforms.crop import RandomCrop
from tinygrad_cnn.data.transforms.elastic import ElasticTransform
from tinygrad_cnn.data.transforms.erasing import RandomErasing
from tinygrad_cnn.data.transforms.flip import RandomHorizontalFlip, RandomVerticalFlip
from tinygrad_cnn.data.transforms.per_picture import InterpolationMode

__all__ = [
    "Compose",
    "ElasticTransform",
    "InterpolationMode",
    "Lambda",
    "Normalize",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomVerticalFlip",
    "ToTensor",
]
