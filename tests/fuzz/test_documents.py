"""Damaged plans, notes, scores and tables: understood, or refused in a line."""

from __future__ import annotations

import json
import lzma
import tempfile
import time
from contextlib import suppress
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from indexer.licenses import read_library
from indexer.survey import Limits, survey
from rag_audio.audio.scores import parse, score_from_json, score_to_json
from rag_audio.domain.plan import notes_from_text, plan_from_json, plan_to_json
from rag_audio.errors import InvalidInput
from rag_audio.provenance.ledger.signed_notes import (
    LogCheckpoint,
    SigningKey,
    VerifierKey,
    read_checkpoint,
    signing_key,
)
from tests.fuzz.harness import LONG_S, altered, damaged, fuzzed
from tests.golden.test_golden_documents import HERE, KEEPING
from tests.support import label_files as made
from tests.support.label_drive import LIBRARY_TOML


@lru_cache
def _plans() -> tuple[dict[str, Any], ...]:
    texts = json.loads(lzma.decompress((HERE / KEEPING[-1] / "documents.json.xz").read_bytes()))
    return tuple(json.loads(text) for text in texts["plans"].values())


@fuzzed(st.deferred(lambda: altered(_plans())), examples=250)
def test_plans(document: Any) -> None:
    plan = plan_from_json(document)
    # What is read can be written, and read again.
    assert plan_to_json(plan_from_json(plan_to_json(plan))) == plan_to_json(plan)


@fuzzed(st.text(alphabet="0123456789.-: \n", max_size=60), examples=200)
def test_notes_of_a_melody(text: str) -> None:
    notes_from_text(text)


@lru_cache
def _scores() -> tuple[dict[str, Any], ...]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.mid"
        file.write_bytes(made.score(1))
        return (score_to_json(parse(file)),)


@fuzzed(st.deferred(lambda: altered(_scores())), examples=200)
def test_scores_of_another_process(document: Any) -> None:
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        score_from_json(document)


_KEY = signing_key(bytes(32))
_ROOT = bytes(range(32))
_NOTE = _KEY.sign(LogCheckpoint(_KEY.name, 7, _ROOT).text).encode()
_OTHER = SigningKey("other/log", bytes(32)).sign("other/log\n1\nx\n").encode()


@fuzzed(damaged([_NOTE, _NOTE + b"extension\n", _OTHER, str(_KEY.verifier).encode()]), examples=300)
def test_signed_notes(content: bytes) -> None:
    text = content.decode("utf-8", "replace")
    with suppress(InvalidInput):
        VerifierKey.parse(text)
    # A damaged note is refused, or says what it said.
    checkpoint = read_checkpoint(text, _KEY.verifier)
    assert (checkpoint.size, checkpoint.root) == (7, _ROOT)


_ROWS = (
    "path,license,artist,title,bpm,key,tags,isrc,downbeat_s\n*.wav,full,Björn,x,92,5A,a;b,,0.5\n"
)
_TABLES = tuple(
    text.encode(encoding)
    for text in (
        _ROWS,
        _ROWS.replace(",", ";").replace("\n", "\r\n"),
        _ROWS.replace(",", "\t"),
        'path,license,title\n"a, b/*.wav",full,"say ""x"""\n[FINAL]/**,words,\n**,full,\n',
    )
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252")
)
_TOMLS = (
    LIBRARY_TOML.encode(),
    LIBRARY_TOML.replace("[licenses.words]", '[licenses."a.b"]\nmax_similarity = 0.9').encode(),
    b"[library]\nname = " + b"[" * 3000,
    b"[library]\nname = 'x'\n[licenses.a]\nholder='h'\nspdx='s'\nuses=[]\nvalid_from=2020-01-01\n",
)


def _surveyed(toml: bytes, table: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("a.wav", "[FINAL]/b.wav", "Björn.wav"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(b"x")
        (root / "library.toml").write_bytes(toml)
        (root / "stems.csv").write_bytes(table)
        survey(read_library(root), date(2026, 6, 1), (), Limits())


@fuzzed(damaged(_TABLES, most=5), examples=300)
def test_tables_of_stems(content: bytes) -> None:
    _surveyed(_TOMLS[0], content)


@fuzzed(damaged(_TOMLS, most=5), examples=200)
def test_tables_of_licenses(content: bytes) -> None:
    _surveyed(content, _TABLES[0])


@pytest.mark.parametrize("sign", "*?[")
def test_patterns_of_many_wildcards_end(sign: str) -> None:
    """Patterns are matched in time that does not explode with their length."""
    pattern = f"{sign}a" * 40 + "]b"
    row = f"path,license\n{pattern},full\n**/{'*a' * 25}b,full\n".encode()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / ("a" * 60 + ".wav")).write_bytes(b"x")
        (root / "library.toml").write_text(LIBRARY_TOML, encoding="utf-8")
        (root / "stems.csv").write_bytes(row)
        begun = time.process_time()
        survey(read_library(root), date(2026, 6, 1), (), Limits())
        assert time.process_time() - begun < LONG_S
