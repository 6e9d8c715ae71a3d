"""Names for the types that signatures of operations are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Array", "DTypeLike", "Dims", "Pair", "Scalar"]

#: An ndarray or a tensor: operations take both and answer in kind (a tensor if there is one among the inputs).
Array: TypeAlias = Any
#: One dimension, several, or all of them (None).
Dims: TypeAlias = int | Sequence[int] | None
#: One number for both spatial dimensions, or one for each: height, then width.
Pair: TypeAlias = int | tuple[int, int]
Scalar: TypeAlias = bool | int | float
DTypeLike: TypeAlias = np.dtype[Any] | type | str
