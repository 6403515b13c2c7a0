"""A library in a bucket is indexed as the same one in a folder is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.build import IndexReport, index_library
from indexer.preview import preview_library
from indexer.reembedding import Reembedding
from indexer.scan import scan
from rag_audio.audio import midi
from rag_audio.domain import Segment, Stem
from rag_audio.domain.disclosure import EVERYTHING
from rag_audio.domain.stems import EngineName
from rag_audio.errors import BackendUnavailable, LibraryError
from rag_audio.generation.stem_player import StemPlayer
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.resources import data_dir
from rag_audio.storage.cache import SoundCache
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect, sqlite_url
from rag_audio.storage.fsspec_blobs import open_store
from rag_audio.storage.library_files import CopyRoom, open_library
from tests.indexer.conftest import TODAY, Bench, hum
from tests.indexer.library import tone
from tests.indexer.test_songs import songs
from tests.support.fakes import FakeEmbedder, FakeIndex
from tests.support.s3 import NOWHERE, s3_bucket, s3_server

pytestmark = pytest.mark.usefixtures("quick")
ROWS = """
    **,full,Copper Lantern Trio,,,,warm,,
    words/*.wav,words,Paper Moth Quartet,,,,,,
    ended/*.wav,expired,Late Ferry,,,,,,
"""
READS = ("get_object",)


@dataclass
class Bucket:
    """A library at a URL, and a home to index it into."""

    url: str
    folder: Path
    index: FakeIndex = field(default_factory=FakeIndex)
    embedder: FakeEmbedder = field(default_factory=FakeEmbedder)

    def __post_init__(self) -> None:
        self.room = CopyRoom(self.folder / "copies", 1 << 30)
        engine = connect(sqlite_url(self.folder / "other home" / "ledger.db"))
        self.catalogue = SqlCatalogue(engine, SqlRightsLog(), None, self.room)
        self.store = open_store(self.url, self.room.folder, 1 << 30)

    def put(self, root: Path) -> None:
        """Copy a folder there."""
        for path in root.rglob("*"):
            if path.is_file():
                self.store.put(path.relative_to(root).as_posix(), path)

    def run(self, **options: Any) -> IndexReport:
        given: dict[str, Any] = {"workers": 0, "on": TODAY, "render": hum, **options}
        return index_library(
            open_library(self.url, self.room),
            embedder=self.embedder,
            index=self.index,
            catalogue=self.catalogue,
            **given,
        )

    def player(self) -> StemPlayer:
        font = data_dir("soundfont") / "rag-audio.sf2"
        return StemPlayer(self.catalogue, SoundCache(), lambda: font, EVERYTHING)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(server: str, tmp_path: Path) -> Iterator[Bucket]:
    with s3_bucket(server) as url:
        yield Bucket(f"{url}/labels/night-shift", tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """Gives the keys that were read of the store since it was asked last."""
    s3fs = pytest.importorskip("s3fs")
    calls: list[tuple[str, str]] = []
    real = s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: str, *args: Any, **given: Any) -> Any:
        calls.append((method, given.get("Key", "")))
        return await real(self, method, *args, **given)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)

    def since(methods: tuple[str, ...] = READS) -> list[str]:
        found = [key.rpartition("night-shift/")[2] for method, key in calls if method in methods]
        calls.clear()
        return sorted(found)

    yield since


def fill(bench: Bench) -> Path:
    root = bench.root
    for number, name in enumerate(("a.wav", "keys/b.wav", "words/c.wav", "ended/d.wav")):
        tone(root / name, 200.0 + 40 * number)
    tone(root / "copy of a.wav", 200.0)
    (root / "beats.mid").write_bytes(songs(60, 120))
    (root / "cover.jpg").write_bytes(b"\xff\xd8\xff\xe0 a picture")
    (root / "broken.wav").write_bytes(b"RIFF and nothing")
    (root / ".DS_Store").write_bytes(b"1")
    bench.tables(ROWS)
    return root


def of(report: IndexReport) -> dict[str, Any]:
    document = report.to_json()
    return {name: value for name, value in document.items() if name != "seconds"}


def points(index: Any) -> list[Any]:
    found = sorted(index.scroll(), key=lambda point: str(point.id))
    return [(one.id, one.segment, one.sparse, np.asarray(one.dense).tobytes()) for one in found]


def rows(catalogue: SqlCatalogue) -> list[Any]:
    states = catalogue.files("night-shift").values()
    return [(one.path, one.size, one.declared, one.stem, one.measured_by) for one in states]


@pytest.mark.parametrize("workers", [0, 1])
def test_the_same_index_as_from_a_folder(bench: Bench, bucket: Bucket, workers: int) -> None:
    bucket.put(fill(bench))
    render = midi.render if workers else hum
    here = bench.run(workers=workers, render=render)
    there = bucket.run(workers=workers, render=render)
    assert of(there) == of(here) and there.indexed == 5
    assert rows(bucket.catalogue) == rows(bench.catalogue)
    assert points(bucket.index) == points(bench.index)
    withheld, known = (one.withheld("night-shift") for one in (bucket.catalogue, bench.catalogue))
    assert {path: one.stem for path, one in withheld.items()} == {
        path: one.stem for path, one in known.items()
    }
    (library,) = bucket.catalogue.libraries()
    assert library.root == bucket.url


def test_what_is_unchanged_is_not_read_again(
    bench: Bench, bucket: Bucket, asked: Callable[..., list[str]]
) -> None:
    root = fill(bench)
    bucket.put(root)
    first = bucket.run()
    assert set(asked()) >= {"a.wav", "beats.mid", "keys/b.wav", "words/c.wav", "ended/d.wav"}

    again = bucket.run()
    assert asked() == []
    assert (again.indexed, again.updated, again.skipped) == (0, 0, first.indexed + first.updated)

    bucket.store.put("keys/b.wav", tone(root / "keys" / "b.wav", 500.0))
    asked()
    changed = bucket.run()
    assert asked() == ["keys/b.wav"]
    assert (changed.indexed, changed.skipped) == (1, again.skipped - 1)
    assert points(bucket.index) == points_of_folder(bench)


def points_of_folder(bench: Bench) -> list[Any]:
    bench.run()
    return points(bench.index)


def test_a_file_is_fetched_once_however_often_it_is_read(
    bench: Bench, bucket: Bucket, asked: Callable[..., list[str]]
) -> None:
    bucket.put(fill(bench))
    bucket.run()
    read = asked()
    whole = [key for key in read if key not in ("cover.jpg", "beats.mid", "broken.wav")]
    assert len(whole) == len(set(whole))
    player = bucket.player()
    for stem in stems_of(bucket):
        player.play(Segment(stem, 0.0, 0.5), 8_000)
        player.play(Segment(stem, 0.5, 0.5), 8_000)
    assert asked() == []


def stems_of(bucket: Bucket) -> list[Stem]:
    return bucket.catalogue.stems(None)


def test_removed_objects_are_removed_stems(bench: Bench, bucket: Bucket) -> None:
    bucket.put(fill(bench))
    bucket.run()
    bucket.store.delete("keys/b.wav")
    kept = bucket.run()
    assert kept.pruned == 0 and "keys/b.wav" in bucket.catalogue.files("night-shift")
    assert bucket.run(prune=True).pruned == 1
    (bench.root / "keys" / "b.wav").unlink()
    assert points(bucket.index) == points_of_folder(bench)


def test_a_library_that_moves_into_a_bucket_is_not_embedded_again(
    bench: Bench, bucket: Bucket
) -> None:
    root = fill(bench)
    bucket.put(root)
    bench.run()
    bucket.catalogue = SqlCatalogue(bench.engine, SqlRightsLog(), None, bucket.room)
    bucket.index = bench.index  # type: ignore[assignment]
    upserted = bench.index.upserted  # type: ignore[attr-defined]
    with pytest.raises(LibraryError, match="two places call themselves library 'night-shift'"):
        bucket.run()
    (root / "library.toml").unlink()
    report = bucket.run()
    assert (report.indexed, bench.index.upserted) == (0, upserted)  # type: ignore[attr-defined]
    assert [one.root for one in bucket.catalogue.libraries()] == [bucket.url]


def test_an_object_that_changed_or_went_is_not_played(bench: Bench, bucket: Bucket) -> None:
    root = fill(bench)
    bucket.put(root)
    bucket.run()
    stems = {stem.path: stem for stem in stems_of(bucket)}
    player, url = bucket.player(), f"{bucket.url}/keys/b.wav"
    heard = player.play(Segment(stems["keys/b.wav"], 0.0, 0.5), 8_000)
    assert heard.samples.any()
    assert bucket.catalogue.file_of(stems["keys/b.wav"]) == url
    bucket.store.put("keys/b.wav", tone(root / "keys" / "b.wav", 500.0))
    with pytest.raises(LibraryError) as changed:
        player.play(Segment(stems["keys/b.wav"], 0.0, 0.5), 8_000)
    assert changed.value.message == f"{url} changed since it was indexed"
    bucket.store.delete("keys/b.wav")
    with pytest.raises(LibraryError) as gone:
        player.play(Segment(stems["keys/b.wav"], 0.0, 0.5), 8_000)
    assert gone.value.message == f"{url} cannot be read: it is not there"
    assert player.play(Segment(stems["a.wav"], 0.0, 0.5), 8_000).samples.any()
    bucket.store.delete("a.wav")
    assert player.play(Segment(stems["a.wav"], 0.0, 0.5), 8_000).samples.any(), "its copy is left"


def test_the_songs_of_a_score_are_played(bench: Bench, bucket: Bucket) -> None:
    bucket.put(fill(bench))
    bucket.run(render=midi.render)
    stems = {stem.path: stem for stem in stems_of(bucket)}
    sound = bucket.player().play(Segment(stems["beats.mid#2"], 0.0, 2.0), 22_050)
    there = midi.render(bench.root / "beats.mid#2", sample_rate=22_050, duration_s=2.0)
    assert (sound.samples == there.samples).all()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_store_that_goes_away_ends_the_run_and_no_stem_is_forgotten(
    bench: Bench, bucket: Bucket, workers: int
) -> None:
    root = fill(bench)
    bucket.put(root)
    bucket.run()
    before = rows(bucket.catalogue)
    bucket.store.put("keys/b.wav", tone(root / "keys" / "b.wav", 500.0))
    import s3fs

    real = s3fs.S3FileSystem._call_s3

    async def refuse(self: Any, method: str, *args: Any, **given: Any) -> Any:
        if method == "get_object":
            raise OSError("the line is cut")
        return await real(self, method, *args, **given)

    with pytest.MonkeyPatch.context() as cut:
        cut.setattr(s3fs.S3FileSystem, "_call_s3", refuse)
        cut.setattr("indexer.survey.scan", cut_after(scan, cut, NOWHERE if workers else None))
        with pytest.raises(BackendUnavailable, match="cannot be used") as caught:
            bucket.run(workers=workers)
    assert "RAG_AUDIO_FILES" not in caught.value.hint
    assert rows(bucket.catalogue) == before
    assert bucket.run().indexed == 1


def cut_after(scan: Any, cut: pytest.MonkeyPatch, address: str | None) -> Any:
    """The scan, after which processes that are started reach no server."""

    def scanned(*args: Any) -> Any:
        found = scan(*args)
        if address is not None:
            cut.setenv("AWS_ENDPOINT_URL", address)
        return found

    return scanned


def test_what_would_be_indexed_is_told_without_indexing(bench: Bench, bucket: Bucket) -> None:
    bucket.put(fill(bench))
    here = preview_library(bench.root, workers=0, on=TODAY)
    there = preview_library(open_library(bucket.url, bucket.room), workers=1, on=TODAY)
    assert there.to_json() == {**here.to_json(), "root": bucket.url}
    assert there.files == 6


def test_stems_are_heard_again_for_another_embedder(bench: Bench, bucket: Bucket) -> None:
    bucket.put(fill(bench))
    bucket.run()
    new = FakeIndex(space="fake-2")
    other = FakeEmbedder()
    other.space = "fake-2"
    report = Reembedding(bucket.index, new, other, bucket.catalogue, hum, workers=0).fill()
    assert (report.embedded, report.rejected) == (5, ())
    assert report.segments == bucket.index.count()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_cluster_fetches_the_files(
    bench: Bench, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    bucket.put(fill(bench))
    try:
        report = bucket.run(engine=EngineName.RAY, make_embedder=FakeEmbedder, render=midi.render)
    finally:
        ray.shutdown()
    assert report.indexed == 5
    copies = [one for one in bucket.room.folder.iterdir() if one.stat().st_size > 5_000]
    assert len(copies) == 1, "this machine fetched what its license withholds"


class Failing(FakeEmbedder):
    """An embedder that cannot be made."""

    def __init__(self) -> None:
        raise BackendUnavailable("its model is away", "bring it back")


def test_what_fails_in_a_worker_and_is_no_fault_of_the_file_is_told(bench: Bench) -> None:
    fill(bench)
    with pytest.raises(BackendUnavailable, match="its model is away") as caught:
        bench.run(workers=1, make_embedder=Failing)
    assert caught.value.hint == "bring it back"
