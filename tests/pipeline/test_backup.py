"""A home in one file and back; hostile and broken archives bring nothing."""

from __future__ import annotations

import fcntl
import gc
import io
import json
import sqlite3
import tarfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, inspect

from rag_audio.cli.app import run
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.errors import (
    BackendUnavailable,
    ConfigError,
    InvalidInput,
    RagAudioError,
    UnreadableFile,
)
from rag_audio.pipeline import backup, home_files
from rag_audio.pipeline.backup import Done
from rag_audio.pipeline.home_files import Filed, Listing
from rag_audio.pipeline.restore import Wanted
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.provenance.trace.fingerprint import Fingerprint
from rag_audio.provenance.trace.fingerprint_store import SqlFingerprints
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url
from rag_audio.storage.database_export import read_dump, write_dump
from rag_audio.storage.locks import FileLock
from rag_audio.storage.migrations import HEAD
from tests.provenance.builders import record, source
from tests.support.postgres import new_schema

REVOKED = Revocation(RevocationOf.ARTIST, "Somebody", "", "desk", datetime(2026, 5, 1, tzinfo=UTC))
GO_ON = Wanted(go_on=lambda _what: True)
PRINT = Fingerprint(np.array([5, 6, 9]), np.array([0, 10, 20]), 4.0)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    for folder, name, content in (
        ("keys", "watermark.key", b"k" * 32),
        ("masters", "1.wav", b"RIFF" * 300_000),
        ("index/shard", "segment", b"vectors"),
        ("index", "lock", b"who"),
        (".", "notes ü.txt", b""),
    ):
        (made / folder).mkdir(parents=True, exist_ok=True)
        (made / folder / name).write_bytes(content)
    ledger = SqlLedger(connect(sqlite_url(made / "ledger.db")), made / "keys" / "ledger.key")
    ledger.append(record(ledger.next_output_id()))
    ledger.checkpoint()
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file()
        and not path.name.startswith("ledger.db")
        and path.name not in ("lock", "queue.lock")
    }


@pytest.mark.parametrize("name", ["b.tar", "b.tar.gz", "b.tgz"])
def test_a_home_comes_back_as_it_was(home: Path, tmp_path: Path, name: str) -> None:
    made = backup.create(home, tmp_path / name)
    assert made.files == 6
    assert any("cannot trace" in warning for warning in made.warnings)
    again = tmp_path / "again"
    assert backup.restore(tmp_path / name, again).files == 6
    assert contents(again) == contents(home)
    assert (again / "keys" / "watermark.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    ledger = SqlLedger(connect(sqlite_url(again / "ledger.db")), again / "keys" / "ledger.key")
    assert (ledger.size(), ledger.verify()) == (3, [])
    assert names(tmp_path) == sorted(["home", "again", name])


def test_sound_that_waits_for_the_embedder_is_not_copied(home: Path, tmp_path: Path) -> None:
    waiting = home / "spool" / ".index.0123456789abcdef" / "sound-x.f32"
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(bytes(100))
    archive = tmp_path / "home.tar"
    backup.create(home, archive)
    with tarfile.open(archive) as tar:
        assert [name for name in tar.getnames() if "spool" in name] == []
        assert "home/keys/watermark.key" in tar.getnames()


def test_what_is_not_checkpointed_yet_is_in_the_copy(home: Path, tmp_path: Path) -> None:
    ledger = SqlLedger(connect(sqlite_url(home / "ledger.db")))
    with closing(sqlite3.connect(home / "ledger.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM ledger_entries").fetchone()
        ledger.append(record(ledger.next_output_id()))
        assert (home / "ledger.db-wal").stat().st_size > 0
        backup.create(home, tmp_path / "b.tar")
    backup.restore(tmp_path / "b.tar", tmp_path / "again")
    assert len(SqlLedger(connect(sqlite_url(tmp_path / "again" / "ledger.db"))).outputs()) == 2


def test_an_index_that_somebody_holds_for_long_is_not_copied(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_audio.storage.locks.WAIT_S", 0.1)
    lock = FileLock(home / "index" / "lock", "the index")
    with pytest.raises(BackendUnavailable, match="in use by"):
        backup.create(home, tmp_path / "b.tar")
    lock.release()
    assert names(tmp_path) == ["home"]


def test_an_index_that_somebody_holds_for_a_moment_is_waited_for(
    home: Path, tmp_path: Path
) -> None:
    lock = FileLock(home / "index" / "lock", "the index")
    timer = threading.Timer(0.1, lock.release)
    timer.start()
    assert backup.create(home, tmp_path / "b.tar").files == 6
    timer.join()


def test_an_archive_in_the_home_does_not_hold_itself(home: Path) -> None:
    assert backup.create(home, home / "b.tar").files == 6


@pytest.fixture
def elsewhere(postgres_url: str, home: Path) -> Iterator[Engine]:
    """A database of a home: a ledger with events, a catalogue, a revocation, a fingerprint."""
    engine = connect(postgres_url)
    ledger = SqlLedger(engine, home / "keys" / "ledger.key")
    for name in ("a", "b", "ü 'quoted'"):
        number = ledger.next_output_id()
        kept = {"sha256": PRINT.sha256, "landmarks": len(PRINT.hashes)}
        checks = {"fingerprint": kept} if number == 1 else {}
        ledger.append(record(number, source(name), checks=checks))
    ledger.append_event("refusal", {"rules": ["named-artist"]})
    ledger.checkpoint()
    ledger.erase(2)
    rights = SqlCatalogue(engine, SqlRightsLog())
    rights.put_library("lab", "Lab", "/nowhere")
    rights.seal("lab")
    rights.revoke(REVOKED)
    SqlFingerprints(engine).put(1, PRINT)
    yield engine
    engine.dispose()


def assert_same(one: Engine, other: Engine) -> None:
    before, after = SqlLedger(one), SqlLedger(other)
    assert list(after.documents())[:-1] == list(before.documents())
    assert after.outputs() == before.outputs()
    assert (after.root(before.size()), after.verify()) == (before.root(), [])
    (restored,) = after.events("restore")
    assert after.next_output_id() == restored.document["numbers_from"] > 10**9
    assert [one.id for one in SqlCatalogue(other).libraries()] == ["lab"]
    assert SqlCatalogue(other).revocations() == [REVOKED]
    assert np.array_equal(SqlFingerprints(other).get(1).hashes, PRINT.hashes)  # type: ignore[union-attr]


def test_a_database_elsewhere_is_in_the_archive_and_comes_back(
    home: Path, tmp_path: Path, elsewhere: Engine, _postgres_server: str
) -> None:
    made = backup.create(home, tmp_path / "b.tar.gz", elsewhere)
    assert made.rows is not None and made.rows > 20
    assert names(tmp_path) == ["b.tar.gz", "home"]
    other = connect(new_schema(_postgres_server))
    again = backup.restore(tmp_path / "b.tar.gz", tmp_path / "again", other, GO_ON)
    assert again.rows == made.rows
    assert any("revocations and erasures" in line for line in again.warnings)
    assert contents(tmp_path / "again") == contents(home)
    assert_same(elsewhere, other)
    # New rows are numbered after those that were brought back.
    second = replace(REVOKED, target="Somebody Else")
    assert SqlCatalogue(other).revoke(second)
    assert SqlCatalogue(other).revocations() == [REVOKED, second]
    other.dispose()


def test_a_database_elsewhere_may_come_back_into_another_kind(
    home: Path, tmp_path: Path, elsewhere: Engine
) -> None:
    backup.create(home, tmp_path / "b.tar", elsewhere)
    other = connect(sqlite_url(tmp_path / "other" / "rights.db"))
    backup.restore(tmp_path / "b.tar", tmp_path / "again", other, GO_ON)
    assert_same(elsewhere, other)


def test_a_database_that_is_not_empty_is_never_overwritten(
    home: Path, tmp_path: Path, elsewhere: Engine
) -> None:
    backup.create(home, tmp_path / "b.tar", elsewhere)
    with pytest.raises(InvalidInput, match="is not empty"):
        backup.restore(tmp_path / "b.tar", tmp_path / "again", elsewhere, GO_ON)
    with pytest.raises(InvalidInput, match="holds a database of its own"):
        backup.restore(tmp_path / "b.tar", tmp_path / "again")
    assert names(tmp_path) == ["b.tar", "home"]
    assert SqlLedger(elsewhere).verify() == []


def test_a_restore_says_that_the_archive_holds_no_database(home: Path, tmp_path: Path) -> None:
    backup.create(home, tmp_path / "b.tar")
    other = connect(sqlite_url(tmp_path / "other.db"))
    said = backup.restore(tmp_path / "b.tar", tmp_path / "again", other).warnings
    assert any("holds no database" in line for line in said)
    assert inspect(other).get_table_names() == []


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (0, '{"format":"something"}'),
        (0, "{"),
        (1, '{"table":"pg_user","columns":["name"]}'),
        (1, '{"table":"libraries","columns":["id"]}'),
        (2, '["too short"]'),
        (2, "7"),
        (-1, '{"table":"libraries","columns":["id","name","root","salt"]}'),
    ],
)
def test_a_dump_that_is_none_brings_nothing(tmp_path: Path, line: int, what: str) -> None:
    engine = connect(sqlite_url(tmp_path / "one.db"))
    SqlCatalogue(engine).put_library("lab", "Lab", "/nowhere")
    write_dump(engine, tmp_path / "dump")
    lines = (tmp_path / "dump").read_text(encoding="utf-8").splitlines()
    lines[line] = what
    (tmp_path / "dump").write_text("\n".join(lines), encoding="utf-8")
    other = connect(sqlite_url(tmp_path / "other.db"))
    with pytest.raises(InvalidInput, match="not a copy of a database"):
        read_dump(other, tmp_path / "dump")
    assert inspect(other).get_table_names() == []


@pytest.mark.parametrize(
    "row",
    [
        "[" * 100_000,
        '["\udcff", "", "", null]',  # a byte that is no UTF-8
        r'["\ud800", "", "", null]',
        f'["a", {2**70}, "", null]',
        '["a", [], "", null]',
        '["a", {}, "", null]',
        '["a", {"base64": "?"}, "", null]',
        '["a", {"base64": "YQ"}, "", null]',
    ],
)
def test_a_row_that_no_column_can_hold_brings_nothing(tmp_path: Path, row: str) -> None:
    engine = connect(sqlite_url(tmp_path / "one.db"))
    SqlCatalogue(engine).put_library("lab", "Lab", "/nowhere")
    write_dump(engine, tmp_path / "dump")
    lines = (tmp_path / "dump").read_text(encoding="utf-8").splitlines()
    lines = [row if line.startswith('["lab"') else line for line in lines]
    assert row in lines
    (tmp_path / "dump").write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")
    other = connect(sqlite_url(tmp_path / "other.db"))
    with pytest.raises(InvalidInput, match="not a copy of a database"):
        read_dump(other, tmp_path / "dump")
    assert inspect(other).get_table_names() == []


def test_a_dump_of_an_older_schema_is_migrated_when_it_comes_back(tmp_path: Path) -> None:
    engine = connect(sqlite_url(tmp_path / "one.db"))
    ledger = SqlLedger(engine)
    ledger.append(record(ledger.next_output_id()))
    write_dump(engine, tmp_path / "dump")
    lines = (tmp_path / "dump").read_text(encoding="utf-8").splitlines()
    head, *rest = lines
    later = ("libraries", "licenses", "files", "revocations", "fingerprint")
    later += ("job", "idempotency", "uploads", "api_", "webhook")
    later += ("conflicts", "withheld", "key_fingerprints", "ledger_counter", "stem")
    later += ("catalogue_epoch", "ledger_outputs", "index_shards", "output_")
    kept = [line for line in rest if not line.startswith(tuple(f'{{"table":"{n}' for n in later))]
    counter = ['{"table":"ledger_counter","columns":["id","last_output","checksum"]}']
    counted = rest[[line.startswith('{"table":"ledger_counter') for line in rest].index(True) + 1]
    epoch = rest[[line.startswith('{"table":"catalogue_epoch') for line in rest].index(True) + 1]
    output = rest[[line.startswith('{"table":"ledger_outputs') for line in rest].index(True) + 1]
    kept = [line for line in kept if line not in (counted, epoch, output)]
    kept += [*counter, json.dumps(json.loads(counted)[:3])]
    (tmp_path / "dump").write_text("\n".join([head.replace(HEAD, "0002"), *kept]))
    other = connect(sqlite_url(tmp_path / "other.db"))
    read_dump(other, tmp_path / "dump")
    assert (SqlLedger(other).size(), SqlLedger(other).verify()) == (1, [])
    assert SqlCatalogue(other).libraries() == []
    (tmp_path / "dump").write_text("\n".join([head.replace(HEAD, "0999"), *kept]))
    with pytest.raises(ConfigError, match="'0999'"):
        read_dump(connect(sqlite_url(tmp_path / "third.db")), tmp_path / "dump")


def test_the_commands_use_the_configured_database(
    home: Path,
    tmp_path: Path,
    postgres_url: str,
    elsewhere: Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RAG_AUDIO_DATABASE_URL", postgres_url)
    assert run(["backup", str(tmp_path / "b.tar"), "--home", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] > 20
    target = sqlite_url(tmp_path / "other.db")
    monkeypatch.setenv("RAG_AUDIO_DATABASE_URL", target)
    again = str(tmp_path / "again")
    assert run(["restore", str(tmp_path / "b.tar"), "--home", again, "--json", "--yes"]) == 0
    assert_same(elsewhere, connect(target))


def test_a_home_that_is_not_empty_is_never_overwritten(home: Path, tmp_path: Path) -> None:
    backup.create(home, tmp_path / "b.tar")
    before = contents(home)
    with pytest.raises(InvalidInput, match="is not empty"):
        backup.restore(tmp_path / "b.tar", home)
    assert contents(home) == before
    (tmp_path / "empty").mkdir()
    assert backup.restore(tmp_path / "b.tar", tmp_path / "empty").files == 6


def test_wrong_names_are_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"is a \.tar or \.tar\.gz"):
        backup.create(home, tmp_path / "b.zip")
    with pytest.raises(InvalidInput, match="there is no home"):
        backup.create(tmp_path / "none", tmp_path / "b.tar")
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="cannot be written"):
        backup.create(home, tmp_path / "file" / "b.tar")


def put(tar: tarfile.TarFile, name: str, content: bytes = b"x", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(content))


X = sha256(b"x").hexdigest()


def put_manifest(tar: tarfile.TarFile, *names: str, digest: str = X) -> None:
    """One of format 2."""
    put(tar, "manifest.jsonl", b"".join(manifest_lines(*names, digest=digest)))


def manifest_lines(*names: str, digest: str = X, earlier: Sequence[str] = ()) -> list[bytes]:
    listing, left_out = Listing(Path("/tmp")), Listing(Path("/tmp"))  # noqa: S108
    file = io.BytesIO()
    with closing(listing), closing(left_out):
        for name in names:
            listing.add(Filed(name, 1, digest))
        for name in earlier:
            left_out.add(Filed(name, 1, digest))
        home_files.write({}, listing, file, left_out if earlier else None)
    return file.getvalue().splitlines(keepends=True)


def put_manifest_1(tar: tarfile.TarFile, *names: str, digest: str = X) -> None:
    files = {name: {"size": 1, "sha256": digest} for name in names}
    document = {"format": "rag-audio backup 1", "files": files}
    put(tar, "manifest.json", json.dumps(document).encode())


HOSTILE: dict[str, Callable[[tarfile.TarFile], None]] = {
    "up": lambda tar: put(tar, "home/../../evil"),
    "absolute": lambda tar: put(tar, "/tmp/evil"),  # noqa: S108
    "elsewhere": lambda tar: put(tar, "evil"),
    "the home itself": lambda tar: put(tar, "home"),
    "dots": lambda tar: put(tar, "home/./a"),
    "double slash": lambda tar: put(tar, "home//a"),
    "backslash": lambda tar: put(tar, "home/..\\evil"),
    "symlink": lambda tar: put(tar, "home/a", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": lambda tar: put(tar, "home/a", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "device": lambda tar: put(tar, "home/a", b"", type=tarfile.CHRTYPE),
    "fifo": lambda tar: put(tar, "home/a", b"", type=tarfile.FIFOTYPE),
    "twice": lambda tar: (put(tar, "home/a"), put(tar, "home/a"))[0],
    "file and folder": lambda tar: (put(tar, "home/a"), put(tar, "home/a/b"))[0],
    "no manifest": lambda tar: put(tar, "home/a"),
    "not in the manifest": lambda tar: (put(tar, "home/a"), put_manifest(tar))[0],
    "not in the archive": lambda tar: (put(tar, "home/a"), put_manifest(tar, "a", "b"))[0],
    "changed": lambda tar: (put(tar, "home/a"), put_manifest(tar, "a", digest="0" * 64))[0],
    "not in the manifest 1": lambda tar: (put(tar, "home/a"), put_manifest_1(tar))[0],
    "not in the archive 1": lambda tar: (put(tar, "home/a"), put_manifest_1(tar, "a", "b"))[0],
    "changed 1": lambda tar: (put(tar, "home/a"), put_manifest_1(tar, "a", digest="0" * 64))[0],
    "two manifests": lambda tar: (
        put(tar, "home/a"),
        put_manifest(tar, "a"),
        put_manifest_1(tar, "a"),
    )[0],
    "another order": lambda tar: (
        put(tar, "home/a"),
        put(tar, "home/b"),
        put_manifest(tar, "b", "a"),
    )[0],
    "listed twice": lambda tar: (put(tar, "home/a"), put_manifest(tar, "a", "a"))[0],
    "files that are a list 1": lambda tar: put(
        tar, "manifest.json", b'{"format": "rag-audio backup 1", "files": []}'
    ),
    "a file that is a number 1": lambda tar: (
        put(tar, "home/a"),
        put(tar, "manifest.json", b'{"format": "rag-audio backup 1", "files": {"a": 1}}'),
    )[0],
    "an endless line": lambda tar: put(tar, "manifest.jsonl", b"x" * 70_000 + b"\n"),
    "lines that are none": lambda tar: put(tar, "manifest.jsonl", b"[]\n[]\n"),
    "manifest of format 1 by the name of 2": lambda tar: put(
        tar, "manifest.jsonl", b'{"format": "rag-audio backup 1", "files": {}}\n'
    ),
    "after the manifest": lambda tar: (put_manifest(tar, "a"), put(tar, "home/a"))[0],
    "another manifest": lambda tar: put(tar, "manifest.json", b"[]"),
    "a nested manifest": lambda tar: put(tar, "manifest.jsonl", b"[" * 60_000 + b"\n"),
    "a nested manifest 1": lambda tar: put(tar, "manifest.json", b"[" * 100_000),
    "broken manifest": lambda tar: put(tar, "manifest.json", b"{"),
}


def test_archives_of_both_formats_come_back(tmp_path: Path) -> None:
    for place, manifest in (("1", put_manifest_1), ("2", put_manifest)):
        with tarfile.open(tmp_path / f"{place}.tar", "w") as tar:
            put(tar, "home/b")
            put(tar, "home/a/a")
            manifest(tar, "b", "a/a")
        made = backup.restore(tmp_path / f"{place}.tar", tmp_path / place)
        assert (made.files, made.size) == (2, 2)
        assert contents(tmp_path / place) == {"b": b"x", "a/a": b"x"}


def test_a_manifest_of_the_first_format_may_be_large_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"format": "rag-audio backup 1", "files": {"a": {"size": 1, "sha256": X}}}
    content = json.dumps({**document, "note": "n" * (65 << 20)}).encode()
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        put(tar, "home/a")
        put(tar, "manifest.json", content)
    assert backup.restore(tmp_path / "b.tar", tmp_path / "again").files == 1
    monkeypatch.setattr(home_files, "MOST_BYTES_1", 1000)
    with pytest.raises(InvalidInput, match=f"manifest has {len(content)} bytes, and 1000 are the"):
        backup.restore(tmp_path / "b.tar", tmp_path / "other")


@given(st.data())
def test_a_manifest_that_was_changed_in_any_way_is_refused(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.text(min_size=1, max_size=9), unique=True, max_size=4))
    earlier = data.draw(st.sets(st.text(min_size=1, max_size=9), max_size=2)) - set(names)
    lines = manifest_lines(*names, earlier=sorted(earlier))
    with closing(Listing(Path("/tmp"))) as found:  # noqa: S108
        for name in names:
            found.add(Filed(name, 1, X))

        def check() -> dict[str, Any]:
            with closing(Listing(Path("/tmp"))) as left_out:  # noqa: S108
                head = home_files.check(io.BytesIO(b"".join(lines)), 0, found, left_out)
                assert {one.name for one in left_out} == earlier
                return head

        assert check()["format"] == (home_files.FORMAT_3 if earlier else home_files.FORMAT)
        place = data.draw(st.integers(0, len(lines) - 1))
        how = data.draw(st.sampled_from(["drop", "twice", "cut", "flip", "more"]))
        if how == "drop":
            del lines[place]
        elif how == "twice":
            lines.insert(place, lines[place])
        elif how == "cut":
            end = data.draw(st.integers(0, len(lines[place]) - 1))
            lines[place:] = [lines[place][:end]]
        elif how == "flip":
            at = data.draw(st.integers(0, len(lines[place]) - 1))
            line = bytearray(lines[place])
            line[at] ^= data.draw(st.integers(1, 127))
            lines[place] = bytes(line)
        else:
            lines.append(b"\n")
        with pytest.raises(home_files.BadArchive):
            check()


def test_neither_way_holds_all_names_in_memory(tmp_path: Path) -> None:
    """More files take no more memory."""
    peaks = []
    for count in (50, 1450):
        home = tmp_path / f"{count}"
        (home / "outputs").mkdir(parents=True)
        for n in range(count):
            (home / "outputs" / f"{n:0100}").touch()
        gc.collect()
        gc.freeze()  # Else garbage in cycles stays longer the more the tests before have made.
        tracemalloc.start()
        backup.create(home, tmp_path / f"{count}.tar")
        backup.restore(tmp_path / f"{count}.tar", tmp_path / f"{count}-again")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        gc.unfreeze()
    assert peaks[1] < peaks[0] + 400_000  # A TarInfo of each is 1.4 MB more.


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_archive_brings_nothing(tmp_path: Path, how: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        HOSTILE[how](tar)
    with pytest.raises(InvalidInput, match="is not restored"):
        backup.restore(tmp_path / "b.tar", place / "home")
    assert names(place) == []
    assert names(tmp_path) == ["b.tar", "place"]


@pytest.mark.parametrize("name", ["b.tar", "b.tar.gz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_an_archive_that_breaks_off_brings_nothing(
    home: Path, tmp_path: Path, name: str, share: float
) -> None:
    backup.create(home, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    # The last two blocks of a tar are empty, and its end is padded: cut before them.
    end = len(whole) if name.endswith("gz") else len(whole.rstrip(b"\x00"))
    (tmp_path / name).write_bytes(whole[: int(end * share)])
    with pytest.raises(RagAudioError):
        backup.restore(tmp_path / name, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", ["b.tar", "b.tar.gz"])
def test_a_damaged_archive_brings_nothing(home: Path, tmp_path: Path, name: str) -> None:
    backup.create(home, tmp_path / name)
    whole = bytearray((tmp_path / name).read_bytes())
    for place in (0, 20, len(whole) // 3, len(whole) // 2):
        changed = whole.copy()
        changed[place] ^= 0xFF
        (tmp_path / name).write_bytes(changed)
        with pytest.raises(RagAudioError):
            backup.restore(tmp_path / name, tmp_path / "again")
        assert not (tmp_path / "again").exists()


def test_what_is_no_archive_says_so(tmp_path: Path) -> None:
    (tmp_path / "song.tar").write_bytes(b"RIFF" * 1000)
    for path in (tmp_path / "song.tar", tmp_path / "none.tar", tmp_path):
        with pytest.raises(UnreadableFile):
            backup.restore(path, tmp_path / "again")


def test_drafts_that_nobody_holds_are_removed_and_those_that_somebody_holds_stay(
    home: Path, tmp_path: Path
) -> None:
    target = tmp_path / "there" / "b.tar"
    target.parent.mkdir()
    killed = target.with_name(f".{target.name}.{'0' * 16}")
    held = target.with_name(f".{target.name}.{'1' * 16}")
    other = target.with_name(f".other.tar.{'0' * 16}")
    for file in (killed, held, other):
        file.write_bytes(b"half")
    with held.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        backup.create(home, target)
    assert {file.name for file in target.parent.iterdir()} == {target.name, held.name, other.name}
    new = tmp_path / "new" / "home"
    folder = new.with_name(f".{new.name}.{'a' * 16}")
    (folder / "keys").mkdir(parents=True)
    told: list[Done] = []
    backup.restore(target, new, wanted=Wanted(go_on=lambda _: True), on_progress=told.append)
    assert [file.name for file in new.parent.iterdir()] == [new.name]
    assert told and 0 <= told[0].size <= told[0].all_size == target.stat().st_size


def test_the_snapshot_of_a_servers_index_is_archived_and_comes_back(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def take(folder: Path) -> None:
        (folder / "collection.snapshot").write_bytes(b"points")

    made = backup.create(home, tmp_path / "a.tar", snapshot=take)
    assert not any("Qdrant" in one for one in made.warnings)
    assert not (home / "qdrant").exists()
    monkeypatch.delenv("RAG_AUDIO_QDRANT_URL", raising=False)
    back = tmp_path / "back"
    assert run(["restore", str(tmp_path / "a.tar"), "--home", str(back), "--yes"]) == 0
    assert (back / "qdrant" / "collection.snapshot").read_bytes() == b"points"
    assert "no server is named" in " ".join(capsys.readouterr().err.split())
    none = backup.create(home, tmp_path / "b.tar", snapshot=lambda _folder: "it has 3 nodes")
    assert "it has 3 nodes" in none.warnings
