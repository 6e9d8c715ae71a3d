"""The sizes of one convolution, and its work cut into blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinygrad_cnn.kernels.shapes import output_size

__all__ = ["Block", "Geometry"]

Pair = tuple[int, int]

# The patches of a block should stay in the second-level cache while they are written and then multiplied ...
_BLOCK_BYTES = 1 << 20
# ... but a product of fewer positions than this spends too much of its time on arranging the weight.
_FEWEST_POSITIONS = 256
# Multiplications that take some 100 µs; a block with less work is not worth handing to another thread.
_BLOCK_WORK = 1 << 22
_MOST_BLOCKS = 64


@dataclass(frozen=True, slots=True)
class Block:
    """Some images and, of the output, some rows."""

    images: slice
    rows: slice


@dataclass(frozen=True, slots=True)
class Geometry:
    """The sizes of one convolution, in the letters of the field.

    ``x`` is (n, c, h, w), the weight (o, c / groups, kh, kw), ``y`` (n, o, oh, ow); padding is
    ((top, bottom), (left, right)).
    """

    n: int
    c: int
    h: int
    w: int
    o: int
    kh: int
    kw: int
    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int
    oh: int
    ow: int

    @classmethod
    def of(
        cls,
        name: str,
        input_shape: tuple[int, ...],
        weight_shape: tuple[int, ...],
        stride: Pair,
        padding: tuple[Pair, Pair],
        dilation: Pair,
        groups: int,
    ) -> Geometry:
        """Derive the output size; everything that would read outside an array raises `ValueError`."""
        if len(input_shape) != 4 or len(weight_shape) != 4:
            raise ValueError(f"{name}: input and weight expect 4 dimensions but got {input_shape} and {weight_shape}")
        n, c, h, w = input_shape
        o, per_group, kh, kw = weight_shape
        if min(*stride, *dilation, groups) < 1 or min(*padding[0], *padding[1]) < 0:
            raise ValueError(
                f"{name}: stride, dilation and groups expect positive and padding non-negative integers but got "
                f"stride {stride}, dilation {dilation}, groups {groups}, padding {padding}"
            )
        if per_group * groups != c or o % groups:
            raise ValueError(
                f"{name}: weight expects (O, C / groups, kh, kw) with O a multiple of groups but got weight "
                f"{weight_shape}, input {input_shape}, groups {groups}"
            )
        oh = output_size(h, kh, stride[0], padding[0], dilation[0])
        ow = output_size(w, kw, stride[1], padding[1], dilation[1])
        if kh < 1 or kw < 1 or oh < 1 or ow < 1:
            raise ValueError(
                f"{name}: kernel expects a size from 1 to that of the padded input but got weight {weight_shape}, "
                f"input {input_shape}, padding {padding}, dilation {dilation}"
            )
        return cls(n, c, h, w, o, kh, kw, stride, padding, dilation, groups, oh, ow)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return (self.n, self.c, self.h, self.w)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (self.o, self.c // self.groups, self.kh, self.kw)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return (self.n, self.o, self.oh, self.ow)

    @property
    def padded_size(self) -> Pair:
        """Height and width of the padded input."""
        return self.h + sum(self.padding[0]), self.w + sum(self.padding[1])

    @property
    def patch_size(self) -> int:
        """Numbers that go into one output of one channel: kh · kw · c / groups."""
        return math.prod(self.weight_shape[1:])

    @property
    def empty(self) -> bool:
        """Whether some array has no elements."""
        return 0 in (self.n, self.c, self.o, self.h, self.w)

    def blocks(self, position_bytes: int, *, whole_images: bool = False) -> list[Block]:
        """Cut the output into blocks; the cut depends on nothing but the sizes.

        Parameters
        ----------
        position_bytes : int
            Memory that a block needs for each position.
        whole_images : bool, default False
            Never cut an image into bands of rows.
        """
        return self._cut(self.oh, self.ow, position_bytes, whole_images)

    def input_blocks(self, position_bytes: int) -> list[Block]:
        """Cut the input into blocks, likewise."""
        return self._cut(self.h, self.w, position_bytes, whole_images=False)

    def _cut(self, height: int, width: int, position_bytes: int, whole_images: bool) -> list[Block]:
        positions = max(_BLOCK_BYTES // position_bytes, _FEWEST_POSITIONS)
        total = self.n * height * width
        work = self.n * self.oh * self.ow * self.patch_size * self.o
        shares = min(_MOST_BLOCKS, work // _BLOCK_WORK)
        rows = max(1, min(positions, -(-total // max(shares, 1))) // width)
        if rows >= height or whole_images:
            count = _even(-(-self.n // max(1, rows // height)))
            step = -(-self.n // count)
            return [Block(slice(i, min(i + step, self.n)), slice(0, height)) for i in range(0, self.n, step)]
        bands = _even(-(-height // rows))
        step = -(-height // bands)
        return [
            Block(slice(i, i + 1), slice(row, min(row + step, height)))
            for i in range(self.n)
            for row in range(0, height, step)
        ]


def _even(count: int) -> int:
    """Round a small number of blocks up to an even one, so that two threads finish together."""
    return count + count % 2 if 1 < count < 16 else count
