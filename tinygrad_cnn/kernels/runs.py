"""Operands that repeat: how NumPy is kept from writing them out.

A ufunc whose operand repeats along the last axis, or differs along it alone, copies that operand into a buffer of 8192
elements wherever the runs are shorter than the buffer, which takes longer than the arithmetic. With a buffer shorter
than the runs it goes from run to run instead, and is twice as fast from some 256 elements on; below, so many runs cost
more than the copies.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LONG_RUN", "run_by_run"]

# Elements.
LONG_RUN = 256


class run_by_run:
    """A context manager inside which ufuncs go from run to run, also in threads that are given work there."""

    def __enter__(self) -> None:
        self._before = np.setbufsize(LONG_RUN)

    def __exit__(self, *error: object) -> None:
        np.setbufsize(self._before)
