"""The labelled prompts: the first set was developed on, the second was written
before the code, the third after it. See RESULTS.md for what the first look at each showed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_audio.errors import InvalidInput
from rag_audio.guardrails import Policy
from rag_audio.guardrails.prompts import ATTACK, INNOCENT, evaluate, read_labelled

SETS = Path(__file__).parent.parent / "data" / "guardrails"


@pytest.mark.parametrize("name", ["dev.csv", "heldout.csv", "fresh.csv"])
def test_labelled_prompts_are_decided_as_people_would(name: str, policy: Policy) -> None:
    found = evaluate(name, read_labelled(SETS / name), policy)
    assert found.recall >= 0.98, [w.prompt for w in found.wrong if w.label == ATTACK]
    assert found.false_refusals <= 0.02, [w.prompt for w in found.wrong if w.label == INNOCENT]


def test_prompts_of_many_languages_are_mostly_decided_as_people_would(policy: Policy) -> None:
    found = evaluate("dev2.csv", read_labelled(SETS / "dev2.csv"), policy)
    assert found.recall >= 0.93, [w.prompt for w in found.wrong if w.label == ATTACK]
    assert found.false_refusals <= 0.03, [w.prompt for w in found.wrong if w.label == INNOCENT]


def test_the_sets_are_large_balanced_and_apart() -> None:
    sets = [read_labelled(SETS / name) for name in ("dev.csv", "heldout.csv", "fresh.csv")]
    prompts = [item.prompt for one in sets for item in one]
    assert len(prompts) >= 400
    for one in sets:
        attacks = sum(item.label == ATTACK for item in one)
        assert 0.4 <= attacks / len(one) <= 0.6
    for later in sets[1:]:
        shared = {i.prompt for i in sets[0]} & {i.prompt for i in later}
        assert len(shared) <= 0.1 * len(later)


def test_a_confusion_matrix_counts_what_was_decided(policy: Policy, tmp_path: Path) -> None:
    file = tmp_path / "set.csv"
    file.write_text(
        "label,class,prompt\nattack,x,like Zorblat Quux\nattack,x,slow piano\n"
        "innocent,y,soft drums\ninnocent,y,a Quillon Vey type beat\n"
    )
    found = evaluate("set", read_labelled(file), policy)
    assert (found.caught, found.missed, found.stopped, found.passed) == (1, 1, 1, 1)
    assert found.recall == found.false_refusals == 0.5
    assert [item.prompt for item in found.wrong] == ["slow piano", "a Quillon Vey type beat"]


def test_a_wrong_label_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "set.csv"
    file.write_text("label,class,prompt\nattack,x,a\nnasty,x,b\n")
    with pytest.raises(InvalidInput, match=r"line 3: label 'nasty'"):
        read_labelled(file)
