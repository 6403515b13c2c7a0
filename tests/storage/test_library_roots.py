"""Libraries that machines have in different places."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from indexer.build import index_library
from rag_audio.domain.library_roots import LibraryRoots
from rag_audio.errors import InvalidInput, LibraryError
from rag_audio.home import Home
from rag_audio.settings import Settings, read_settings
from rag_audio.storage.database import reading
from tests.support.fakes import FakeEmbedder, FakeIndex
from tests.support.rights_world import World

NAMES = st.sampled_from(["music", "samples", "nas-2"])
FOLDERS = st.sampled_from(["/mnt/a", "/mnt/a/b", "/srv/x y", "/"])
PATHS = st.lists(st.sampled_from(["a", "b", "night shift", "x y", "@music"]), max_size=4)


@given(st.dictionaries(NAMES, FOLDERS.map(Path)), PATHS)
def test_a_folder_is_found_again_where_it_is(folders: dict[str, Path], parts: list[str]) -> None:
    roots, place = LibraryRoots(folders), str(Path("/mnt", *parts))
    assert roots.here(roots.stored(place)) == place
    assert roots.stored(place).startswith("@") == any(
        Path(place).is_relative_to(folder) for folder in folders.values()
    )


@given(PATHS)
def test_another_machine_has_it_below_its_own_folder(parts: list[str]) -> None:
    stored = LibraryRoots({"music": Path("/mnt/a")}).stored(str(Path("/mnt/a", *parts)))
    assert LibraryRoots({"music": Path("/srv/b")}).here(stored) == str(Path("/srv/b", *parts))


def test_the_nearest_folder_names_a_library() -> None:
    roots = LibraryRoots({"all": Path("/mnt"), "music": Path("/mnt/music")})
    assert roots.stored("/mnt/music/night") == "@music/night"
    assert roots.stored("/mnt/music") == "@music" and roots.here("@music") == "/mnt/music"
    assert roots.stored("/mnt/other") == "@all/other" and roots.stored("/opt/x") == "/opt/x"


@pytest.mark.parametrize(
    "said", ["music", "music=relative", "=/mnt", "a b=/mnt", "a=/mnt;a=/srv", "music="]
)
def test_what_is_no_list_of_folders(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput):
        LibraryRoots.parse(said)
    monkeypatch.setenv("RAG_AUDIO_LIBRARY_ROOTS", said)
    with pytest.raises(Exception, match="RAG_AUDIO_LIBRARY_ROOTS: '"):
        read_settings(home=tmp_path)


def on_machine(home: Path, roots: str) -> Home:
    made = Home(Settings(home=home, library_roots=roots))
    made.embedder, made.index = FakeEmbedder(), FakeIndex()
    return made


def test_a_library_is_used_and_indexed_wherever_it_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_AUDIO_LIBRARY_ROOTS", f"label={tmp_path / 'one'}")
    world = World(tmp_path / "one")
    stem, places = world.good, tmp_path / "two"
    with reading(world.home.database) as db:
        row = db.execute(text("SELECT root FROM libraries")).scalar()
    assert row == "@label/library"
    events = len(world.home.ledger.events())
    index, on = world.home.index, world.home.clearance().rights.on
    places.mkdir()
    shutil.move(tmp_path / "one" / "library", places / "library")

    there = on_machine(tmp_path / "one" / "home", f"label={places}")
    assert there.catalogue.file_of(stem) == str(places / "library" / stem.path)
    assert [one.root for one in there.catalogue.libraries()] == [str(places / "library")]
    there.catalogue.rights(None, on)
    assert there.catalogue.file_of(stem) == str(places / "library" / stem.path)
    report = index_library(
        places / "library",
        embedder=there.embedder,
        index=index,
        catalogue=there.catalogue,
        render=lambda *_: pytest.fail("nothing is new"),
        workers=0,
    )
    assert report.indexed == 0 and report.skipped > 0
    with reading(there.database) as db:
        assert db.execute(text("SELECT root FROM libraries")).scalar() == row
    assert len(there.ledger.events()) == events, "nothing changed"

    lost = on_machine(tmp_path / "one" / "home", "")
    with pytest.raises(LibraryError, match="this machine has no folder 'label'"):
        lost.catalogue.file_of(stem)
