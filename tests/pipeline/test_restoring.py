"""Restored homes go on with numbers of their own, and with what was revoked and erased since."""

from __future__ import annotations

import gc
import io
import itertools
import json
import shutil
import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, inspect

from rag_audio.audio.reading import load
from rag_audio.cli.app import run
from rag_audio.domain import GenerationRequest
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.domain.names import fold
from rag_audio.errors import InvalidInput
from rag_audio.guardrails import Inspection
from rag_audio.home import Home
from rag_audio.pipeline import backup
from rag_audio.pipeline.delivery import commit, stage
from rag_audio.pipeline.renderer import Take
from rag_audio.pipeline.restore import Wanted
from rag_audio.provenance.credentials.signers import NoSigner
from rag_audio.provenance.credentials.watermark_keys import rotate_watermark, watermark_keys
from rag_audio.provenance.ledger.export import write_export
from rag_audio.provenance.ledger.later_logs import (
    Later,
    LaterEvent,
    find_carried_over,
    in_order,
    read_later,
)
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.merkle import EMPTY_ROOT
from rag_audio.provenance.ledger.records import canonical
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.settings import Settings
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, reading, sqlite_url
from tests.provenance.builders import plan, record, source
from tests.provenance.material import INFO, sound
from tests.support.fakes import FakeEmbedder, FakeIndex
from tests.support.postgres import new_schema

ENTRIES = 5
"""Of the log of the fixture ``home`` when it is archived."""
GO_ON = Wanted(go_on=lambda _what: True)
PROMPT = "song for my secret wedding"
Json = dict[str, Any]
Capture = pytest.CaptureFixture[str]


def ledger_of(home: Path) -> SqlLedger:
    return SqlLedger(connect(sqlite_url(home / "ledger.db")), home / "keys" / "ledger.key")


def make_output(ledger: SqlLedger, prompt: str = "") -> int:
    number = ledger.next_output_id()
    ledger.append(record(number, source("a"), request={"prompt": prompt}))
    return number


def revoke(home: Path, target: str, undo: bool = False) -> None:
    """As ``rag-audio revoke`` does."""
    one = Revocation(RevocationOf.ARTIST, target, "", "desk", datetime.now(UTC))
    catalogue = SqlCatalogue(connect(sqlite_url(home / "ledger.db")), SqlRightsLog())
    assert catalogue.end_revocation(one) if undo else catalogue.revoke(one)


def damage(home: Path, statement: str) -> None:
    with closing(sqlite3.connect(home / "ledger.db")) as db:
        wanted = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for (name,) in db.execute(wanted).fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute(statement)
        db.commit()


def revoked_in(home: Path) -> dict[str, str]:
    catalogue = SqlCatalogue(connect(sqlite_url(home / "ledger.db")))
    return {one.target: one.by for one in catalogue.revocations()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with two outputs, one revocation and keys, archived in ``b.tar``."""
    made = tmp_path / "home"
    made.mkdir()
    ledger = ledger_of(made)
    for _ in range(2):
        make_output(ledger, PROMPT)
    watermark_keys(ledger._engine, made / "keys")
    ledger.checkpoint()
    revoke(made, "Before")
    backup.create(made, tmp_path / "b.tar")
    return made


def go_on(home: Path) -> None:
    """What happens in the home after it was archived."""
    revoke(home, "After")
    revoke(home, "Passing")
    revoke(home, "Before", undo=True)
    revoke(home, "Passing", undo=True)
    ledger = ledger_of(home)
    later = make_output(ledger, PROMPT)
    for output in (2, later):
        ledger.erase(output)
    ledger._engine.dispose()


def said(capsys: Capture, *words: object, code: int = 0) -> Json:
    capsys.readouterr()
    assert run([*map(str, words), "--json"]) == code, capsys.readouterr()
    document: Json = json.loads(capsys.readouterr().out)
    return document


def assert_kept(home: Path) -> None:
    assert revoked_in(home) == {"After": "restore"}
    ledger = ledger_of(home)
    assert ledger.verify() == []
    entries = [ledger.find(output) for output in (1, 2)]
    assert [entry.erased for entry in entries if entry] == [False, True]
    ledger._engine.dispose()
    (prompt,) = [e.record.request["prompt"] for e in entries if e and not e.erased]
    assert prompt == PROMPT
    held = (home / "ledger.db").read_bytes().count(PROMPT.encode())
    assert held == 1, "the erased one is gone from the file too"


@settings(max_examples=5)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["make", "restore"])), max_size=8))
def test_no_number_repeats_whatever_is_restored_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str]]
) -> None:
    """Copies of one home, restored from archives of any of them, in any order."""
    base = tmp_path_factory.mktemp("copies")
    (base / "0").mkdir()
    homes = [base / "0"]
    shared = [make_output(ledger_of(homes[0]))]
    made: list[int] = []
    steps = [(0, "restore"), (0, "restore"), *steps, *((n, "make") for n in range(3))]
    for place, (which, what) in enumerate(steps):
        home = homes[which % len(homes)]
        if what == "restore":
            if len(homes) < 5:
                backup.create(home, base / f"{place}.tar")
                homes.append(base / str(len(homes)))
                backup.restore(base / f"{place}.tar", homes[-1])
            continue
        made.append(make_output(ledger_of(home)))
    assert len(set(made + shared)) == len(made) + 1
    for home in homes:
        assert ledger_of(home).verify() == []


def test_restored_homes_trace_their_own_outputs_and_no_others(tmp_path: Path) -> None:
    def opened(home: Path) -> Home:
        opened_home = Home(Settings(home=home))
        opened_home.embedder, opened_home.index = FakeEmbedder(), FakeIndex()
        opened_home.signer = NoSigner()
        return opened_home

    def deliver(opened_home: Home, seed: int) -> tuple[int, Path]:
        request = GenerationRequest("dusty drums")
        made = plan(references=(), seed_parts=())
        take = sound(6.0)
        noise = np.random.default_rng(seed).standard_normal(take.samples.shape) * 0.1
        take = type(take)(noise.astype(np.float32), take.sample_rate)
        target = tmp_path / f"{opened_home.folder.name}-{seed}.wav"
        made_take = Take(take, seed, made, Inspection((), None))
        staged = stage(opened_home, request, made_take, datetime.now(UTC), INFO, target)
        (result,) = commit(opened_home, [staged])
        return result.record.output, target

    original = opened(tmp_path / "original")
    deliver(original, 0)
    backup.create(original.folder, tmp_path / "b.tar")
    homes = [original]
    for name in ("a", "b"):
        backup.restore(tmp_path / "b.tar", tmp_path / name)
        homes.append(opened(tmp_path / name))
    made = [deliver(opened_home, seed) for seed, opened_home in enumerate(homes, start=1)]
    assert len({number for number, _ in made}) == 3
    for maker, (number, file) in zip(homes, made, strict=True):
        mark = maker.watermarker.detect(load(file, start_s=0.5)).mark
        assert mark is not None and mark.payload == number
        knows = [opened_home.ledger.find(number) is not None for opened_home in homes]
        assert knows == [opened_home is maker for opened_home in homes]
        assert maker.ledger.verify() == []


def test_a_home_whose_database_is_older_than_its_masters_goes_on_elsewhere(home: Path) -> None:
    (home / "masters").mkdir()
    (home / "masters" / "3.wav").write_bytes(b"of an output that the database forgot")
    opened_home = Home(Settings(home=home))
    number = opened_home.ledger.next_output_id()
    assert number > 10**9 and opened_home.ledger.next_output_id() == number + 1
    assert opened_home.ledger.verify() == []
    opened_home.close()


def test_what_the_archived_home_says_later_is_kept_by_itself(
    home: Path, tmp_path: Path, capsys: Capture
) -> None:
    go_on(home)
    done = said(capsys, "restore", tmp_path / "b.tar", "--home", tmp_path / "again")
    entries = done["entries"]
    assert done["kept"] == {
        "revocations": [
            {"of": "artist", "target": "After", "undo": False, "entry": entries + 1},
            {"of": "artist", "target": "Passing", "undo": False, "entry": entries + 2},
            {"of": "artist", "target": "Before", "undo": True, "entry": entries + 3},
            {"of": "artist", "target": "Passing", "undo": True, "entry": entries + 4},
        ],
        "erasures": [{"output": 2, "entry": entries + 6}],
    }
    assert any("is still there" in line for line in done["warnings"])
    assert_kept(tmp_path / "again")
    (told,) = said(capsys, "ledger", "verify", "--home", tmp_path / "again")["restores"]
    assert (told["seq"], told["entries"]) == (entries + 1, entries)
    assert (told["kept"], told["numbers_from"]) == (
        {"revocations": 4, "erasures": 1},
        done["numbers_from"],
    )
    capsys.readouterr()
    assert run(["ledger", "verify", "--home", str(tmp_path / "again")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"what was logged after entry {entries} of the earlier log is not in it" in shown


@pytest.mark.parametrize("what", ["home", "export", "folder", "backup", "both"])
def test_a_later_log_is_named(home: Path, tmp_path: Path, capsys: Capture, what: str) -> None:
    go_on(home)
    moved, export = tmp_path / "moved", tmp_path / "out" / "ledger.jsonl"
    write_export(ledger_of(home), export)
    backup.create(home, tmp_path / "newer.tar.gz")
    home.rename(moved)
    sources = {"home": [moved], "export": [export], "folder": [export.parent]}
    sources["backup"] = [tmp_path / "newer.tar.gz"]
    named = sources.get(what, [moved, export])
    later = [word for one in named for word in ("--later", one)]
    restore = ("restore", tmp_path / "b.tar", "--home", home)
    done = said(capsys, *restore, *later)
    assert done["later"] == [str(one) for one in named]
    assert len(done["kept"]["revocations"]) == 4, "each once"
    assert_kept(home)


def test_without_a_later_log_somebody_has_to_say_so(
    home: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on(home)
    shutil.rmtree(home)
    restore = ("restore", tmp_path / "b.tar", "--home", home)
    error = said(capsys, *restore, code=2)["error"]
    assert "revocations and erasures made after 20" in error["message"]
    assert "--later" in error["hint"] and "--yes" in error["hint"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar"]

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    said(capsys, *restore, code=2)
    assert not home.exists()
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert said(capsys, *restore)["kept"] == {"revocations": [], "erasures": []}
    assert revoked_in(home) == {"Before": "desk"}
    shutil.rmtree(home)
    monkeypatch.undo()
    done = said(capsys, *restore, "--yes")
    assert any("revocations and erasures made after" in line for line in done["warnings"])


def test_a_log_that_is_no_continuation_is_refused(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for _ in range(9):
        make_output(ledger_of(other))
    short = tmp_path / "short"
    short.mkdir()
    ledger_of(short)
    (tmp_path / "song.wav").write_bytes(b"RIFF" * 100)
    for source_ in (other, short, tmp_path / "song.wav", tmp_path):
        with pytest.raises(InvalidInput, match="does not go on from the archive's") as refused:
            backup.restore(tmp_path / "b.tar", tmp_path / "again", None, Wanted((source_,)))
        assert "\n" not in refused.value.message
        assert not (tmp_path / "again").exists()
    shutil.rmtree(home)
    other.rename(home)
    with pytest.raises(InvalidInput, match="nothing is restored: revocations and erasures"):
        backup.restore(tmp_path / "b.tar", tmp_path / "again")


@pytest.mark.parametrize("what", ["home", "export"])
def test_of_a_damaged_log_what_verifies_is_taken(home: Path, tmp_path: Path, what: str) -> None:
    go_on(home)
    export = write_export(ledger_of(home), tmp_path / "ledger.jsonl")
    lines = export.read_bytes().splitlines(keepends=True)
    export.write_bytes(b"".join(line.replace(b"Passing", b"Nobody!") for line in lines))
    with closing(sqlite3.connect(home / "ledger.db")) as db:
        db.execute("DROP TRIGGER ledger_entries_no_update")
        db.execute(
            "UPDATE ledger_entries SET document = CAST(replace(CAST(document AS TEXT), 'Passing', "
            "'Nobody!') AS BLOB)"
        )
        db.commit()
    wanted = Wanted((home if what == "home" else export,))
    with pytest.raises(InvalidInput, match=r"verifies up to entry 6 of 1\d only") as refused:
        backup.restore(tmp_path / "b.tar", tmp_path / "again", None, wanted)
    assert "what was revoked or erased after it is not known" in refused.value.message
    assert "--later" in str(refused.value.hint) and "--yes" in str(refused.value.hint)
    wanted = Wanted(wanted.later, GO_ON.go_on)
    done = backup.restore(tmp_path / "b.tar", tmp_path / "again", None, wanted)
    assert done.restored is not None
    assert [one.target for _, one in done.restored.kept.revoked] == ["After"]
    assert any("verifies up to entry 6 of" in line for line in done.warnings)
    assert revoked_in(tmp_path / "again") == {"Before": "desk", "After": "restore"}
    assert ledger_of(tmp_path / "again").verify() == []


def test_a_damaged_log_is_no_question_where_a_whole_one_has_as_much(
    home: Path, tmp_path: Path
) -> None:
    shorter = write_export(ledger_of(home), tmp_path / "shorter.jsonl")
    go_on(home)
    whole = write_export(ledger_of(home), tmp_path / "ledger.jsonl")
    damage(home, f"DELETE FROM ledger_entries WHERE seq > {ENTRIES + 2}")  # noqa: S608
    with pytest.raises(InvalidInput, match=f"verifies up to entry {ENTRIES + 2} of "):
        backup.restore(tmp_path / "b.tar", tmp_path / "again", None, Wanted((shorter,)))
    done = backup.restore(tmp_path / "b.tar", tmp_path / "again", None, Wanted((whole,)))
    assert any("is whole, was looked through" in line for line in done.warnings)
    assert_kept(tmp_path / "again")


@pytest.mark.parametrize(
    "column",
    [
        "document = replace(CAST(document AS TEXT), 'a', 'b')",
        "document = CAST(document AS TEXT) || char(0)",
        "document = CAST(x'ff00fe' AS TEXT)",
        "document = 7",
        "document = zeroblob(9)",
        f"document = CAST('{'[' * 100_000}' AS BLOB)",
        "leaf_hash = CAST(x'ff00fe' AS TEXT)",
        "leaf_hash = x'00'",
        "leaf_hash = 7",
    ],
)
def test_rows_of_any_type_in_a_later_log_are_damage(
    home: Path, tmp_path: Path, column: str
) -> None:
    go_on(home)
    damage(home, f"UPDATE ledger_entries SET {column} WHERE seq = {ENTRIES + 2}")  # noqa: S608
    with pytest.raises(InvalidInput, match=rf"verifies up to entry {ENTRIES + 1} of 1\d"):
        backup.restore(tmp_path / "b.tar", tmp_path / "again")
    done = backup.restore(tmp_path / "b.tar", tmp_path / "again", None, GO_ON)
    assert any("what was revoked or erased after it is not known" in w for w in done.warnings)
    assert ledger_of(tmp_path / "again").verify() == []


def test_a_later_log_is_read_without_holding_what_is_not_asked_of_it(
    home: Path, tmp_path: Path
) -> None:
    """Of all numbers one, no events but those that are carried over, no names of an archive."""
    go_on(home)
    ledger = ledger_of(home)
    made = [make_output(ledger, PROMPT) for _ in range(3)]
    ledger.append_event("influence", {"output": made[0], "shares": {}})
    (home / "outputs").mkdir()
    peaks = []
    for count in (50, 1450):
        for n in range(count):
            (home / "outputs" / f"{n:0100}").touch()
        newer = tmp_path / f"{count}.tar"
        backup.create(home, newer)
        gc.collect()
        tracemalloc.start()
        later = read_later(newer, 0, EMPTY_ROOT, None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert later.outputs == {made[-1]}
    assert {event.kind for event in later.events} == {"revocation", "erasure", "key"}
    assert peaks[1] < peaks[0] + 400_000  # A TarInfo of each is 1.4 MB more.


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE ledger_entries",
        "UPDATE ledger_tree SET size = 'many', root = x'ff'",
        "UPDATE ledger_tree SET root = CAST(x'ff00fe' AS TEXT)",
        "ALTER TABLE ledger_entries RENAME COLUMN document TO said",
        "UPDATE ledger_entries SET document = 'x' WHERE seq = 1",
    ],
)
def test_a_later_database_of_any_kind_is_told_of_or_refused(
    home: Path, tmp_path: Path, statement: str
) -> None:
    go_on(home)
    home.rename(tmp_path / "moved")
    damage(tmp_path / "moved", statement)
    said = "verifies up to entry|does not go on from the archive's"
    with pytest.raises(InvalidInput, match=said):
        backup.restore(tmp_path / "b.tar", home, None, Wanted((tmp_path / "moved",)))
    assert not home.exists()


@pytest.mark.parametrize(
    "said",
    [
        {"of": "moon", "target": "x", "undo": False},
        {"of": "artist", "target": 5, "undo": False},
        {"of": ["artist"], "target": "x"},
        {},
        {"of": "artist", "target": "x", "first_logged": "yesterday"},
        {"of": "artist", "target": "x", "first_logged": "2026-01-01T00:00:00"},
    ],
)
def test_an_event_that_says_nothing_usable_is_damage(
    home: Path, tmp_path: Path, said: Json
) -> None:
    revoke(home, "After")
    ledger_of(home).append_event("revocation", said)
    with pytest.raises(InvalidInput, match=rf"up to entry {ENTRIES + 1} .*\(entry {ENTRIES + 2} "):
        backup.restore(tmp_path / "b.tar", tmp_path / "again")
    backup.restore(tmp_path / "b.tar", tmp_path / "again", None, GO_ON)
    assert set(revoked_in(tmp_path / "again")) == {"Before", "After"}


@pytest.mark.parametrize("how", ["nested", "key", "checkpoint"])
def test_an_export_with_an_odd_first_line_is_refused(home: Path, tmp_path: Path, how: str) -> None:
    file = write_export(ledger_of(home), tmp_path / "ledger.jsonl")
    first, rest = file.read_bytes().split(b"\n", 1)
    odd = b"[" * 100_000 if how == "nested" else canonical({**json.loads(first), how: 5})
    file.write_bytes(odd + b"\n" + rest)
    with pytest.raises(InvalidInput, match="does not go on from the archive's"):
        backup.restore(tmp_path / "b.tar", tmp_path / "again", None, Wanted((file,)))


def test_a_newer_revocation_outlives_an_older_undo_of_another_log(
    home: Path, tmp_path: Path
) -> None:
    moved = home.rename(tmp_path / "moved")
    homes = [tmp_path / "res1", tmp_path / "res2"]
    for one in homes:
        backup.restore(tmp_path / "b.tar", one, None, GO_ON)
    revoke(homes[0], "Twice")
    revoke(homes[0], "Twice", undo=True)
    revoke(moved, "Before", undo=True)
    revoke(homes[1], "Before", undo=True)
    revoke(homes[1], "Twice")
    revoke(homes[1], "Before")
    # An undo that was taken over by a restore is as old as in the log that it is of.
    backup.restore(tmp_path / "b.tar", tmp_path / "res3", None, Wanted((moved,)))
    homes.append(tmp_path / "res3")
    kept = []
    for n, order in enumerate(itertools.permutations(homes)):
        done = backup.restore(tmp_path / "b.tar", tmp_path / f"again{n}", None, Wanted(order))
        assert set(revoked_in(tmp_path / f"again{n}")) == {"Before", "Twice"}
        assert done.restored is not None
        kept.append(done.restored.kept.to_json())
    assert kept == kept[:1] * 6


def test_what_two_logs_both_hold_is_kept_once(home: Path, tmp_path: Path, capsys: Capture) -> None:
    go_on(home)
    alone = said(capsys, "restore", tmp_path / "b.tar", "--home", tmp_path / "copy")
    later = ("--later", tmp_path / "copy", "--later", home)
    both = said(capsys, "restore", tmp_path / "b.tar", "--home", tmp_path / "again", *later)
    assert both["kept"] == alone["kept"]
    (told,) = said(capsys, "ledger", "verify", "--home", tmp_path / "again")["restores"]
    assert told["kept"] == {"revocations": 4, "erasures": 1}
    assert_kept(tmp_path / "again")
    backup.create(tmp_path / "again", tmp_path / "c.tar")
    nothing = said(capsys, "restore", tmp_path / "c.tar", "--home", tmp_path / "last", "--yes")
    assert nothing["kept"] == {"revocations": [], "erasures": []}


Step = tuple[int, str, bool]
TARGETS = ("Ana", "Bo", "bó")  # A revocation of "Bo" holds for "bó" too.


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(TARGETS), st.booleans()), max_size=9),
    st.sampled_from(TARGETS),
    st.booleans(),
)
def test_later_logs_are_merged_by_time_in_any_order(
    steps: list[Step], before: str, tied: bool
) -> None:
    """Copies of a home where ``before`` is revoked; each logs what it says, at rising times."""
    engine = _revoked_before(before)
    logs = [Later(str(n), 0, tuple(_events(steps, n, tied)), frozenset()) for n in range(3)]
    with reading(engine) as db:
        found = [find_carried_over(db, in_order(o)) for o in itertools.permutations(logs)]
    assert found == found[:1] * 6
    in_force = {before}
    for event, one in found[0].revoked:
        assert (one.target in in_force) is event.undo, "each change is one"
        in_force ^= {one.target}
    if tied:
        return
    last = {before: False} | {target: undo for _, target, undo in steps}
    for target, undo in last.items():
        alike = {other for other in in_force if fold(other) == fold(target)}
        assert target not in in_force if undo else alike, target


@cache
def _revoked_before(target: str) -> Engine:
    engine = connect("sqlite://")
    one = Revocation(RevocationOf.ARTIST, target, "", "desk", datetime(2026, 1, 1, tzinfo=UTC))
    assert SqlCatalogue(engine).revoke(one)
    return engine


def _events(steps: list[Step], log: int, tied: bool) -> Iterator[LaterEvent]:
    for seq, (which, target, undo) in enumerate(steps, start=2):
        if which == log:
            at = datetime(2026, 1, 2, second=0 if tied else seq, tzinfo=UTC)
            one = Revocation(RevocationOf.ARTIST, target, "", "restore", at)
            leaf = f"{seq} {log}".encode()
            yield LaterEvent(seq, leaf, "revocation", at, None, {"undo": undo}, one)


def test_an_old_checkpoint_that_knows_more_says_why(home: Path, tmp_path: Path) -> None:
    go_on(home)
    ledger = ledger_of(home)
    note, key = ledger.checkpoint(), ledger.verifier_key()
    shutil.rmtree(home)
    backup.restore(tmp_path / "b.tar", home, None, GO_ON)
    again = ledger_of(home)
    for _ in range(2):  # shorter than the checkpoint's log, then longer
        (fault,) = again.verify([note], key)
        assert "the log was restored at entry 6 from an archive of 20" in fault.what
        for _ in range(9):
            make_output(again)


def test_a_key_that_came_later_is_told(home: Path, tmp_path: Path) -> None:
    ledger = ledger_of(home)
    ledger.checkpoint()
    again = backup.restore(tmp_path / "b.tar", tmp_path / "again")
    assert not any("key" in line for line in again.warnings)
    rotate_watermark(ledger._engine, home / "keys")
    warned = backup.restore(tmp_path / "b.tar", tmp_path / "third").warnings
    assert any("came into use after the archive was made" in line for line in warned)


def test_keys_that_are_missing_are_told_and_those_of_another_home_refused(
    home: Path, tmp_path: Path
) -> None:
    (home / "keys" / "ledger.key").unlink()
    backup.create(home, tmp_path / "c.tar")
    done = backup.restore(tmp_path / "c.tar", tmp_path / "again")
    assert any("ledger key" in line and "not in the archive" in line for line in done.warnings)
    (home / "keys" / "watermark.key").write_bytes(bytes(32))
    backup.create(home, tmp_path / "d.tar")
    with pytest.raises(InvalidInput, match="not the database's watermark key"):
        backup.restore(tmp_path / "d.tar", tmp_path / "third")
    assert not (tmp_path / "third").exists()
    assert backup.restore(tmp_path / "d.tar", tmp_path / "third", None, GO_ON).warnings


def test_a_database_elsewhere_is_restored_whole_or_not_at_all(
    home: Path, tmp_path: Path, postgres_url: str, _postgres_server: str
) -> None:
    engine, other = connect(postgres_url), connect(new_schema(_postgres_server))
    ledger = SqlLedger(engine, home / "keys" / "elsewhere.key")
    numbers = [make_output(ledger, PROMPT) for _ in range(2)]
    backup.create(home, tmp_path / "e.tar", engine)
    (home / "keys" / "ledger.key").unlink()
    backup.create(home, tmp_path / "f.tar", engine)
    ledger.append_event("revocation", {"of": "artist", "target": "After", "undo": False})
    ledger.erase(1)
    numbers.append(make_output(ledger))
    export = write_export(ledger, tmp_path / "ledger.jsonl")
    with pytest.raises(InvalidInput, match="revocations and erasures"):
        backup.restore(tmp_path / "e.tar", tmp_path / "again", other)
    assert inspect(other).get_table_names() == [] and not (tmp_path / "again").exists()
    wanted = Wanted((export,))
    with pytest.raises(InvalidInput, match="signed by another key"):
        backup.restore(tmp_path / "e.tar", tmp_path / "again", other, wanted)
    done = backup.restore(tmp_path / "f.tar", tmp_path / "again", other, wanted)
    restored = SqlLedger(other)
    assert done.restored is not None and restored.verify() == []
    assert [one.target for one in SqlCatalogue(other).revocations()] == ["After"]
    assert [entry.erased for entry in restored.outputs()] == [True, False]
    numbers.append(make_output(restored))
    numbers.append(make_output(ledger))
    assert len(set(numbers)) == 5
    for one in (engine, other):
        one.dispose()
