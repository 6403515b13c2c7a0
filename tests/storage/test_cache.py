"""Sound that is kept: the same as if it were made again, and gone when a stem is revoked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import rag_audio
from rag_audio.audio.reading import load
from rag_audio.domain import Audio
from rag_audio.domain.licensing import Revocation, RevocationOf
from rag_audio.generation import stem_player
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.storage.cache import SoundCache
from tests.support.small_library import write_library

FAST = {"steps": 2, "seed": 4, "duration_s": 3.0, "k": 2, "strength": 0.5}


def tone(frames: int = 100) -> Audio:
    return Audio(np.zeros((1, frames), np.float32), 1000)


def test_a_sound_is_made_once_until_something_is_revoked() -> None:
    made: list[int] = []

    def make() -> Audio:
        made.append(1)
        return tone()

    kept = SoundCache()
    for _ in range(3):
        kept.renew(())
        assert kept.of("a", make).frames == 100
    assert len(made) == 1
    kept.renew(("stem",))
    kept.of("a", make)
    assert len(made) == 2
    assert kept.generation == 1
    with pytest.raises(ValueError, match="read-only"):
        kept.of("a", make).samples[0, 0] = 1.0


def test_a_holder_forgets_once_for_each_change_of_revocations() -> None:
    class Holder:
        forgot = 0

        def forget(self) -> None:
            self.forgot += 1

    kept, holder = SoundCache(), Holder()
    for _ in range(2):
        kept.renew(())
        kept.keep_in_step(holder)
    assert holder.forgot == 0
    for _ in range(2):
        kept.renew(("stem",))
        kept.keep_in_step(holder)
    assert holder.forgot == 1
    kept.renew(())
    kept.keep_in_step(holder)
    assert holder.forgot == 2


def test_every_pipeline_of_a_home_keeps_in_one_place(tmp_path: Path) -> None:
    with rag_audio.open(tmp_path / "home") as home:
        assert Pipeline(home.home).home.cache is home.pipeline.home.cache


def test_the_least_used_are_given_up_first_and_what_is_large_is_not_kept() -> None:
    made: list[str] = []

    def of(kept: SoundCache, key: str, frames: int = 100) -> None:
        def make() -> Audio:
            made.append(key)
            return tone(frames)

        kept.of(key, make)

    kept = SoundCache(most_bytes=5 * 400)
    for key in "abcde":
        of(kept, key)
    of(kept, "a")
    of(kept, "f")  # gives up b
    of(kept, "a")
    of(kept, "b")
    of(kept, "large", 1000)
    of(kept, "large", 1000)
    assert made == [*"abcdef", "b", "large", "large"]


def test_the_first_output_and_the_same_again_are_equal_and_a_revocation_empties_what_is_kept(
    tmp_path: Path,
) -> None:
    library = write_library(tmp_path / "library")
    with rag_audio.open(tmp_path / "home") as cold:
        cold.index(library)
        (first,) = cold.generate("warm electric piano", tmp_path / "1.wav", **FAST)
        assert first.plan.seed_parts
        (again,) = cold.generate("warm electric piano", tmp_path / "2.wav", **FAST)
        edits = [
            cold.inpaint(
                tmp_path / "1.wav", "bells", tmp_path / "3.wav",
                regions=[(1.0, 2.0)], steps=2, seed=1, k=1,
            )[0].record.pcm_sha256
            for _ in range(2)
        ]  # fmt: skip
        assert edits[0] == edits[1]
        generator = cold.home.generator(None)
        assert generator._latents  # type: ignore[attr-defined]
        stem = first.record.sources[0].reference.stem
        cold.home.catalogue.revoke(
            Revocation(RevocationOf.STEM, stem.id, "asked", "test", datetime.now(UTC))
        )
        loaded: list[str] = []
        real = load
        patch = pytest.MonkeyPatch()
        patch.setattr(
            stem_player,
            "load",
            lambda path, **how: (loaded.append(str(path)), real(path, **how))[1],
        )
        (other,) = cold.generate("warm electric piano", tmp_path / "4.wav", **FAST)
        patch.undo()
        assert stem.id not in {use.reference.stem.id for use in other.record.sources}
        assert loaded  # nothing of before was used
    with rag_audio.open(tmp_path / "home") as warm:
        warm.home.catalogue.end_revocation(
            Revocation(RevocationOf.STEM, stem.id, "", "test", datetime.now(UTC))
        )
        (later,) = warm.generate("warm electric piano", tmp_path / "5.wav", **FAST)
    assert first.record.pcm_sha256 == again.record.pcm_sha256 == later.record.pcm_sha256
