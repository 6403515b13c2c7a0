"""Libraries, licenses and stems in the SQL database."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from rag_audio.domain import Key, License, Stem, StemKind, Use
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.domain.stems import FileState
from rag_audio.errors import BackendUnavailable, InvalidInput, LibraryError
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url, writing

TODAY = date(2026, 6, 1)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return sqlite_url(tmp_path / "ledger.db")


@pytest.fixture
def catalogue(url: str, tmp_path: Path) -> SqlCatalogue:
    made = SqlCatalogue(connect(url))
    made.put_library("lab", "Lab", str(tmp_path / "lab"))
    return made


def stem(id_: str, path: str = "a.wav", library: str = "lab", artist: str = "The Band") -> Stem:
    return Stem(
        id=id_.ljust(64, "0"),
        library=library,
        path=path,
        kind=StemKind.AUDIO,
        license="full",
        duration_s=12.345678,
        artist=artist,
        artist_declared=True,
        tags=("warm", "ä"),
        bpm=92.5,
        key=Key(9, True),
    )


def state(of: Stem) -> FileState:
    return FileState(of.path, 3_000_000_000, 1_800_000_000_123_456_789, "d", "space", of)


def granted(id_: str, library: str = "lab", **fields: object) -> License:
    given = {"holder": "Lab", "spdx": "CC0-1.0", "uses": frozenset(Use), **fields}
    return License(id=id_, library=library, **given)  # type: ignore[arg-type]


def test_what_is_put_comes_back_exactly(catalogue: SqlCatalogue) -> None:
    states = [state(stem("a", "z.wav")), state(stem("b", "déjà/vu.wav"))]
    catalogue.put_files("lab", states)
    assert dict(catalogue.files("lab")) == {one.path: one for one in states}
    assert list(catalogue.files("lab")) == ["déjà/vu.wav", "z.wav"]


def test_a_path_is_replaced_and_removed(catalogue: SqlCatalogue) -> None:
    catalogue.put_files("lab", [state(stem("a")), state(stem("c", "c.wav"))])
    catalogue.put_files("lab", [state(stem("b"))])
    assert catalogue.files("lab")["a.wav"].stem.id.startswith("b")
    catalogue.remove_files("lab", ["a.wav", "never there"])
    assert list(catalogue.files("lab")) == ["c.wav"]


def test_many_files_fit_into_one_call(catalogue: SqlCatalogue) -> None:
    states = [state(stem(f"{i:04x}", f"{i}.wav")) for i in range(1, 2500)]
    catalogue.put_files("lab", states)
    catalogue.put_files("lab", states)
    assert catalogue.libraries()[0].stems == 2499
    catalogue.remove_files("lab", [one.path for one in states])
    assert catalogue.libraries()[0].stems == 0


def test_stems_are_found_by_the_name_of_their_artist(catalogue: SqlCatalogue) -> None:
    catalogue.put_files("lab", [state(stem("a")), state(stem("b", "b.wav", artist="Ørsted Ø"))])
    assert [found.artist for found in catalogue.stems(" Ørsted  Ø")] == ["Ørsted Ø"]
    assert catalogue.stems("ørsted ø") == [], "another name: the callers look up who is meant"
    assert catalogue.stems("Nobody") == []
    assert len(catalogue.stems()) == 2


def test_one_content_at_two_paths_is_one_stem(catalogue: SqlCatalogue) -> None:
    catalogue.put_library("other", "Other", "/nowhere")
    catalogue.put_files("lab", [state(stem("a", "b.wav")), state(stem("a", "a.wav"))])
    catalogue.put_files("other", [state(stem("a", "0.wav", "other"))])
    assert [(s.library, s.path) for s in catalogue.stems()] == [
        ("lab", "a.wav"),
        ("other", "0.wav"),
    ]
    assert catalogue.stem("a0").path == "a.wav"


def test_a_stem_is_named_by_the_start_of_its_id(catalogue: SqlCatalogue) -> None:
    catalogue.put_files("lab", [state(stem("abc1")), state(stem("abd2", "b.wav"))])
    assert catalogue.stem("ABC").path == "a.wav"
    with pytest.raises(InvalidInput, match="2 stems' ids start with 'ab': abc10000, abd20000"):
        catalogue.stem("ab")
    with pytest.raises(InvalidInput, match="no stem's id starts with 'f'"):
        catalogue.stem("f")


@pytest.mark.parametrize("prefix", ["", " ", "%", "_", "xyz", "a" * 65])
def test_what_cannot_start_an_id_is_refused(catalogue: SqlCatalogue, prefix: str) -> None:
    catalogue.put_files("lab", [state(stem("a"))])
    with pytest.raises(InvalidInput, match="is not a stem id"):
        catalogue.stem(prefix)


def test_the_file_of_a_stem_is_its_own_or_one_with_the_same_bytes(
    catalogue: SqlCatalogue, tmp_path: Path
) -> None:
    catalogue.put_files("lab", [state(stem("a")), state(stem("a", "b.wav"))])
    one = catalogue.stem("a")
    assert catalogue.file_of(one) == str(tmp_path / "lab" / "a.wav")
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "b.wav").touch()
    assert catalogue.file_of(one) == str(tmp_path / "lab" / "b.wav")
    with pytest.raises(LibraryError, match="'gone' of stem a00000000000 is not in the catalogue"):
        catalogue.file_of(stem("a", library="gone"))


def test_rights_are_read_anew_each_time_whoever_changed_them(
    catalogue: SqlCatalogue, url: str
) -> None:
    one = stem("a")
    assert catalogue.rights(None, TODAY).refusal(one, Use.PROMPT) == "no license named 'full'"
    elsewhere = SqlCatalogue(connect(url))
    elsewhere.put_licenses("lab", [granted("full", valid_until=date(2027, 1, 1))])
    assert catalogue.rights(None, TODAY).refusal(one, Use.PROMPT) is None
    assert catalogue.rights(None, date(2028, 1, 1)).refusal(one, Use.PROMPT) is not None
    elsewhere.put_licenses("lab", [granted("full", territories=frozenset({"DE"}))])
    assert catalogue.rights(None, TODAY).refusal(one, Use.PROMPT) is not None
    assert catalogue.rights("DE", TODAY).refusal(one, Use.PROMPT) is None
    elsewhere.put_licenses("lab", [])
    assert dict(catalogue.rights("DE", TODAY).licenses) == {}


def test_licenses_of_two_libraries_do_not_mix(catalogue: SqlCatalogue) -> None:
    catalogue.put_library("other", "Other", "/nowhere")
    catalogue.put_licenses("lab", [granted("full")])
    catalogue.put_licenses("other", [granted("full", "other", uses=frozenset())])
    rights = catalogue.rights(None, TODAY)
    assert rights.keys_granting(*Use) == {"lab/full"}
    with pytest.raises(LibraryError, match="belongs to library 'other'"):
        catalogue.put_licenses("lab", [granted("x", "other")])


def test_an_id_belongs_to_one_folder_while_that_folder_exists(
    catalogue: SqlCatalogue, tmp_path: Path
) -> None:
    for name in ("lab", "copy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "library.toml").touch()
    catalogue.put_library("lab", "Lab", str(tmp_path / "lab"))
    (tmp_path / "link").symlink_to(tmp_path / "lab")
    catalogue.put_library("lab", "Lab", str(tmp_path / "link"))
    with pytest.raises(LibraryError, match="two folders call themselves library 'lab'"):
        catalogue.put_library("lab", "Lab", str(tmp_path / "copy"))
    (tmp_path / "lab" / "library.toml").unlink()
    catalogue.put_library("lab", "New Name", str(tmp_path / "copy"))
    (info,) = catalogue.libraries()
    assert (info.name, info.root) == ("New Name", str(tmp_path / "copy"))


def test_files_of_an_unknown_library_are_refused(catalogue: SqlCatalogue) -> None:
    with pytest.raises(BackendUnavailable, match=r"(?i)foreign key"):
        catalogue.put_files("nowhere", [state(stem("a", library="nowhere"))])
    with pytest.raises(LibraryError, match="is a stem of 'other'"):
        catalogue.put_files("lab", [state(stem("a", library="other"))])


def test_a_claim_is_exclusive_per_library_and_ends_with_its_block(catalogue: SqlCatalogue) -> None:
    refused = pytest.raises(
        BackendUnavailable, match=r"library lab is being written by (pid|a client)"
    )
    with catalogue.claim("lab"), catalogue.claim("other"), refused:
        catalogue.claim("lab").__enter__()
    with catalogue.claim("lab"):
        pass


def test_claims_hold_in_memory_too() -> None:
    made = SqlCatalogue(connect("sqlite://"))
    with made.claim("lab"), pytest.raises(BackendUnavailable, match="another thread"):
        made.claim("lab").__enter__()
    with made.claim("lab"):
        pass


def test_a_damaged_table_is_an_error_of_the_backend(catalogue: SqlCatalogue, url: str) -> None:
    with writing(connect(url)) as connection:
        connection.execute(text("DROP TABLE licenses"))
    with pytest.raises(
        BackendUnavailable, match=r"no such table: licenses|relation .licenses. does not"
    ):
        catalogue.rights(None, TODAY)


def revocation(of: RevocationOf, target: str, reason: str = "asked to") -> Revocation:
    return Revocation(of, target, reason, "tester", datetime(2026, 6, 1, 12, tzinfo=UTC))


def test_a_revocation_counts_at_once_everywhere_and_survives_new_rows(
    catalogue: SqlCatalogue, url: str
) -> None:
    one, two = stem("a"), stem("b", "b.wav", artist="Zoë & The Rest")
    catalogue.put_licenses("lab", [granted("full")])
    catalogue.put_files("lab", [state(one), state(two)])
    elsewhere = SqlCatalogue(connect(url))
    assert elsewhere.revoke(revocation(RevocationOf.STEM, one.id))
    assert elsewhere.revoke(revocation(RevocationOf.ARTIST, "zoe & the REST"))
    rights = catalogue.rights(None, TODAY)
    assert rights.refusal(one, Use.PROMPT) == "the stem was revoked"
    assert rights.refusal(two, Use.PROMPT) is not None
    assert rights.is_revoked(one) and rights.is_revoked(two)
    assert rights.revoked == {one.id}
    assert rights.revoked_among({one.id, two.id, "f" * 64}) == {one.id, two.id}
    catalogue.remove_files("lab", ["a.wav", "b.wav"])
    catalogue.put_files("lab", [state(one), state(two)])
    assert catalogue.rights(None, TODAY).is_revoked(one)
    assert catalogue.rights(None, TODAY).is_revoked(two)


def test_a_revoked_license_grants_nothing_under_its_key(catalogue: SqlCatalogue) -> None:
    catalogue.put_licenses("lab", [granted("full"), granted("other")])
    catalogue.revoke(revocation(RevocationOf.LICENSE, "lab/full"))
    rights = catalogue.rights(None, TODAY)
    assert rights.keys_granting(*Use) == {"lab/other"}
    assert rights.refusal(stem("a"), Use.PROMPT) == "license full was revoked"


def test_a_revocation_is_made_once_and_taken_back_once(catalogue: SqlCatalogue) -> None:
    asked = revocation(RevocationOf.ARTIST, "The Band")
    assert catalogue.revoke(asked)
    assert not catalogue.revoke(revocation(RevocationOf.ARTIST, "THE BAND", "again"))
    (held,) = catalogue.revocations()
    assert (held.target, held.reason, held.by, held.at) == (
        "The Band", "asked to", "tester", asked.at,
    )  # fmt: skip
    assert catalogue.end_revocation(asked)
    assert not catalogue.end_revocation(asked)
    assert catalogue.revocations() == []
    assert not catalogue.rights(None, TODAY).is_revoked(stem("a"))
    assert catalogue.revoke(asked)


def test_copies_are_found_in_every_library(catalogue: SqlCatalogue) -> None:
    catalogue.put_library("other", "Other", "/nowhere")
    catalogue.put_files("lab", [state(stem("a"))])
    catalogue.put_files("other", [state(stem("a", "0.wav", "other"))])
    assert [one.library for one in catalogue.copies(stem("a").id)] == ["lab", "other"]
    assert catalogue.copies("0" * 64) == []
