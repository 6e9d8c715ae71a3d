"""Einstein's summation: products of tensors whose dimensions have names, summed over the names that don't come out.

Operands are multiplied two at a time. With the dimensions in the order (batch, own, summed) and (batch, summed, own),
the product of a pair is a matrix product, and derivatives of any order are those of its few steps: permute, reshape,
`matmul`, `mul`, `sum`.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn.errors import check_tensor
from tinygrad_cnn.ops.indexing import getitem
from tinygrad_cnn.ops.linalg import matmul
from tinygrad_cnn.ops.reduction import sum
from tinygrad_cnn.ops.shape import permute, reshape, unsqueeze
from tinygrad_cnn.types import Array

LETTERS = string.ascii_uppercase + string.ascii_lowercase
# A dimension's name: a letter, or for one that "..." stands for its number, counted from the last (-1).
Name = str | int
Names = tuple[Name, ...]


def outer(input: Array, vec2: Array) -> Array:
    """The products of all pairs, ``output[i, j] = input[i] * vec2[j]``: (n,), (m,) -> (n, m).

    Raises
    ------
    ValueError
        If an operand is not 1-d.
    """
    for name, x in (("input", input), ("vec2", vec2)):
        check_tensor("outer", name, x)
        if x.ndim != 1:
            raise ValueError(f"outer: {name} expects 1 dimension but has shape {tuple(x.shape)}")
    return matmul(unsqueeze(input, 1), unsqueeze(vec2, 0))


def einsum(equation: Any, *operands: Any) -> Array:
    """The sum of products that an equation such as ``"ij,jk->ik"`` describes.

    Parameters
    ----------
    equation : str
        A letter for each dimension of each operand, operands separated by commas; after ``->`` the letters of the
        output. Dimensions with the same letter are multiplied element by element (a size of one broadcasts); what is
        not in the output is summed over. A letter twice in one operand takes the diagonal. ``...`` stands for
        dimensions that broadcast. Without ``->`` the output has those of ``...``, and the letters that appear once,
        in alphabetical order.
    *operands : tensors
        Or one list of them. Instead of an equation each operand may be followed by the list of its dimensions'
        numbers, and all by that of the output: ``einsum(a, [0, 1], b, [1, 2], [0, 2])``.

    Raises
    ------
    ValueError
        If the equation is not one, or does not fit to the operands.

    Examples
    --------
    >>> import tinygrad_cnn as tg
    >>> a, b = tg.tensor([[1.0, 2.0], [3.0, 4.0]]), tg.tensor([[1.0, 0.0], [1.0, 1.0]])
    >>> tg.einsum("ij,jk->ik", a, b).tolist()
    [[3.0, 2.0], [7.0, 4.0]]
    >>> tg.einsum("ii", a).item()
    5.0
    """
    if not isinstance(equation, str):
        equation, operands = _from_lists((equation, *operands))
    elif len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not operands:
        raise ValueError("einsum: operands expects at least one tensor but got none")
    for index, x in enumerate(operands):
        check_tensor("einsum", f"operand {index}", x)
    names, output = _parse(equation, [x.ndim for x in operands])
    terms = [_diagonals(x, given, index) for index, (x, given) in enumerate(zip(operands, names, strict=True))]
    return _contract(_without_ones(terms), output)


# --------------------------------------------------------------------------------- reading the equation


def _from_lists(arguments: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """An equation from operands that are each followed by a list of numbers."""

    def text(numbers: Any) -> str:
        if not isinstance(numbers, (list, tuple)):
            raise TypeError(f"einsum: expected a list of dimensions after an operand but got {numbers!r}")
        for n in numbers:
            if n is not Ellipsis and not (isinstance(n, int) and 0 <= n < len(LETTERS)):
                raise ValueError(f"einsum: a dimension expects a number from 0 to {len(LETTERS) - 1} but is {n!r}")
        return "".join("..." if n is Ellipsis else LETTERS[n] for n in numbers)

    count = len(arguments) // 2
    equation = ",".join(text(arguments[2 * i + 1]) for i in range(count))
    if len(arguments) % 2:
        equation += "->" + text(arguments[-1])
    return equation, arguments[: 2 * count : 2]


def _parse(equation: str, ndims: Sequence[int]) -> tuple[list[Names], Names]:
    """The names of each operand's dimensions, and of the output's."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(ndims):
        raise ValueError(f"einsum: equation {equation!r} expects {len(inputs)} operand(s) but got {len(ndims)}")
    for part in (*inputs, right):
        rest = part.replace("...", "", 1)
        if not all(letter in LETTERS for letter in rest):
            raise ValueError(f"einsum: equation expects letters and at most one '...' but got {part!r}")
    names = [_named(part, ndim, index) for index, (part, ndim) in enumerate(zip(inputs, ndims, strict=True))]
    everything = [name for operand in names for name in operand]
    dots = tuple(sorted({name for name in everything if isinstance(name, int)}))
    if not arrow:
        once = sorted(name for name in everything if isinstance(name, str) and everything.count(name) == 1)
        return names, (*dots, *once)
    before, ellipsis, after = right.partition("...")
    output = (*before, *(dots if ellipsis else ()), *after)
    for name in output:
        if output.count(name) > 1 or name not in everything:
            raise ValueError(f"einsum: the output of {equation!r} expects each letter once, and from the operands")
    return names, output


def _named(part: str, ndim: int, index: int) -> Names:
    before, ellipsis, after = part.partition("...")
    count = ndim - len(before) - len(after)
    if count < 0 or (count and not ellipsis):
        raise ValueError(f"einsum: {part!r} expects another number of dimensions than operand {index} has, {ndim}")
    return (*before, *range(-count, 0), *after)


# ------------------------------------------------------------------------------- preparing the operands

# An operand and the names of its dimensions.
Term = tuple[Array, Names]


def _diagonals(x: Array, names: Names, index: int) -> Term:
    """Without repeated names: the diagonal over their dimensions takes their place."""
    for name in dict.fromkeys(names):
        while names.count(name) > 1:
            i = names.index(name)
            j = names.index(name, i + 1)
            n = x.shape[i]
            if x.shape[j] != n:
                raise ValueError(
                    f"einsum: {name!r} expects equal sizes but appears in operand {index} with {n} and {x.shape[j]}"
                )
            rest = [axis for axis in range(x.ndim) if axis not in (i, j)]
            along = np.arange(n)
            x = getitem(permute(x, (i, j, *rest)), (along, along))
            names = (name, *(names[axis] for axis in rest))
    return x, names


def _without_ones(terms: list[Term]) -> list[Term]:
    """Without the dimensions of size one that broadcast: every name has one size then."""
    sizes: dict[Name, int] = {}
    for index, (x, names) in enumerate(terms):
        for name, n in zip(names, x.shape, strict=True):
            if n != 1 and sizes.setdefault(name, n) != n:
                raise ValueError(f"einsum: {name!r} has size {n} in operand {index} but {sizes[name]} before")
    kept = []
    for x, names in terms:
        large = [i for i, name in enumerate(names) if x.shape[i] != 1 or name not in sizes]
        if len(large) < len(names):
            x = reshape(x, tuple(x.shape[i] for i in large))
        kept.append((x, tuple(names[i] for i in large)))
    return kept


# -------------------------------------------------------------------------------------- multiplying them


def _contract(terms: list[Term], output: Names) -> Array:
    """Multiply all operands, two at a time, and sum over what is not in the output."""
    while len(terms) > 1:
        i, j = _cheapest(terms, output)
        b, a = terms.pop(j), terms.pop(i)
        wanted = {*output, *(name for _, names in terms for name in names)}
        terms.append(_multiply(_summed(a, wanted | {*b[1]}), _summed(b, wanted | {*a[1]}), wanted))
    x, names = _summed(terms[0], {*output})
    order = tuple(names.index(name) for name in output)
    return x if order == tuple(range(x.ndim)) else permute(x, order)


def _cheapest(terms: list[Term], output: Names) -> tuple[int, int]:
    """Which two to multiply next: those that leave the least behind, more than they were."""
    if len(terms) == 2:
        return 0, 1
    sizes = {name: n for x, names in terms for name, n in zip(names, x.shape, strict=True)}

    def growth(pair: tuple[int, int]) -> int:
        others = {name for k, (_, names) in enumerate(terms) if k not in pair for name in names}
        (a, b) = ({*terms[k][1]} for k in pair)
        size_of = [math.prod(sizes[name] for name in names) for names in ((a | b) & (others | {*output}), a, b)]
        return size_of[0] - size_of[1] - size_of[2]

    return min(((i, j) for j in range(len(terms)) for i in range(j)), key=growth)


def _summed(term: Term, wanted: set[Name]) -> Term:
    """Summed over the dimensions that nobody needs."""
    x, names = term
    dims = tuple(i for i, name in enumerate(names) if name not in wanted)
    if not dims:
        return term
    return sum(x, dims), tuple(name for name in names if name in wanted)


def _multiply(first: Term, second: Term, wanted: set[Name]) -> Term:
    """The product of two operands, summed over the names that both have and nobody wants."""
    (a, a_names), (b, b_names) = first, second
    common = [name for name in a_names if name in b_names]
    batch = [name for name in common if name in wanted]
    inner = [name for name in common if name not in wanted]
    rows = [name for name in a_names if name not in b_names]
    columns = [name for name in b_names if name not in a_names]
    names = (*batch, *rows, *columns)
    sizes = dict(zip((*a_names, *b_names), (*a.shape, *b.shape), strict=True))
    a = _arranged(first, (*batch, *rows, *inner))
    b = _arranged(second, (*batch, *inner, *columns))
    if not inner and not (rows and columns):
        # Nothing to sum over: broadcasting does it.
        a = _shaped(a, (*(sizes[name] for name in (*batch, *rows)), *(1 for _ in columns)))
        b = _shaped(b, (*(sizes[n] for n in batch), *(1 for _ in rows), *(sizes[n] for n in columns)))
        return a * b, names
    many = tuple(sizes[name] for name in batch)
    n_rows, n_inner, n_columns = (math.prod(sizes[name] for name in group) for group in (rows, inner, columns))
    product = matmul(_shaped(a, (*many, n_rows, n_inner)), _shaped(b, (*many, n_inner, n_columns)))
    return _shaped(product, tuple(sizes[name] for name in names)), names


def _shaped(x: Array, shape: tuple[int, ...]) -> Array:
    return x if tuple(x.shape) == shape else reshape(x, shape)


def _arranged(term: Term, names: Names) -> Array:
    x, given = term
    return x if given == names else permute(x, tuple(given.index(name) for name in names))
