"""What ``rag-audio index`` prints for people."""

from __future__ import annotations

import pytest

from indexer.report import IndexReport
from rag_audio.cli.index import show_report


def test_the_counts_of_a_run_stand_on_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(IndexReport(3, 12, 0, 0, 15, (), 1.0))
    row = next(line for line in capsys.readouterr().out.splitlines() if "12" in line)
    assert row.split("│")[1:3] == ["       3 ", "      12 "]
