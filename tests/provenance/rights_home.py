"""A database with rows in every table of rights, all of them logged."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine

from rag_audio.domain import License, Stem, StemKind, Use
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.domain.stems import FileState, WithheldFile
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.storage.catalogue import SqlCatalogue

SHARED = "5a" * 32
"""Bytes that two libraries have, under licenses of their own."""


def make_catalogue(engine: Engine) -> SqlCatalogue:
    return SqlCatalogue(engine, SqlRightsLog())


def granted(library: str, id_: str = "full") -> License:
    uses = frozenset({Use.PROMPT, Use.INIT_AUDIO})
    return License(id_, library, f"{library} Holder", "LicenseRef-1", uses, max_similarity=0.6)


def state(library: str, path: str, id_: str, artist: str = "Velda Quarn") -> FileState:
    stem = Stem(
        id_, library, path, StemKind.AUDIO, "full", 4.0, artist=artist, artist_declared=True
    )
    return FileState(path, 1000, 1_790_000_000_123_456_789, "d" * 8, "space", stem)


def asked(of: RevocationOf, target: str, by: str = "rights desk") -> Revocation:
    return Revocation(of, target, "withdrawn", by, datetime(2026, 5, 1, 12, tzinfo=UTC))


def fill(catalogue: SqlCatalogue) -> None:
    """Two libraries with licenses, files, withheld files and a conflict; revocations in force and
    taken back."""
    for library in ("north", "south"):
        catalogue.put_library(library, library.title(), f"/home/somebody/{library}")
        catalogue.put_licenses(library, [granted(library), granted(library, "words")])
        own = [state(library, f"ü/{i}.wav", f"{library[0].encode().hex()}{i}" * 16) for i in "123"]
        catalogue.put_files(library, [*own, state(library, "same.wav", SHARED)])
        held = [WithheldFile("old.wav", 9, 9, SHARED, "ended", "Somebody", "")]
        catalogue.put_withheld(library, held)
        catalogue.seal(library)
    for of, target in ((RevocationOf.ARTIST, "Velda Quarn"), (RevocationOf.STEM, "ab" * 32)):
        catalogue.revoke(asked(of, target))
    catalogue.revoke(asked(RevocationOf.LICENSE, "north/words"))
    catalogue.end_revocation(asked(RevocationOf.LICENSE, "north/words", by="somebody else"))
