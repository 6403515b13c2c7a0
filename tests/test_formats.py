"""docs/formats.md is what reading and writing a file of each kind gives."""

from __future__ import annotations

from tests.formats_table import COMMAND, PAGE, page


def test_the_page_of_formats_is_true() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), f"after a change that is meant: {COMMAND}"
