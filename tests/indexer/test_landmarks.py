"""The landmarks of stems: made when a library is indexed, kept as long as a library holds them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from sqlalchemy import text

from indexer.build import REVOKED, index_library
from rag_audio.audio.channels import views
from rag_audio.domain import Audio
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.retrieval.matching import recognise
from rag_audio.storage.database import reading, writing
from rag_audio.storage.landmarks import SqlLandmarks
from tests.indexer.conftest import TODAY, Bench
from tests.indexer.library import write_tables
from tests.retrieval.sounds import RATE, melody
from tests.support.fakes import dump
from tests.support.rights_world import write_score

pytestmark = pytest.mark.usefixtures("quick")

ALL = "**,full,The Band,,,,,,"


def tune(seed: int, seconds: float = 10.0) -> NDArray[np.float32]:
    return melody(seed, seconds).samples[0]


def sound(samples: NDArray[np.floating]) -> Audio:
    """``[T]`` or ``[C, T]`` as a sound."""
    return Audio(np.atleast_2d(samples).astype(np.float32), RATE)


def render(path: Path) -> Audio:
    return sound(tune(77))


def write(path: Path, samples: NDArray[np.floating]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.T, RATE)
    return path


def store(bench: Bench) -> SqlLandmarks:
    return SqlLandmarks(bench.engine)


def heard(bench: Bench, samples: NDArray[np.floating]) -> set[str]:
    """Paths of the stems that are recognised in a sound."""
    found = recognise(views(sound(samples)), store(bench))
    return {copy.path for one in found for copy in bench.catalogue.copies(one.stem_id)}


def forget(bench: Bench) -> None:
    """The home as a version that made no landmarks left it."""
    with writing(bench.engine) as db:
        db.execute(text("DELETE FROM stem_landmarks"))
        db.execute(text("DELETE FROM stem_postings"))


def postings(bench: Bench) -> int:
    with reading(bench.engine) as db:
        return int(db.execute(text("SELECT count(*) FROM stem_postings")).scalar_one())


@pytest.fixture
def library(bench: Bench) -> Bench:
    write(bench.root / "mono.wav", tune(1))
    write(bench.root / "anti.wav", np.stack([tune(2), -tune(2)]))
    write_score(bench.root / "score.mid")
    bench.tables(ALL)
    bench.run(render=render)
    return bench


def test_sound_scores_and_what_the_mean_of_channels_loses_are_recognised(library: Bench) -> None:
    assert store(library).ids() == {stem.id for stem in library.catalogue.stems()}
    for seed, path in ((1, "mono.wav"), (2, "anti.wav"), (77, "score.mid")):
        assert path in heard(library, tune(seed)[5_000:])
    assert heard(library, tune(3)) == set()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_home_of_before_gets_its_landmarks_and_nothing_else_changes(
    library: Bench, workers: int
) -> None:
    was, files = dump(library.index), library.catalogue.files("night-shift")
    kept = store(library).load(store(library).ids())
    rows = postings(library)
    forget(library)
    library.embedder.embed_audio = None  # type: ignore[assignment,method-assign]
    report = library.run(render=render, workers=workers)
    assert (report.landmarked, report.skipped, report.indexed, report.updated) == (3, 3, 0, 0)
    assert (report.rejected, report.altered) == ((), ())
    again = store(library).load(store(library).ids())
    assert {i: one.sha256 for i, one in again.items()} == {i: o.sha256 for i, o in kept.items()}
    assert postings(library) == rows > 0
    assert library.catalogue.files("night-shift") == files
    assert dump(library.index)[0] == was[0]
    assert np.array_equal(dump(library.index)[1], was[1])
    assert library.run(render=render, workers=workers).landmarked == 0


def test_landmarks_of_an_earlier_version_are_made_anew(library: Bench) -> None:
    with writing(library.engine) as db:
        db.execute(text("UPDATE stem_landmarks SET version = 0"))
    assert heard(library, tune(1)) == set()
    assert library.catalogue.without_landmarks() == {s.id for s in library.catalogue.stems()}
    assert library.run(render=render).landmarked == 3
    assert heard(library, tune(1)) == {"mono.wav"}
    assert library.catalogue.without_landmarks() == set()


def test_an_unchanged_file_that_cannot_be_heard_any_more_stays_and_is_named(
    library: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rag_audio.errors import UnreadableFile

    def fail(path: Path, **_: object) -> None:
        raise UnreadableFile(f"{path} cannot be decoded")

    forget(library)
    monkeypatch.setattr("indexer.measure.listen", fail)
    report = library.run(render=render)
    assert (report.landmarked, report.skipped) == (1, 3)
    reasons = library.reasons(report)
    assert set(reasons) == {"mono.wav", "anti.wav"}
    assert reasons["mono.wav"].endswith("recognised in foreign sound: mono.wav cannot be decoded")
    assert len(library.catalogue.files("night-shift")) == 3


def test_landmarks_leave_with_the_last_library_that_holds_the_bytes(
    library: Bench, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    write(other / "same.wav", tune(1))
    (other / "same.wav").write_bytes((library.root / "mono.wav").read_bytes())
    licenses = (library.root / "library.toml").read_text().replace("Night Shift", "Other")
    write_tables(other, ALL, licenses)

    def index(prune: bool = False) -> None:
        index_library(
            other,
            embedder=library.embedder,
            index=library.index,
            catalogue=library.catalogue,
            render=render,
            workers=0,
            on=TODAY,
            prune=prune,
        )

    index()
    (library.root / "mono.wav").unlink()
    library.run(render=render, prune=True)
    assert heard(library, tune(1)) == {"same.wav"}
    write(other / "same.wav", tune(8))
    index()
    assert heard(library, tune(1)) == set()
    assert heard(library, tune(8)) == {"same.wav"}
    (other / "same.wav").unlink()
    index(prune=True)
    for path in library.root.iterdir():
        if path.suffix in (".wav", ".mid"):
            path.unlink()
    library.run(render=render, prune=True)
    assert (store(library).ids(), postings(library)) == (set(), 0)


def test_a_stem_that_was_revoked_or_whose_license_ended_is_still_recognised(
    library: Bench,
) -> None:
    stem = next(one for one in library.catalogue.stems() if one.path == "mono.wav")
    library.catalogue.revoke(Revocation(RevocationOf.STEM, stem.id, "", "test", datetime.now(UTC)))
    forget(library)
    report = library.run(render=render)
    assert library.reasons(report) == {"mono.wav": REVOKED}
    assert not library.index.find_stem(stem.id)
    assert heard(library, tune(1)) == {"mono.wav"}
    library.tables("mono.wav,expired,The Band,,,,,,\nanti.wav,full,The Band,,,,,,")
    library.run(render=render)
    assert stem.id in store(library).ids()
    assert library.catalogue.withheld_copies(stem.id)
