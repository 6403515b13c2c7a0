"""Archives that leave out what earlier ones hold: nothing is lost, and nothing taken unseen."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from rag_audio.cli.app import run
from rag_audio.errors import InvalidInput
from rag_audio.pipeline import backup
from rag_audio.pipeline.restore import Wanted
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.storage.database import connect, sqlite_url
from tests.pipeline.test_backup import contents, names
from tests.provenance.builders import record

GO_ON = Wanted(go_on=lambda _what: True)


def deliver(home: Path, ledger: SqlLedger) -> int:
    """An output with its master and its file."""
    number = ledger.next_output_id()
    ledger.append(record(number))
    for folder, kind in (("masters", "wav"), ("outputs/2026/11", "flac")):
        (home / folder).mkdir(parents=True, exist_ok=True)
        (home / folder / f"{number}.{kind}").write_bytes(f"{kind} {number} ".encode() * 999)
    return number


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    (made / "keys").mkdir(parents=True)
    (made / "keys" / "watermark.key").write_bytes(b"k" * 32)
    (made / "notes.txt").write_bytes(b"once")
    deliver(made, ledger_of(made))
    return made


def ledger_of(home: Path) -> SqlLedger:
    return SqlLedger(connect(sqlite_url(home / "ledger.db")), home / "keys" / "ledger.key")


def sounds(home: Path) -> dict[str, bytes]:
    """Contents of all files but the database, whose numbers a restore moves on."""
    return {name: held for name, held in contents(home).items() if not name.startswith("ledger.db")}


def members_of(archive: Path) -> set[str]:
    with tarfile.open(archive) as tar:
        return set(tar.getnames())


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_chain_of_archives_brings_all_back(home: Path, tmp_path: Path, kind: str) -> None:
    first, second, third = (tmp_path / f"{day}.{kind}" for day in ("mon", "tue", "wed"))
    backup.create(home, first)
    two = deliver(home, ledger_of(home))
    made = backup.create(home, second, since=first)
    assert made.left_out == 2
    three = deliver(home, ledger_of(home))
    (home / "notes.txt").write_bytes(b"more")
    made = backup.create(home, third, since=second)
    assert made.left_out == 4
    held = members_of(third)
    assert f"home/masters/{three}.wav" in held and f"home/masters/{two}.wav" not in held
    assert {"home/notes.txt", "home/ledger.db", "home/keys/watermark.key"} <= held
    restored = backup.restore(third, tmp_path / "again", wanted=GO_ON)
    assert sounds(tmp_path / "again") == sounds(home)
    assert restored.files == made.files + made.left_out
    assert [e.record.output for e in ledger_of(tmp_path / "again").outputs()][-2:] == [two, three]


def test_earlier_archives_elsewhere_are_named(home: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "old" / "mon.tar", tmp_path / "tue.tar"
    backup.create(home, first)
    backup.create(home, second, since=first)
    with pytest.raises(InvalidInput, match=r"2 of its files, such as masters/1\.wav, are in an"):
        backup.restore(second, tmp_path / "again", wanted=GO_ON)
    assert "again" not in names(tmp_path)
    backup.restore(second, tmp_path / "again", wanted=GO_ON, earlier=(first,))
    assert sounds(tmp_path / "again") == sounds(home)


def test_only_what_is_the_same_is_left_out(home: Path, tmp_path: Path) -> None:
    deliver(home, ledger_of(home))
    first, second = tmp_path / "mon.tar", tmp_path / "tue.tar"
    backup.create(home, first)
    copied, other = home / "masters" / "1.wav", home / "masters" / "2.wav"
    os.utime(copied, (1, 1))  # as after a copy of the home: read, and found the same
    other.write_bytes(other.read_bytes()[::-1])
    made = backup.create(home, second, since=first)
    assert made.left_out == 3
    assert "home/masters/1.wav" not in members_of(second)
    assert "home/masters/2.wav" in members_of(second)
    backup.restore(second, tmp_path / "again", wanted=GO_ON)
    assert sounds(tmp_path / "again") == sounds(home)


def test_a_file_that_was_changed_in_the_earlier_archive_is_not_taken(
    home: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "mon.tar", tmp_path / "tue.tar"
    backup.create(home, first)
    backup.create(home, second, since=first)
    held = first.read_bytes()
    first.write_bytes(held.replace(b"wav 1 wav 1 ", b"wav 1 wav 2 ", 1))
    with pytest.raises(InvalidInput, match=r"1 of its files, such as masters/1\.wav"):
        backup.restore(second, tmp_path / "again", wanted=GO_ON)
    assert "again" not in names(tmp_path)


def test_names_of_left_out_files_cannot_lead_out_of_the_home(home: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "mon.tar", tmp_path / "tue.tar"
    backup.create(home, first)
    backup.create(home, second, since=first)
    hostile = tmp_path / "hostile.tar"
    _with_manifest(
        second,
        hostile,
        lambda held: _signed(held.replace(b'"masters/1.wav"', b'"../stolen.wav"')),
    )
    with pytest.raises(InvalidInput, match="leads out of the home"):
        backup.restore(hostile, tmp_path / "again", wanted=GO_ON)
    assert "stolen.wav" not in names(tmp_path)


def test_bringing_a_file_back_does_not_look_through_all_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times the files take ten times what SQLite does, not a hundred times."""
    connect, steps, taken = sqlite3.connect, [0], []

    def step() -> None:
        steps[-1] += 1

    def counted(name: str, *args: Any, **options: Any) -> sqlite3.Connection:
        db = connect(name, *args, **options)
        if name == "":
            db.set_progress_handler(step, 1)
        return db

    monkeypatch.setattr(sqlite3, "connect", counted)
    for count in (30, 300):
        home = tmp_path / f"{count}"
        (home / "outputs").mkdir(parents=True)
        for n in range(count):
            (home / "outputs" / f"{n}").touch()
        backup.create(home, tmp_path / f"{count}-mon.tar")
        second = tmp_path / f"{count}-tue.tar"
        assert backup.create(home, second, since=tmp_path / f"{count}-mon.tar").left_out == count
        steps.append(0)
        backup.restore(second, tmp_path / f"{count}-again")
        taken.append(steps[-1])
        assert names(tmp_path / f"{count}-again" / "outputs") == names(home / "outputs")
    assert 0 < taken[1] < 15 * taken[0]


def test_a_file_that_is_left_out_twice_is_refused(home: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "mon.tar", tmp_path / "tue.tar"
    backup.create(home, first)
    backup.create(home, second, since=first)
    hostile = tmp_path / "hostile.tar"
    _with_manifest(second, hostile, _doubled)
    with pytest.raises(InvalidInput, match="lists a file twice"):
        backup.restore(hostile, tmp_path / "again", wanted=GO_ON)
    with pytest.raises(InvalidInput, match=r"lists 'masters/1\.wav' twice"):
        backup.create(home, tmp_path / "wed.tar", since=hostile)


def _with_manifest(archive: Path, target: Path, change: Callable[[bytes], bytes]) -> None:
    """Copy an archive with another manifest."""
    with tarfile.open(archive) as old, tarfile.open(target, "w") as new:
        for member in old:
            source = old.extractfile(member)
            assert source is not None
            content = source.read()
            if member.name == "manifest.jsonl":
                content = change(content)
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))


def _doubled(manifest: bytes) -> bytes:
    """A signed manifest in which the first file that is left out comes twice."""
    *lines, last = manifest.splitlines(keepends=True)
    place = next(at for at, line in enumerate(lines) if b'"masters/1.wav"' in line)
    lines.insert(place, lines[place])
    end = json.loads(last)
    end["earlier"] += 1
    return _signed(b"".join(lines) + json.dumps(end).encode() + b"\n")


def _signed(manifest: bytes) -> bytes:
    *lines, last = manifest.splitlines(keepends=True)
    digest = sha256(b"".join(lines)).hexdigest()
    end = json.dumps({**json.loads(last), "sha256": digest}, separators=(",", ":"))
    return b"".join(lines) + end.encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "cannot be built upon"), (b"no tar" * 999, "cannot be built upon"), (None, "cannot")],
)
def test_what_is_no_whole_archive_is_not_built_upon(
    home: Path, tmp_path: Path, content: bytes | None, says: str
) -> None:
    earlier = tmp_path / "mon.tar"
    if content is not None:
        earlier.write_bytes(content)
    with pytest.raises(InvalidInput, match=says):
        backup.create(home, tmp_path / "tue.tar", since=earlier)
    assert "tue.tar" not in names(tmp_path)


@pytest.mark.parametrize("damage", ["breaks off", "zeros", "in a master"])
def test_an_earlier_archive_that_is_damaged_is_named_and_another_one_helps(
    home: Path, tmp_path: Path, damage: str
) -> None:
    (home / "masters" / "1.wav").write_bytes(os.urandom(3 << 20))
    first, other = tmp_path / "mon.tar.gz", tmp_path / "copy" / "mon.tar.gz"
    second = tmp_path / "tue.tar.gz"
    backup.create(home, first)
    backup.create(home, second, since=first)
    other.parent.mkdir()
    held = first.read_bytes()
    other.write_bytes(held)
    half = len(held) // 2
    rest = {"breaks off": b"", "zeros": bytes(half), "in a master": b"\xff" * half}[damage]
    first.write_bytes(held[:half] + rest)
    with pytest.raises(InvalidInput, match=r"of its files, .*mon\.tar\.gz' is damaged: "):
        backup.restore(second, tmp_path / "again", wanted=GO_ON)
    with pytest.raises(InvalidInput, match=r"mon\.tar\.gz' cannot be built upon"):
        backup.create(home, tmp_path / "wed.tar", since=first)
    assert not {"again", "wed.tar"} & set(names(tmp_path))
    backup.restore(second, tmp_path / "again", wanted=GO_ON, earlier=(first, other))
    assert sounds(tmp_path / "again") == sounds(home)


@pytest.mark.parametrize("line", [b"{no JSON\n", b"[]\n", b"{}\n" * 2, b"x" * 70_000 + b"\n"])
def test_a_manifest_that_cannot_be_read_is_not_built_upon(
    home: Path, tmp_path: Path, line: bytes
) -> None:
    earlier = tmp_path / "mon.tar"
    with tarfile.open(earlier, "w") as tar:
        member = tarfile.TarInfo("manifest.jsonl")
        member.size = len(line)
        tar.addfile(member, io.BytesIO(line))
    with pytest.raises(InvalidInput, match=r"cannot be built upon: its manifest"):
        backup.create(home, tmp_path / "tue.tar", since=earlier)


def test_both_commands_know_earlier_archives(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "old" / "mon.tar", tmp_path / "tue.tar"
    assert run(["backup", str(first), "--home", str(home)]) == 0
    assert run(["backup", str(second), "--since", str(first), "--home", str(home)]) == 0
    assert "2 more in the earlier archive" in capsys.readouterr().out
    again = ["restore", str(second), "--yes", "--home", str(tmp_path / "again")]
    assert run(again) == 2
    assert "--earlier" in capsys.readouterr().err
    assert run([*again, "--earlier", str(first), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 5
