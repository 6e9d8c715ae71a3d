"""Comparisons with PyTorch: fixtures, and this folder on the path, whatever pytest's import mode."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)


@pytest.fixture(scope="session")
def pytorch() -> Any:
    """PyTorch, behind the interface of `oracle.libraries.Library`."""
    pytest.importorskip("torch")
    from oracle.libraries import library  # here, because it needs PyTorch

    return library("torch")


@pytest.fixture(scope="session")
def ours() -> Any:
    """The library under test; `REFERENCE_LIBRARY=torch` tries the tests themselves."""
    pytest.importorskip("torch")
    from oracle.libraries import library

    return library(os.environ.get("REFERENCE_LIBRARY", "tinygrad_cnn"))
