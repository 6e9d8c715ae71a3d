"""README's table of what is in the library, from the code.

    python tests/contents.py    write it into README.md

A row is a family: the public functions of one file of `ops/`, or the public names of a module.
"""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import tinygrad_cnn as tg
import tinygrad_cnn.nn.functional as F
import tinygrad_cnn.testing

README = Path(__file__).parent.parent / "README.md"
MODULES = [
    "autograd",
    "func",
    "nn",
    "nn.init",
    "nn.utils",
    "optim",
    "optim.lr_scheduler",
    "optim.swa_utils",
    "data",
    "metrics",
]
OPERATIONS = "tinygrad_cnn.ops."
BEGIN, END = "<!-- begin of the contents -->\n", "<!-- end of the contents -->\n"


def names(module: ModuleType, kind: Callable[[Any], bool] = callable) -> list[str]:
    """The public names of a module that are functions or classes of ours; without `__all__`, those at home there."""
    listed = getattr(module, "__all__", None)
    home = "tinygrad_cnn" if listed else module.__name__
    found = [name for name in listed or vars(module) if not name.startswith("_") and kind(getattr(module, name))]
    found = [name for name in found if getattr(getattr(module, name), "__module__", "").startswith(home)]
    return sorted(found, key=lambda name: (name.lower(), name))


def operations() -> dict[str, list[str]]:
    """For each file of `ops/` what of it is public, as `tg.name` or only as `F.name`."""
    families: dict[str, list[str]] = {}
    for prefix, module in (("", tg), ("F.", F)):
        for name in names(module):
            if prefix and name in tg.__all__:
                continue
            home = getattr(module, name).__module__
            if home.startswith(OPERATIONS) or module is F:
                families.setdefault(home.removeprefix(OPERATIONS), []).append(prefix + name)
    return families


def rows() -> Iterable[tuple[str, list[str]]]:
    """Title and names of every row."""
    yield "create tensors", [name for name in names(tg) if getattr(tg, name).__module__ == "tinygrad_cnn.creation"]
    for family, found in sorted(operations().items()):
        path = family.replace(".", "/") if "." in family else f"tinygrad_cnn/ops/{family}"
        yield f"[{family.split('.')[-1].replace('_', ' ')}]({path}.py)", found
    functions = {*names(tg), *names(F)}
    methods = [name for name in dir(tg.Tensor) if not name.startswith("_") and name not in functions]
    yield "`tg.Tensor` alone", methods
    for title in MODULES:
        yield f"`tg.{title}`", names(operator.attrgetter(title)(tg))
    yield "`tg.data.datasets`", names(tg.data.datasets, inspect.isclass)
    yield "`tg.data.transforms`", names(tg.data.transforms, inspect.isclass)
    yield "`tinygrad_cnn.testing`", names(tinygrad_cnn.testing)
    others = ("checkpoint", "devices", "graphviz", "kernels.threads", "random", "serialization", "summary", "tensor")
    homes = {f"tinygrad_cnn.{home}" for home in others}
    yield "and", [name for name in names(tg) if getattr(tg, name).__module__ in homes]


def table() -> str:
    """The table as Markdown."""
    lines = ["| | |", "| --- | --- |"]
    lines += [f"| {title} | {', '.join(f'`{name}`' for name in found)} |" for title, found in rows() if found]
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """The page with the table of today between its marks."""
    return re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: BEGIN + table() + END, page, flags=re.DOTALL)


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
