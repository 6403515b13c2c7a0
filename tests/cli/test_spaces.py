"""``rag-audio index --space``, ``--switch`` and ``--roll-back`` on a home."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rag_audio import home as homes
from rag_audio.cli.app import run
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.domain.ports import Embedder
from rag_audio.home import Home
from rag_audio.service.revoking import end_revocation, revoke_source
from rag_audio.settings import Settings
from tests.indexer.library import tone, use_quick_analysis, write_tables
from tests.support.fakes import FakeEmbedder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home with a library of three files; embedders are made by their names."""
    memory = Path("/dev/shm")  # noqa: S108 (a folder of our own is made in it)
    use_quick_analysis(monkeypatch.setattr)

    def load(self: Home, named: str | None) -> Embedder:
        return FakeEmbedder(named or "fake-1")

    monkeypatch.setattr(homes.Home, "load_embedder", load)
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as one:
        folder = Path(one)
        monkeypatch.setenv("RAG_AUDIO_HOME", str(folder / "home"))
        for n in range(3):
            tone(folder / "library" / f"{n}.wav", 200 + 40 * n, seconds=2)
        write_tables(folder / "library", "**,full,The Band,,,,drums,,")
        assert run(["index", str(folder / "library"), "--json"]) == 0
        yield folder


def told(capsys: pytest.CaptureFixture[str], *asked: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*asked, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def opened(place: Path) -> Home:
    return Home(Settings(home=place / "home"))


def test_one_call_switches_and_one_goes_back(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = told(capsys, "index", "--space", "fake-2")
    assert (filled["embedded"], filled["switched"], filled["space"]) == (3, False, "fake-2")
    with opened(place) as home:
        assert home.embedder.space == "fake-1"
    switched = told(capsys, "index", "--space", "fake-2", "--switch")
    assert (switched["embedded"], switched["skipped"], switched["switched"]) == (0, 3, True)
    with opened(place) as home:
        assert home.embedder.space == home.index.space == "fake-2"
        assert home.index.count() == 3
    assert told(capsys, "index", str(place / "library"))["skipped"] == 3
    assert told(capsys, "index", "--roll-back")["space"] == "fake-1"
    with opened(place) as home:
        assert home.embedder.space == "fake-1"
        assert home.index.count() == 3
    assert told(capsys, "index", str(place / "library"))["skipped"] == 3


def test_an_embedder_that_is_set_keeps_its_word_and_that_is_said(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_AUDIO_EMBEDDER", "fake-1")
    assert run(["index", "--space", "fake-2", "--switch"]) == 0
    said = capsys.readouterr()
    assert "rag-audio index --roll-back goes back" in " ".join(said.out.split())
    assert "RAG_AUDIO_EMBEDDER names fake-1" in " ".join(said.err.split())
    monkeypatch.delenv("RAG_AUDIO_EMBEDDER")
    with opened(place) as home:
        assert home.embedder.space == "fake-2"
    with Home(Settings(home=place / "home", embedder="fake-1")) as home:
        assert (home.index.space, home.index.count()) == ("fake-1", 3)
    assert run(["index", "--roll-back"]) == 0
    with opened(place) as home:
        assert home.spaces.embedder_in_use() == "fake-1"


def test_what_does_not_go_together_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = str(place / "library")
    for asked, said in (
        ((), "name one of LIBRARY, --space EMBEDDER and --roll-back"),
        ((library, "--space", "fake-2"), "name one of LIBRARY"),
        ((library, "--switch"), "--switch needs --space"),
        (("--space", "fake-2", "--incomplete"), "--incomplete needs --switch"),
        (("--space", "fake-2", "--prune"), "--prune: only for the indexing of a LIBRARY"),
        (("--roll-back", "--refresh", "analysis"), "--refresh: only for the indexing"),
        (("--space", "fake-2", "--engine", "ray", "--join"), "--engine, --join: only for"),
        (("--space", "fake-2", "--analysis", "none"), "--analysis: only for the indexing"),
        (("--space", "fake-1"), "is of embedder fake already"),
        (("--roll-back",), "no embedding space was in use before"),
    ):
        assert said in told(capsys, "index", *asked, code=2)["error"]["message"]


def test_a_revocation_reaches_all_embedding_spaces(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, "index", "--space", "fake-2", "--switch")
    told(capsys, "index", "--space", "fake-3")
    with opened(place) as home:
        stem = home.catalogue.stems()[0].id
        asked = Revocation(RevocationOf.STEM, stem, "", "tester", datetime.now(UTC))
        assert revoke_source(home, asked)["purged"]["segments"] == 1
        home.index.close()
        assert {one.space: one.points for one in home.spaces.spaces()} == {
            "fake-1": 2,
            "fake-2": 2,
            "fake-3": 2,
        }
        end_revocation(home, asked)
