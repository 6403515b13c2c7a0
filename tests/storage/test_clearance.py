"""How much one request reads: rights twice, each file once, and few SQL statements."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

import rag_audio
from rag_audio.domain.clearance import Clearance
from rag_audio.errors import LibraryError
from rag_audio.storage import cache
from rag_audio.storage.catalogue import SqlCatalogue
from tests.support.small_library import write_library

MOST_STATEMENTS = 25
_VALUE = re.compile(r"x?'(?:[^']|'')*'|\b[\d.]+(?:e[+-]?\d+)?\b", re.IGNORECASE)


@contextmanager
def statements() -> Iterator[list[str]]:
    """What SQLite runs, by whatever way; one statement for many rows of values counts once."""
    ran: list[str] = []

    def note(sql: str) -> None:
        kind = sql.split(" ", 1)[0]
        said = _VALUE.sub("?", sql)
        if kind in ("SELECT", "INSERT", "UPDATE", "DELETE") and ran[-1:] != [said]:
            ran.append(said)

    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_trace_callback(note)

    event.listen(Engine, "connect", connected)
    try:
        yield ran
    finally:
        event.remove(Engine, "connect", connected)


def count_hashes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the hashes of files, by path, in every module that makes some."""
    hashed: Counter[str] = Counter()

    def counting(real: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(real)
        def count(path: Path) -> Any:
            hashed[str(path)] += 1
            return real(path)

        return count

    for module in [m for name, m in sys.modules.items() if name.split(".")[0] == "rag_audio"]:
        if "file_sha256" in vars(module):
            monkeypatch.setattr(module, "file_sha256", counting(vars(module)["file_sha256"]))
    return hashed


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clearance")
    library = write_library(folder / "library")
    with rag_audio.open(folder / "home", territory="DE") as workspace:
        workspace.index(library)
        workspace.generate("piano", folder / "0.wav", duration_s=3.0, steps=2)
    return folder / "home"


@pytest.mark.parametrize("named", [False, True])
def test_one_generate_with_three_references(
    named: bool, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rag_audio.open(home) as workspace:
        stems = [stem.id for stem in workspace.home.catalogue.stems() if stem.license != "gone"]
    cache._content_hash.cache_clear()  # as in a process of its own
    hashed = count_hashes(monkeypatch)
    read: list[Any] = []
    for name in ("rights", "clearance"):
        real = getattr(SqlCatalogue, name)

        def counted(self: SqlCatalogue, *given: Any, real: Any = real, **more: Any) -> Any:
            read.append(real(self, *given, **more))
            return read[-1]

        monkeypatch.setattr(SqlCatalogue, name, counted)
    asked: dict[str, Any] = {"references": tuple(stems[:3])} if named else {"k": 3}
    quick = {"duration_s": 3.0, "steps": 2, "seed": 1, **asked}
    with statements() as ran, rag_audio.open(home, territory="DE") as workspace:
        (made,) = workspace.generate("warm electric piano", tmp_path / "1.wav", **quick)
        first, cold = list(ran), Counter(hashed)
        workspace.generate("warm electric piano", tmp_path / "2.wav", **quick)
    # Found ones may be three that speak and three others that sound.
    assert len(made.record.sources) == 3 or (not named and 3 < len(made.record.sources) <= 6)
    assert len(first) <= MOST_STATEMENTS, "\n".join(first)
    assert len(ran) - len(first) <= MOST_STATEMENTS
    assert cold and set(cold.values()) == {1}, cold
    assert [p for p in hashed if p.startswith(str(home.parent / "library"))], hashed
    assert max(hashed.values()) == 1
    assert len(read) == 4  # two for each
    assert all(isinstance(one, Clearance) for one in read)
    assert len({one.revision for one in read}) == 1
    assert read[0].moment < read[1].moment


def test_a_file_that_changed_is_hashed_again(home: Path, tmp_path: Path) -> None:
    library = home.parent / "library"
    before = (library / "full_a.wav").read_bytes()
    with rag_audio.open(home) as workspace:
        named = next(s for s in workspace.home.catalogue.stems() if s.path == "full_a.wav")
        asked: dict[str, Any] = {"references": (named.id,), "duration_s": 3.0, "steps": 2}
        workspace.generate("piano", tmp_path / "1.wav", **asked)
        try:
            (library / "full_a.wav").write_bytes(before[:-2] + b"\x11\x22")
            with pytest.raises(LibraryError, match="changed since it was indexed"):
                workspace.generate("piano", tmp_path / "2.wav", **asked)
        finally:
            (library / "full_a.wav").write_bytes(before)
