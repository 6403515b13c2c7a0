"""Tags that the embedder derives: from sure to silent, and where they are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.derived_tags import CURVES, LABELS, TagListener, margins_of
from rag_audio.domain import Audio, DerivedTag
from rag_audio.models.clap import ClapEmbedder
from rag_audio.resources import data_dir
from tests.indexer.conftest import Bench
from tests.indexer.library import later_analysis, tone
from tests.indexer.test_refresh import age
from tests.support.fakes import FakeEmbedder
from tests.support.rights_world import write_score

ALL = "**,full,The Band,,,,,,"
NAMES = list(LABELS)


class Hearing(FakeEmbedder):
    """An embedder with one dimension for each label; sound it hears as it is told to.

    Attributes:
        heard: the label of every sound. asked: texts that were embedded.
    """

    def __init__(self, heard: str = "organ", scale: float = 20.0) -> None:
        super().__init__("hearing-1")
        self.untrained, self.logit_scale, self.heard = False, scale, heard
        self.asked: list[str] = []

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        rows = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[next(at for at, name in enumerate(NAMES) if text in LABELS[name])] = 1.0
        return rows

    def embed_audio(self, clips: Sequence[Audio]) -> NDArray[np.float32]:
        rows = np.zeros((len(clips), self.dimension), np.float32)
        rows[:, NAMES.index(self.heard)] = 1.0
        return rows


def vector(label: str) -> NDArray[np.float32]:
    return Hearing(label).embed_audio([Audio(np.zeros((1, 1), np.float32), 8000)])


def test_what_is_heard_without_doubt_is_told_with_its_confidence() -> None:
    embedder = Hearing()
    listener = TagListener(embedder)
    assert listener.tags(vector("guitar")) == (DerivedTag("guitar", 1.0),)
    assert listener.tags(vector("drums")) == (DerivedTag("drums", 1.0),)
    assert len(embedder.asked) == sum(map(len, LABELS.values())), "words are embedded once"


def test_what_lies_between_two_labels_is_not_told() -> None:
    between = np.concatenate([vector("guitar"), vector("piano")])
    assert TagListener(Hearing()).tags(between) == ()


@pytest.mark.parametrize("change", ["untrained", "no scale", "no windows"])
def test_an_embedder_that_cannot_tell_how_sure_it_is_derives_nothing(change: str) -> None:
    embedder = Hearing(scale=0.0 if change == "no scale" else 20.0)
    embedder.untrained = change == "untrained"
    heard = vector("organ")[:0] if change == "no windows" else vector("organ")
    assert TagListener(embedder).tags(heard) == ()
    assert TagListener(FakeEmbedder()).tags(heard) == ()
    assert embedder.asked == []


def test_of_a_measured_space_its_curves_alone_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CURVES, "hearing-1", {"organ": (2.0, 0.0)})
    listener = TagListener(Hearing())
    assert listener.tags(vector("organ")) == (DerivedTag("organ", 0.88),)
    assert listener.tags(vector("piano")) == ()


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=15))
def test_a_margin_is_to_the_best_of_the_others(cosines: list[float]) -> None:
    found = margins_of(np.array(cosines))
    for at, value in enumerate(cosines):
        assert found[at] == pytest.approx(value - max(cosines[:at] + cosines[at + 1 :]))


# In a library.


@pytest.fixture
def heard(bench: Bench, quick: object) -> Bench:
    """Sound with and without tags, and a score, which says its instruments itself."""
    bench.embedder = Hearing()
    tone(bench.root / "bare.wav", 220, seconds=12)
    tone(bench.root / "tagged.wav", 330)
    write_score(bench.root / "score.mid")
    bench.tables(f"{ALL}\ntagged.wav,full,The Band,,,,mine,,")
    return bench


def derived(bench: Bench) -> dict[str, tuple[DerivedTag, ...]]:
    """By path, of the rows; the points say the same."""
    rows = bench.catalogue.files("night-shift")
    points = {point.segment.stem.path: point.segment.stem for point in bench.index.scroll()}
    assert points == {path: row.stem for path, row in rows.items()}
    return {path: row.stem.derived_tags for path, row in rows.items()}


def test_they_are_derived_where_nobody_wrote_what_it_is(heard: Bench) -> None:
    heard.run()
    organ = (DerivedTag("organ", 1.0),)
    assert derived(heard) == {"bare.wav": organ, "tagged.wav": (), "score.mid": ()}
    stem = heard.catalogue.files("night-shift")["bare.wav"].stem
    assert (stem.tags, "organ" in stem.caption) == ((), False), "they are nobody's words"


def test_a_row_that_is_written_later_drops_them_and_one_that_is_emptied_brings_them_back(
    heard: Bench,
) -> None:
    heard.run()
    heard.embedder.embed_audio = None  # type: ignore[assignment,method-assign]
    heard.tables(f"{ALL}\nbare.wav,full,The Band,,,,church,,")
    heard.run()
    assert derived(heard)["bare.wav"] == ()
    assert derived(heard)["tagged.wav"] == (DerivedTag("organ", 1.0),)
    heard.tables(ALL)
    heard.run()
    assert derived(heard)["bare.wav"] == (DerivedTag("organ", 1.0),)


def test_a_copy_has_those_of_its_bytes(heard: Bench) -> None:
    heard.run()
    (heard.root / "again.wav").write_bytes((heard.root / "bare.wav").read_bytes())
    heard.run()
    rows = heard.catalogue.files("night-shift")
    assert rows["again.wav"].stem.derived_tags == rows["bare.wav"].stem.derived_tags != ()


def test_a_refresh_derives_them_from_the_vectors_of_the_index(
    heard: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard.embedder.untrained = True
    heard.run()
    assert derived(heard)["bare.wav"] == ()
    age(heard)
    monkeypatch.setattr("rag_audio.audio.analysis.analyse", later_analysis)
    heard.embedder.untrained = False
    heard.embedder.embed_audio = None  # type: ignore[assignment,method-assign]
    heard.run(refresh=True)
    assert derived(heard)["bare.wav"] == (DerivedTag("organ", 1.0),)


def test_a_run_with_nothing_to_do_embeds_no_words(heard: Bench) -> None:
    heard.run()
    heard.embedder.embed_text = None  # type: ignore[assignment,method-assign]
    assert heard.run().skipped == 3


def test_the_embedded_model_hears_drums_and_no_drums_in_a_hum() -> None:
    from rag_audio.audio.midi import render

    embedder = ClapEmbedder(data_dir("models/clap-mini"))
    assert embedder.space in CURVES and 1.0 < embedder.logit_scale <= 100.0
    drums = render(data_dir("demo") / "velda-quarn" / "last-tram-drums.mid", duration_s=10.0)
    t = np.arange(10 * 24_000) / 24_000
    hum = Audio((0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)[None], 24_000)
    listener = TagListener(embedder)
    assert [tag.text for tag in listener.tags(embedder.embed_audio([drums]))] == ["drums"]
    assert listener.tags(embedder.embed_audio([hum])) == ()
