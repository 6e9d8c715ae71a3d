"""The sizes of one convolution, and its work cut into blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

from tinygrad_cnn.kernels.shapes import balanced, output_size

__all__ = ["BLOCK_BYTES", "Block", "Geometry", "shares_of"]

Pair = tuple[int, int]

# One thread alone is fastest when the patches of a block stay in its second-level cache. But after each NumPy call a
# thread needs the interpreter lock again, and if another one holds it, waking up takes some 50 µs: with two threads few
# long calls win over many short ones, and blocks that fit the shared cache are up to a quarter faster ...
BLOCK_BYTES = 6 << 20
# ... but a product of fewer positions than this spends too much of its time on arranging the weight.
_FEWEST_POSITIONS = 256
# Multiplications that take some 100 µs: with less, a piece is not worth handing to another thread ...
_LEAST_WORK = 1 << 22
# ... and some 500 µs: there is no need for more pieces than of this size, nor for more than so many.
_SHARE_WORK = 1 << 25
_MOST_SHARES = 64
# Multiplications that take as long as copying a number into a patch.
_COPY_WORK = 10
# Runs of fewer elements than this are not worth copying one by one.
_SHORTEST_RUN = 16
# With so many images there is enough to share; cutting them into bands of rows costs rows computed twice.
_ENOUGH_IMAGES = 8


@dataclass(frozen=True, slots=True)
class Block:
    """Some images and, of the output, some rows."""

    images: slice
    rows: slice


@dataclass(frozen=True, eq=False)  # told apart by identity, which is quick: `of` makes one of each
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
    @lru_cache(maxsize=512)
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

    @cached_property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)"""
        return (self.n, self.c, self.h, self.w)

    @cached_property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(O, C / groups, kh, kw)"""
        return (self.o, self.c // self.groups, self.kh, self.kw)

    @cached_property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(N, O, OH, OW)"""
        return (self.n, self.o, self.oh, self.ow)

    @cached_property
    def padded_size(self) -> Pair:
        """Height and width of the padded input."""
        return self.h + sum(self.padding[0]), self.w + sum(self.padding[1])

    @cached_property
    def patch_size(self) -> int:
        """Numbers that go into one output of one channel: kh · kw · c / groups."""
        return math.prod(self.weight_shape[1:])

    @property
    def reach(self) -> Pair:
        """How far apart the first and the last tap of the kernel are: rows and columns."""
        return (self.kh - 1) * self.dilation[0], (self.kw - 1) * self.dilation[1]

    @cached_property
    def work(self) -> int:
        """Multiplications of the convolution."""
        return self.n * self.oh * self.ow * self.patch_size * self.o

    @cached_property
    def few_channels(self) -> bool:
        """Whether the runs of a channels-last patch would be too short to be copied one by one; see `patches`."""
        return self.kw * self.c // self.groups < _SHORTEST_RUN

    @cached_property
    def pointwise(self) -> bool:
        """Whether each position is a patch: one group, a kernel of 1 × 1 and stride 1."""
        return self.kh == self.kw == self.groups == 1 and self.stride == (1, 1)

    @cached_property
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
        return _cut(self, self.oh, self.ow, position_bytes, whole_images)

    def input_blocks(self, position_bytes: int) -> list[Block]:
        """Cut the input into blocks, likewise."""
        return _cut(self, self.h, self.w, position_bytes, whole_images=False)


def shares_of(work: int) -> int:
    """Into how many pieces so many multiplications should be cut, at least: two as soon as that pays."""
    return max(1, min(2, work // _LEAST_WORK), min(_MOST_SHARES, work // _SHARE_WORK))


@lru_cache(maxsize=512)
def _cut(s: Geometry, height: int, width: int, position_bytes: int, whole_images: bool) -> list[Block]:
    positions = max(BLOCK_BYTES // position_bytes, _FEWEST_POSITIONS)
    total = s.n * height * width
    copies = s.work // s.o * _COPY_WORK
    shares = max(shares_of(s.work), min(2, shares_of(s.work + copies)))
    rows = max(1, min(positions, -(-total // shares)) // width)
    enough_images = s.n >= _ENOUGH_IMAGES and positions >= height * width
    if rows >= height or enough_images or whole_images:
        count = -(-s.n // max(1, rows // height))
        return [Block(images, slice(0, height)) for images in balanced(s.n, count)]
    bands = balanced(height, -(-height // rows))
    return [Block(slice(i, i + 1), band) for i in range(s.n) for band in bands]
