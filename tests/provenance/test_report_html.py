from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from html.parser import HTMLParser

import pytest

from rag_audio.domain import Rights
from rag_audio.provenance.trace.findings import Evidence, TraceResult, traced_source
from rag_audio.provenance.trace_report import _ticks, report_html
from tests.provenance.builders import LICENSE, record, source

NOW = datetime(2026, 11, 22, 21, 0, tzinfo=UTC)
RIGHTS = Rights({LICENSE.key: LICENSE}, None, date(2026, 11, 22))
CHECKS = {
    "timeline": {"window_s": 2.5, "similar": [[0.5, None], [0.75, 0.25]]},
    "control": {"cosine": 0.4},
    "compared": [{"path": "drums/break.wav", "used": True, "distance": 0.62, "allowed": 0.9}],
}
CAUSAL = {
    "segments": [[0.0, 5.0], [5.0, 10.0]],
    "noise_floor": 0.01,
    "sources": [{"by_segment": [0.1, 0.2]}, {"by_segment": [-0.05, 0.0]}],
}
EMPTY_TAGS = {"meta", "br"}


class Page(HTMLParser):
    """Checks that tags close in order and collects what a test wants to know."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in EMPTY_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def result(rights: Rights = RIGHTS, title: str = "Break") -> TraceResult:
    first = source("break")
    stem = replace(first.reference.stem, title=title, artist=f"{title} Band")
    segment = replace(first.reference.segment, stem=stem)
    first = replace(first, reference=replace(first.reference, segment=segment))
    made = record(7, first, source("keys"), checks=CHECKS)
    return TraceResult(
        found=True,
        by="watermark",
        confidence=0.93,
        explanation=f"The watermark says output 7. {title}",
        output=7,
        created="2026-11-22T12:30:01+00:00",
        model="stable-audio-mini",
        sources=tuple(traced_source(use, rights, None) for use in made.sources),
        model_share=dict(made.model_share),
        proof={"seq": 3, "leaf_hash": "ab" * 32, "size": 5, "root": "cd" * 32, "path": ["ef" * 32]},
        evidence=(Evidence("watermark", 7, 0.93, "The watermark says output 7."),),
        record=made,
        causal=CAUSAL,
    )


def test_the_page_shows_sources_licenses_shares_and_the_proof() -> None:
    page = Page(report_html(result(), "take.mp3", NOW))
    for wanted in (
        "take.mp3", "output 7", "Break", "Keys", "Night Shift Recordings", "LicenseRef-NightShift",
        "still granted", "25.0 %", "12.5 %", "0.61", "ab" * 32, "cd" * 32, "ef" * 32, "0.62",
        "entry 3 of a log of 5",
    ):  # fmt: skip
        assert wanted in page.text, wanted
    assert page.tags.count("svg") == 3
    assert page.tags.count("polyline") == 4


def test_a_license_that_ended_since_is_shown() -> None:
    ended = replace(RIGHTS, licenses={LICENSE.key: replace(LICENSE, valid_until=date(2026, 1, 1))})
    assert "expired on 2026-01-01" in Page(report_html(result(ended), "x.wav", NOW)).text


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    text = report_html(result(), "take.mp3", NOW)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "image", "use"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {"src", "href", "xlink:href"} & names
    assert not any(name.startswith("on") for name in names)
    assert "url(" not in text and "http://" not in text and "https://" not in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "\"><img src=x onerror='y'>", "a&b"])
def test_names_are_text_and_never_markup(name: str) -> None:
    page = Page(report_html(result(title=name), name, NOW))
    assert name in page.text
    assert "script" not in page.tags and "img" not in page.tags


def test_nothing_found_is_a_page_too() -> None:
    nothing = TraceResult(False, None, 0.0, "No watermark of this key was found.")
    page = Page(report_html(nothing, "own.wav", NOW))
    assert "Nothing is known" in page.text and "svg" not in page.tags


def test_a_transplanted_mark_is_the_headline_and_has_no_sources() -> None:
    moved = replace(result(), transplanted=True, sources=(), model_share=None)
    page = Page(report_html(moved, "x.wav", NOW))
    assert "belongs to another recording" in page.text
    assert "Sources" not in page.text


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.33, 1.07), (0, 1e-6), (-0.06, 0.22), (0, 9)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    ticks = _ticks(low, high)
    assert 3 <= len(ticks) <= 8
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


def test_headings_of_numbers_stand_above_them() -> None:
    """As right-aligned as the numbers are."""
    text = report_html(result(), "take.mp3", NOW)
    for table in text.split("<table>")[1:]:
        heads = re.findall(r"<th( class=\"number\")?>", table.split("</thead>")[0])
        row = table.split("<tbody>")[1].split("</tr>")[0]
        cells = re.findall(r"<td( class=\"number\")?[ >]", row)
        assert heads == cells
