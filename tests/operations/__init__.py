"""One row for each public operation, a file for each family; `ROWS` is all of them."""

from operations import activation, conv, elementwise, functions, linalg, loss, norm, pool, reduction, shape
from operations.row import Bad, Row

__all__ = ["ROWS", "Bad", "Row"]

ROWS: list[Row] = [
    row
    for family in (elementwise, functions, activation, reduction, shape, linalg, conv, pool, norm, loss)
    for row in family.ROWS
]
