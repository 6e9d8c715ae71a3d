"""README's table says what is in the library: no less, no more."""

from __future__ import annotations

import contents


def test_the_table_of_contents_is_that_of_the_code() -> None:
    page = contents.README.read_text(encoding="utf-8")
    assert page == contents.written(page), "README is out of date: run `python tests/contents.py`"


def test_every_public_name_is_in_the_table() -> None:
    table = contents.table()
    for module, prefix in ((contents.tg, ""), (contents.F, "F.")):
        for name in contents.names(module):
            assert f"`{name}`" in table or f"`{prefix}{name}`" in table, f"{name} is in no row"
