"""The guardrails on the main path: what reaches the plan, the ledger and the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rag_audio import guardrails
from rag_audio.cli.app import run
from rag_audio.domain import GenerationRequest
from rag_audio.errors import RequestRefused
from rag_audio.guardrails import Action, Artist, Policy, Roster, output


class Events:
    """What a ledger would be told."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, dict[str, Any]]] = []

    def append_event(self, kind: str, document: dict[str, Any]) -> SimpleNamespace:
        self.noted.append((kind, document))
        return SimpleNamespace(seq=len(self.noted))


def _policy(actions: str = "") -> Policy:
    roster = Roster((Artist("Zanther Quill", genre="jazz", era="1950s"),))
    return Policy(frozenset({"Low Tide"}), frozenset(), roster, guardrails.parse_actions(actions))


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        (GenerationRequest("horns like Zanther Quill"), "prompt"),
        (GenerationRequest("horns", negative_prompt="zanther quill"), "negative"),
        (GenerationRequest("horns", artist="Zanther Quill"), "artist"),
    ],
)
def test_a_refusal_is_in_the_ledger_without_the_text(
    request_: GenerationRequest, where: str
) -> None:
    ledger = Events()
    with pytest.raises(RequestRefused):
        output.guard_request(request_, _policy(), ledger)  # type: ignore[arg-type]
    ((kind, document),) = ledger.noted
    assert kind == "refusal"
    assert document["where"] == where
    assert document["rules"]
    assert "quill" not in json.dumps(document).lower()
    assert "horns" not in json.dumps(document).lower()


def test_a_licensed_artist_who_was_put_in_gives_the_references_too() -> None:
    told = "named-artist=transform-licensed,style-phrase=transform-licensed"
    policy = replace(_policy(told), styles={"Low Tide": ("jazz",)})
    request, notes = output.guard_request(
        GenerationRequest("slow horns like Zanther Quill", negative_prompt="zanther quill"),
        policy,
        Events(),  # type: ignore[arg-type]
    )
    assert request.prompt == "slow horns like Low Tide"
    assert request.artist == "Low Tide"
    assert request.negative_prompt.startswith("1950s jazz")
    assert "the licensed Low Tide" in notes[0]
    assert "Low Tide" not in request.negative_prompt


def test_a_transform_reaches_the_request_and_says_so() -> None:
    ledger = Events()
    request, notes = output.guard_request(
        GenerationRequest("slow horns like Zanther Quill", artist="low tide"),
        _policy("named-artist=transform,style-phrase=transform"),
        ledger,  # type: ignore[arg-type]
    )
    assert request.prompt.startswith("slow horns like 1950s jazz")
    assert request.artist == "Low Tide"
    (note,) = notes
    assert note.startswith("prompt rewritten:")
    assert ledger.noted == []


def test_a_stems_words_with_a_name_are_dropped_and_noted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    guardrails.log_to(log)
    is_clean = output.phrase_filter(_policy())
    assert is_clean("warm electric piano")
    assert not is_clean("a z a n t h e r quill homage")
    last = json.loads(log.read_text().splitlines()[-1])
    assert (last["action"], last["where"]) == (Action.REFUSE.value, "stem")


def test_the_command_prints_confusion_matrices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled = tmp_path / "set.csv"
    labelled.write_text("label,class,prompt\nattack,x,like Zorblat Quux\ninnocent,y,soft drums\n")
    arguments = ["guard", "--evaluate", str(labelled), "--home", str(tmp_path / "home")]
    assert run([*arguments, "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["evaluations"]
    assert one["attack"] == {"stopped": 1, "passed": 0}
    assert one["innocent"] == {"stopped": 0, "passed": 1}
    assert run(arguments) == 0
    assert "recall 100.0 %" in capsys.readouterr().out
    assert run([*arguments, "a prompt as well"]) == 2


def test_a_policy_file_in_the_home_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.csv").write_text("name\nOzzeldrim Vantrell\n")
    assert run(["guard", "ozzeldrim-vantrell pads", "--home", str(tmp_path), "--json"]) == 0
    (decision,) = json.loads(capsys.readouterr().out)["decisions"]
    assert decision["decision"] == "refuse"
    assert decision["matches"][0]["name"] == "Ozzeldrim Vantrell"
