"""What was used in a period, by holder."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.domain import Channel, Influence, OtherClaim, Share, Splits
from rag_audio.domain.json_documents import json_pieces
from rag_audio.domain.record import LedgerEntry
from rag_audio.errors import InvalidInput
from rag_audio.provenance.report import (
    COLUMNS,
    UsageReport,
    csv_lines,
    period,
    usage_report,
    usage_rows,
)
from tests.provenance.builders import LICENSE, record, source

START, END = period(date(2026, 11, 1), date(2026, 11, 30))
SPLITS = Splits(
    master=(Share("Label A", 0.5), Share("Label B", 0.5)),
    composition=(Share("Writer", 0.75, "I0000002297"), Share("Label A", 0.25)),
)


def entry(number: int, *sources: Any, **more: Any) -> LedgerEntry:
    return LedgerEntry(number, "0" * 64, record(number, *sources, **more))


def report(*entries: LedgerEntry) -> UsageReport:
    return usage_report(entries, START, END)


def document(found: UsageReport) -> dict[str, Any]:
    return dict(json.loads("".join(json_pieces(found.members()))))


def holders_of(found: UsageReport) -> dict[str, dict[str, Any]]:
    return {one["holder"]: one for one in document(found)["holders"]}


def test_shares_are_split_between_holders_master_and_composition_apart() -> None:
    one = source("break", splits=SPLITS, credit="Contains A and B")
    found = report(entry(1, one), entry(2, one))
    holders = holders_of(found)
    assert set(holders) == {"Label A", "Label B", "Writer"}
    label = holders["Label A"]
    assert label["master"] == {"prompt": 0.25, "init": 0.125}  # 2 outputs × 0.25 × half
    assert label["composition"] == {"prompt": 0.125, "init": 0.0625}
    assert label["outputs"] == [1, 2]
    assert label["credits"] == ["Contains A and B"]
    assert holders["Writer"]["master"] == {"prompt": 0.0, "init": 0.0}
    assert holders["Writer"]["ipi"] == "I0000002297"


def test_without_splits_the_holder_has_it_whole_and_the_row_says_so() -> None:
    found = report(entry(1, source("break")))
    (usage,) = holders_of(found).values()
    assert usage["holder"] == "Night Shift Recordings"
    assert usage["master"] == usage["composition"]
    rows = list(found.rows())
    assert [row["right"] for row in rows] == ["master", "composition"]
    assert not any(row["split_declared"] for row in rows)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(1, 4)), min_size=1, max_size=6)
)
def test_nothing_is_lost_or_counted_twice(uses: list[tuple[float, float, int]]) -> None:
    entries = []
    for number, (prompt, init, parties) in enumerate(uses, start=1):
        shares = tuple(Share(f"Party {i}", 1 / parties) for i in range(parties))
        one = source("break", splits=Splits(master=shares))
        used = Influence({Channel.PROMPT: prompt, Channel.INIT: init})
        entries.append(entry(number, replace(one, influence=used)))
    found = report(*entries)
    for kind in ("master", "composition"):
        for at, channel in enumerate((Channel.PROMPT, Channel.INIT)):
            total = sum(usage.shares[kind][channel] for usage in found.holders)
            assert total == pytest.approx(sum(use[at] for use in uses))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.lists(st.integers(1, 3), max_size=3)), max_size=6),
)
def test_what_nobody_decided_is_in_no_party_s_share_and_counted_once(
    uses: list[tuple[float, list[int]]],
) -> None:
    """Each use with the number of parties that each further claim gives the recording to."""
    entries = []
    for number, (prompt, claims) in enumerate(uses, start=1):
        also = tuple(
            OtherClaim(
                replace(
                    LICENSE,
                    id=f"claim-{i}",
                    splits=Splits(master=tuple(Share(f"P{n}", 1 / n_of) for n in range(n_of))),
                )
            )
            for i, n_of in enumerate(claims)
        )
        one = source("break", splits=Splits(master=(Share("Own", 1.0),)))
        used = Influence({Channel.PROMPT: prompt, Channel.INIT: 0.0})
        entries.append(entry(number, replace(one, influence=used, also=also)))
    found = report(*entries)
    total = sum(prompt for prompt, _ in uses)
    undecided = sum(prompt for prompt, claims in uses if claims)
    for kind, left in (("master", undecided), ("composition", 0.0)):
        shares = sum(usage.shares[kind][Channel.PROMPT] for usage in found.holders)
        groups = sum(group.shares[kind][Channel.PROMPT] for group in found.undecided)
        assert groups == pytest.approx(left)
        assert shares + groups == pytest.approx(total)
    for usage in found.holders:
        assert usage.undecided["master"][Channel.PROMPT] <= undecided + 1e-9
    for row in found.rows():
        assert row["undecided"] == (row["right"] == "master" and bool(uses[row["output"] - 1][1]))


def test_a_period_holds_its_days_whole_and_nothing_else() -> None:
    moments = {
        1: datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC),
        2: datetime(2026, 11, 1, tzinfo=UTC),
        3: datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC),
        4: datetime(2026, 12, 1, tzinfo=UTC),
    }
    found = report(*(entry(number, created=moment) for number, moment in moments.items()))
    assert {row["output"] for row in found.rows()} == {2, 3}
    with pytest.raises(InvalidInput, match="is before"):
        period(date(2026, 2, 1), date(2026, 1, 1))


def test_outputs_without_sources_are_counted() -> None:
    bare = LedgerEntry(1, "0" * 64, replace(record(1), sources=()))
    found = report(bare, entry(2))
    assert (found.outputs, found.unaccounted) == (2, 1)


@pytest.mark.parametrize("evil", ["=1+1", "+cmd|x", "-2", "@SUM(A1)", "\t=1", "  =1"])
def test_a_spreadsheet_is_given_no_formula(evil: str) -> None:
    text = "".join(csv_lines(report(entry(1, source("break", artist=evil, credit=evil))).rows()))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2
    for row in rows:
        for cell in row.values():
            assert not cell.lstrip().startswith(("=", "+", "-", "@")), cell
        assert row["artist"] == f"'{evil}"


def test_the_csv_holds_the_rows_with_codes_and_numbers() -> None:
    one = source("break")
    stem = replace(one.reference.stem, isrc="QZABC2600001", iswc="T0345246801")
    segment = replace(one.reference.segment, stem=stem)
    made = entry(7, replace(one, reference=replace(one.reference, segment=segment)))
    text = "".join(csv_lines(report(made).rows()))
    (first, _) = csv.DictReader(io.StringIO(text))
    assert (first["isrc"], first["iswc"]) == ("QZABC2600001", "T0345246801")
    assert (first["output"], float(first["share_prompt"])) == ("7", 0.25)


CLAIM = OtherClaim(replace(LICENSE, id="other", splits=Splits(master=(Share("Other", 1.0),))))


def many(count: int) -> Iterator[LedgerEntry]:
    """Outputs of few stems and parties, in an order of numbers that is not that of the log."""
    contested = replace(source("bass"), also=(CLAIM,))
    for number in range(1, count + 1):
        yield entry((number * 7919) % 100_003, source("break", splits=SPLITS), contested)


def test_the_document_is_written_piece_by_piece_as_it_would_be_at_once() -> None:
    found = report(*many(300))
    text = "".join(json_pieces(found.members()))
    said = json.loads(text)
    assert text == json.dumps(said, ensure_ascii=False, indent=2) + "\n"
    assert list(said) == [
        *("from", "to", "outputs", "outputs_without_sources", "holders", "undecided", "rows")
    ]
    numbers = sorted(one.record.output for one in many(300))
    stems = sorted({row["stem"] for row in said["rows"]})
    holders = {one["holder"]: one for one in said["holders"]}
    assert holders["Label A"]["outputs"] == numbers
    assert holders["Night Shift Recordings"]["outputs"] == numbers
    assert len(holders["Label A"]["sources"]) == 1 and len(stems) == 2
    assert list(holders["Other"]) == [
        *("holder", "ipi", "outputs", "sources", "credits", "master", "composition", "undecided")
    ]
    (group,) = said["undecided"]
    assert (group["outputs"], group["sources"]) == (numbers, holders["Other"]["sources"])
    assert len(said["rows"]) == found.row_count == 300 * (2 + 2 + 2 + 1)


def test_rows_that_are_not_kept_are_the_same() -> None:
    bare = LedgerEntry(9, "0" * 64, replace(record(9), sources=()))
    late = entry(10, created=END)
    entries = [*many(30), bare, late]
    assert list(usage_rows(iter(entries), START, END)) == list(report(*entries).rows())


def test_an_empty_period_has_empty_lists() -> None:
    text = "".join(json_pieces(report().members()))
    assert text.endswith('"holders": [],\n  "rows": []\n}\n')
    assert list(csv_lines(report().rows())) == [",".join(COLUMNS) + "\r\n"]


def test_the_memory_of_a_report_does_not_grow_with_its_rows() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        found = usage_report(many(count), START, END)
        length = sum(map(len, json_pieces(found.members())))
        length += sum(map(len, csv_lines(found.rows())))
        assert length > count * 2000
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(10)  # What is made once, such as parts of a class, is made before.
    few, more = peak(150), peak(1500)
    assert more < 1.2 * few + 50_000, (few, more)
