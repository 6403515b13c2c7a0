from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_audio.retrieval.matching import LEAST_EVIDENCE, Alignment, accepted, confidence

MOSTLY = {"evidence": 150.0, "agreeing": 60, "of": 80, "exactness": 0.9}


def _fit(
    *, tempo: float = 1.0, semitones: float = 0.0, length_s: float = 5.0, **other: float
) -> Alignment:
    values = MOSTLY | other
    return Alignment(
        values["evidence"],
        int(values["agreeing"]),
        int(values["of"]),
        values["exactness"],
        0.0,
        length_s,
        tempo,
        semitones,
        0.0,
    )


@pytest.mark.parametrize(("tempo", "semitones"), [(1.0, 0.0), (1.05, 0.0), (1.0, 1.0), (0.95, 2.0)])
def test_exact_and_whole_is_named_however_it_was_changed(tempo: float, semitones: float) -> None:
    assert accepted(_fit(tempo=tempo, semitones=semitones))


@pytest.mark.parametrize("tempo", [0.93, 1.04])
def test_a_pattern_at_another_tempo_needs_more_than_one_at_its_own(tempo: float) -> None:
    performance = {"exactness": 0.5, "agreeing": 40.0, "evidence": 300.0}
    assert accepted(_fit(**performance))
    assert not accepted(_fit(tempo=tempo, **performance))


@pytest.mark.parametrize(
    "weak",
    [{"evidence": LEAST_EVIDENCE - 1}, {"agreeing": 11, "of": 12}, {"length_s": 1.0}],
)
def test_little_is_not_enough(weak: dict[str, float]) -> None:
    assert not accepted(_fit(**weak))


@given(
    tempo=st.floats(0.88, 1.13),
    semitones=st.floats(-2.4, 2.4),
    evidence=st.floats(0, 900),
    agreeing=st.integers(0, 80),
    exactness=st.floats(0, 1),
    more=st.floats(0, 100),
)
def test_more_of_anything_never_turns_a_stem_away(
    tempo: float, semitones: float, evidence: float, agreeing: int, exactness: float, more: float
) -> None:
    changed = {"tempo": tempo, "semitones": semitones}
    less = _fit(**changed, evidence=evidence, agreeing=agreeing, exactness=exactness)
    greater = _fit(
        **changed,
        evidence=evidence + more,
        agreeing=min(80, agreeing + int(more)),
        exactness=min(1.0, exactness + more / 100),
    )
    assert accepted(greater) >= accepted(less)
    assert 0 <= confidence(less) <= confidence(greater) <= 1
