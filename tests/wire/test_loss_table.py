from __future__ import annotations

from loss_table import tables, written


def test_the_tables_in_the_docs_say_what_the_code_does() -> None:
    assert written() == tables(), "run `python tests/wire/loss_table.py`"
