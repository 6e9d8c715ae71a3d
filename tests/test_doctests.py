"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import tinygrad_cnn

MODULES = [
    module.name
    for module in pkgutil.walk_packages(tinygrad_cnn.__path__, "tinygrad_cnn.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", ["tinygrad_cnn", *MODULES])
def test_the_examples_of_a_module(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) > 40
