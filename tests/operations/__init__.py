"""One row for each public operation, a file for each family; `ROWS` is all of them."""

from operations import (
    accumulate,
    activation,
    conv,
    einsum,
    elementwise,
    functions,
    linalg,
    local_norm,
    loss,
    norm,
    ordering,
    padding,
    pairwise_loss,
    parts,
    pool,
    positions,
    reduction,
    resize,
    shape,
    tiling,
)
from operations.row import Bad, Row

__all__ = ["ROWS", "Bad", "Row"]

ROWS: list[Row] = [
    row
    for family in (
        elementwise,
        functions,
        activation,
        reduction,
        accumulate,
        ordering,
        shape,
        parts,
        tiling,
        padding,
        linalg,
        einsum,
        conv,
        pool,
        positions,
        resize,
        norm,
        local_norm,
        loss,
        pairwise_loss,
    )
    for row in family.ROWS
]
