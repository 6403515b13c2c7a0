"""A stem that may not be used is refused, whatever was done to its sound on the way in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy import text

from rag_audio.audio.dsp import resample, stretch
from rag_audio.domain import Audio, GenerationResult, Use
from rag_audio.domain.disclosure import Disclosure
from rag_audio.domain.licensing import RevocationOf
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.retrieval.recognition import share_outside
from rag_audio.storage.database import writing
from tests.retrieval.sounds import RATE, melody
from tests.support.rights_world import World

QUICK = {"steps": 2, "duration_s": 2.0, "seed": 1}
Sound = NDArray[np.floating]


def tune(seed: int, seconds: float = 10.0) -> Sound:
    return melody(seed, seconds).samples[0]


def sound(samples: Sound) -> Audio:
    """``[T]`` or ``[C, T]`` as a sound."""
    return Audio(np.atleast_2d(samples).astype(np.float32), RATE)


class Tunes(World):
    """The library of :class:`World` with music of its own; ``target.wav`` is for prompts only."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.license(uses=frozenset({Use.PROMPT}))

    def _write(self) -> None:
        super()._write()
        soundfile.write(self.library / "target.wav", TARGET, RATE)
        soundfile.write(self.library / "good.wav", tune(2), RATE)


TARGET = tune(1)
NOISE = (np.random.default_rng(4).standard_normal(TARGET.size) * 0.2).astype(np.float32)


def _gated(samples: Sound) -> Sound:
    """On for 400 ms, off for 200 ms."""
    t = np.arange(samples.size) / RATE
    return samples * (t % 0.6 < 0.4)


def _faster(samples: Sound) -> Sound:
    """3 % faster, and higher with it."""
    return resample(sound(samples), round(RATE / 1.03)).samples[0]


def _slower(samples: Sound) -> Sound:
    return stretch(sound(samples), 1.05, 0).samples[0]


def _higher(samples: Sound) -> Sound:
    return stretch(sound(samples), 1.0, 1).samples[0]


DISGUISES: dict[str, Callable[[Sound], Sound]] = {
    "opposite polarity": lambda s: np.stack([s + NOISE, NOISE - s]),
    "left and right unlike": lambda s: np.stack([0.3 * s + NOISE, NOISE - 0.6 * s]),
    "gated": _gated,
    "backwards": lambda s: s[::-1],
    "3 % faster": _faster,
    "5 % slower": _slower,
    "a semitone up": _higher,
    "backwards and opposite": lambda s: np.stack([s[::-1] + NOISE, NOISE - s[::-1]]),
}


@pytest.fixture(scope="module")
def tunes(tmp_path_factory: pytest.TempPathFactory) -> Tunes:
    return Tunes(tmp_path_factory.mktemp("tunes"))


def write(path: Path, samples: Sound) -> Path:
    soundfile.write(path, np.atleast_2d(samples).T / 1.6, RATE)
    return path


@pytest.mark.parametrize("way", DISGUISES)
def test_a_disguised_stem_may_not_be_edited_or_hummed_after(
    tunes: Tunes, tmp_path: Path, way: str
) -> None:
    file = write(tmp_path / "mine.wav", DISGUISES[way](TARGET))
    asks = (
        lambda: tunes.workspace.inpaint(
            file, "slow", tmp_path / "out.wav", regions=[(1.0, 2.0)], audio_rights="own", steps=2
        ),
        lambda: tunes.workspace.plan(
            "slow", audio=str(file), audio_as="melody", audio_rights="own", **QUICK
        ),
    )
    for ask in asks:
        with pytest.raises(RequestRefused, match="it holds Hidden Tide"):
            ask()
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize("way", DISGUISES)
def test_what_a_disguised_stem_is_used_for_is_its_license_s_to_say(
    tunes: Tunes, tmp_path: Path, way: str
) -> None:
    file = write(tmp_path / "mine.wav", DISGUISES[way](TARGET))
    plan = tunes.workspace.plan("slow", audio=str(file), **QUICK)  # a prompt may be made from it
    (note,) = [one for one in plan.notes if "recognised" in one]
    assert note.startswith("mine.wav was recognised as Hidden Tide, by its sound")
    tunes.revoke(RevocationOf.STEM, tunes.target.id)
    tunes.home.index.delete([one.id for one in tunes.home.index.find_stem(tunes.target.id)])
    try:
        with pytest.raises(RequestRefused, match=r"it holds Hidden Tide .*revoked"):
            tunes.workspace.plan("slow", audio=str(file), audio_rights="own", **QUICK)
    finally:
        for one in tunes.home.catalogue.revocations():
            tunes.home.catalogue.end_revocation(one)
        tunes.home.index.upsert(tunes._points)


def test_a_plan_says_how_a_stem_was_disguised(tunes: Tunes, tmp_path: Path) -> None:
    said = {
        way: tunes.workspace.plan(
            "slow", audio=str(write(tmp_path / "mine.wav", disguise(TARGET))), **QUICK
        ).notes
        for way, disguise in DISGUISES.items()
    }
    notes = {way: next(n for n in all_ if "recognised" in n) for way, all_ in said.items()}
    assert "backwards" in notes["backwards"]
    assert re.search(r"\((2\.9|3\.\d) % faster, 0\.5 semitones higher\)", notes["3 % faster"])
    assert re.search(r"\((4\.\d|5\.\d) % slower\)", notes["5 % slower"])
    assert re.search(r"\((0\.9|1\.\d) semitones higher\)", notes["a semitone up"])
    assert "channels differ" in notes["opposite polarity"]
    assert "(" not in notes["gated"]


def test_sound_of_one_s_own_is_nobody_s_stem(tunes: Tunes, tmp_path: Path) -> None:
    for seed in range(20, 26):
        file = write(tmp_path / "mine.wav", np.stack([tune(seed, 6.0), NOISE[: 6 * RATE]]))
        plan = tunes.workspace.plan("slow", audio=str(file), audio_rights="own", **QUICK)
        assert not [note for note in plan.notes if "recognised" in note]


@pytest.mark.parametrize("libraries", [("small",), ("else",)])
def test_a_key_hears_the_stems_of_its_own_libraries_alone(
    tunes: Tunes, tmp_path: Path, libraries: tuple[str, ...]
) -> None:
    file = write(tmp_path / "mine.wav", _slower(TARGET))
    told = Disclosure(frozenset(libraries))
    theirs = Pipeline(tunes.home.limited_to(libraries, disclosure=told))
    seen = theirs.gate.inspector(theirs.rights()).inspect(file)
    assert [one.name for one in seen.stems] == (["Hidden Tide"] if "small" in libraries else [])
    assert (len(seen.notes(told)), seen.library) == (len(seen.stems), "")


def test_stems_of_a_home_of_before_are_still_compared_as_they_are(
    tmp_path: Path,
) -> None:
    old = Tunes(tmp_path)
    with writing(old.home.database) as db:
        db.execute(text("DELETE FROM stem_landmarks"))
        db.execute(text("DELETE FROM stem_postings"))
    file = write(tmp_path / "mine.wav", DISGUISES["opposite polarity"](TARGET)[:, 3_000:])
    with pytest.raises(RequestRefused, match="it holds Hidden Tide"):
        old.workspace.inpaint(
            file, "slow", tmp_path / "out.wav", regions=[(1.0, 2.0)], audio_rights="own", steps=2
        )


def test_the_sound_of_a_stem_whose_license_ended_is_refused(tmp_path: Path) -> None:
    world = Tunes(tmp_path)
    toml = (world.library / "library.toml").read_text()
    ended = 'spdx = "LicenseRef-Target-1"\nvalid_until = 2020-12-31'
    (world.library / "library.toml").write_text(toml.replace('spdx = "LicenseRef-Target-1"', ended))
    world.index()
    file = write(tmp_path / "mine.wav", _slower(TARGET))
    with pytest.raises(RequestRefused, match="a stem of the library Small that has no license now"):
        world.workspace.plan("slow", audio=str(file), audio_rights="own", **QUICK)


def test_what_stands_beside_a_licensed_stem_needs_a_statement_of_its_own(
    tunes: Tunes, tmp_path: Path
) -> None:
    """A snippet that is licensed says nothing of the minute of sound around it."""
    file = write(tmp_path / "mine.wav", np.concatenate([tune(2)[: 6 * RATE], tune(30)]))

    def ask(rights: str | None) -> GenerationResult:
        (one,) = tunes.workspace.inpaint(
            file, "slow", tmp_path / "out.wav", regions=[(1.0, 2.0)], audio_rights=rights, steps=2
        )
        return one

    with pytest.raises(InvalidInput, match=r"state your rights to the other \d\d% of it"):
        ask(None)
    edit = ask("own").plan.edit
    assert edit is not None and edit.source_rights == "own"
    (whole,) = tunes.workspace.inpaint(
        write(tmp_path / "whole.wav", tune(2)), "slow", tmp_path / "2.wav", regions=[(1.0, 2.0)],
        steps=2,
    )  # fmt: skip
    assert whole.plan.edit is not None and whole.plan.edit.source_rights is None


def test_an_edited_file_is_not_the_output_that_kept_its_sound(tunes: Tunes, tmp_path: Path) -> None:
    own = tune(40)
    file = write(tmp_path / "own.wav", own)
    (first,) = tunes.workspace.inpaint(
        file, "slow", tmp_path / "1.wav", regions=[(1.0, 2.0)], audio_rights="own", steps=2
    )
    again = tunes.workspace.pipeline.gate.inspector(tunes.workspace.pipeline.rights())
    cut = write(tmp_path / "cut.wav", own[3 * RATE :])
    assert [again.inspect(one).output for one in (file, cut)] == [None, None]
    assert again.inspect(tmp_path / "1.wav").output == first.record.output


@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)).map(sorted).map(tuple), max_size=6),
    st.floats(0.1, 20),
)
def test_what_is_outside_of_parts_is_what_no_sample_of_them_covers(
    parts: list[tuple[float, float]], duration_s: float
) -> None:
    times = (np.arange(4000) + 0.5) / 4000 * duration_s
    inside = np.zeros(times.size, bool)
    for start, end in parts:
        inside |= (times >= start) & (times < end)
    assert share_outside(parts, duration_s) == pytest.approx(1 - inside.mean(), abs=0.005)
    assert share_outside([*parts, None], duration_s) == 0.0
