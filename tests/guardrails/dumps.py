"""Small dumps in the layouts of MusicBrainz, of invented artists."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

TYPES = {"person": "1", "group": "2", "other": "3", "character": "4", "orchestra": "5",
         "choir": "6", "": "\\N"}  # fmt: skip


def artist(
    number: int, name: str, sort_name: str = "", kind: str = "group", died: str = "\\N",
    comment: str = "",
) -> str:  # fmt: skip
    """A row of the table ``artist``: 19 columns."""
    ended = [died, *["\\N"] * 2]
    gid = f"{number:08x}-0000-4000-8000-{number:012x}"
    return "\t".join(
        [str(number), gid, name, sort_name or name, *["\\N"] * 3, *ended, TYPES[kind], "\\N", "\\N",
         comment, "0", "2026-01-01 00:00:00+00", "t" if died != "\\N" else "f", "\\N", "\\N"]
    )  # fmt: skip


def alias(number: int, of: int, name: str, kind: str = "1") -> str:
    """A row of the table ``artist_alias``: 16 columns; ``kind`` 3 is a search hint."""
    return "\t".join(
        [str(number), str(of), name, "\\N", "0", "2026-01-01", kind, name, *["\\N"] * 6, "f", "f"]
    )


def table(*rows: str) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


ARTISTS = table(
    artist(1, "Zanther Quill", "Quill, Zanther", "person"),
    artist(2, "Ozzeldrim"),
    artist(3, "Summer Rain"),
    artist(4, "Anna", kind="person"),
    artist(5, "[unknown]", kind=""),
    artist(6, "Brunhold Vexmar", "Vexmar, Brunhold", "person", died="1801"),
    artist(7, "Kelvrin Ostrade", "Ostrade, Kelvrin", "person", comment="mastering engineer"),
    artist(8, "Captain Zorvel", kind="character"),
    artist(9, "Grendl\\tMavvick\\\\", kind="group"),
    artist(10, "Plovdar Ensk", "Ensk, Plovdar", "person", comment="engineer and drummer"),
)
ALIASES = table(
    alias(1, 1, "Quillotharn Vode"),
    alias(2, 2, "Ozeldrimm", kind="3"),
    alias(3, 1, "Rain"),
)
META = table("1\t80\t12", "2\t\\N\t\\N", "10\t60\t3")
TAGS = table("1\t7\t2\t2026-01-01", "1\t8\t1\t2026-01-01", "2\t7\t-1\t2026-01-01")


def folder(at: Path, **tables: bytes) -> Path:
    """A folder with ``mbdump/TABLE``."""
    (at / "mbdump").mkdir(parents=True)
    for name, rows in (tables or {"artist": ARTISTS, "artist_alias": ALIASES}).items():
        (at / "mbdump" / name).write_bytes(rows)
    return at


def archive(path: Path, form: Any = "bz2", **tables: bytes) -> Path:
    """``mbdump.tar.bz2``, in the order of the tables."""
    with tarfile.open(path, f"w:{form}") as tar:
        for name, rows in {"TIMESTAMP": b"2026-11-25\n", **tables}.items():
            info = tarfile.TarInfo(name if name.isupper() else f"mbdump/{name}")
            info.size = len(rows)
            tar.addfile(info, io.BytesIO(rows))
    return path


def json_artist(name: str, **more: Any) -> dict[str, Any]:
    """An artist as the JSON dump has it."""
    return {
        "id": "00000000-0000-4000-8000-000000000001",
        "name": name,
        "sort-name": name,
        "type": "Group",
        "disambiguation": "",
        "life-span": {"begin": None, "end": None, "ended": False},
        "aliases": [],
        "genres": [],
        "tags": [],
        "rating": {"value": None, "votes-count": 0},
        **more,
    }


def json_lines(*artists: dict[str, Any]) -> bytes:
    return table(*(json.dumps(one, ensure_ascii=False) for one in artists))
