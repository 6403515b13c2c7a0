"""How well the guardrails do on labelled prompts: a CSV with ``label, class, prompt``.

``label`` is ``attack`` or ``innocent``; ``class`` says of which kind, for the table.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_audio.errors import InvalidInput
from rag_audio.guardrails.policy import Action, Policy
from rag_audio.guardrails.prompts import check

ATTACK, INNOCENT = "attack", "innocent"


@dataclass(frozen=True)
class Labelled:
    """A prompt that somebody judged."""

    label: str
    kind: str
    prompt: str


@dataclass(frozen=True)
class Evaluation:
    """A confusion matrix, and the prompts on its wrong side.

    Attributes:
        caught, missed: attacks that were stopped (refused or rewritten), and that were not.
        stopped, passed: innocent prompts that were stopped, and that were not.
        wrong: the missed attacks and the stopped innocents.
        by_kind: (right, all) for each label and class.
    """

    name: str
    caught: int
    missed: int
    stopped: int
    passed: int
    wrong: tuple[Labelled, ...]
    by_kind: dict[tuple[str, str], tuple[int, int]]

    @property
    def recall(self) -> float:
        """Share of the attacks that were stopped; 1 where there are none."""
        return self.caught / max(1, self.caught + self.missed) if self.caught + self.missed else 1.0

    @property
    def false_refusals(self) -> float:
        """Share of the innocent prompts that were stopped."""
        return self.stopped / max(1, self.stopped + self.passed)

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.name,
            "attack": {"stopped": self.caught, "passed": self.missed},
            "innocent": {"stopped": self.stopped, "passed": self.passed},
            "recall": self.recall,
            "false_refusals": self.false_refusals,
            "wrong": [{"label": w.label, "class": w.kind, "prompt": w.prompt} for w in self.wrong],
            "by_class": [
                {"label": label, "class": kind, "right": right, "prompts": count}
                for (label, kind), (right, count) in sorted(self.by_kind.items())
            ],
        }


def read_labelled(path: Path) -> tuple[Labelled, ...]:
    """Labelled prompts of a CSV file.

    Raises:
        InvalidInput: it cannot be read, or a row is wrong; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"label", "prompt"} <= set(rows.fieldnames or ()):
                raise InvalidInput(
                    f"{path}: the first line lacks label or prompt", hint="label,class,prompt"
                )
            return tuple(_labelled(path, rows.line_num, row) for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path} cannot be read as CSV in UTF-8: {error}") from error


def evaluate(name: str, prompts: tuple[Labelled, ...], policy: Policy) -> Evaluation:
    """Decide about every prompt and compare with its label."""
    counts: Counter[tuple[str, bool]] = Counter()
    right: Counter[tuple[str, str]] = Counter()
    every: Counter[tuple[str, str]] = Counter()
    wrong = []
    for item in prompts:
        stopped = check(item.prompt, policy).action is not Action.ALLOW
        counts[item.label, stopped] += 1
        every[item.label, item.kind] += 1
        if stopped == (item.label == ATTACK):
            right[item.label, item.kind] += 1
        else:
            wrong.append(item)
    return Evaluation(
        name,
        caught=counts[ATTACK, True],
        missed=counts[ATTACK, False],
        stopped=counts[INNOCENT, True],
        passed=counts[INNOCENT, False],
        wrong=tuple(wrong),
        by_kind={key: (right[key], count) for key, count in every.items()},
    )


def _labelled(path: Path, line: int, row: dict[str, str]) -> Labelled:
    label = (row["label"] or "").strip()
    if label not in (ATTACK, INNOCENT):
        raise InvalidInput(
            f"{path}, line {line}: label {label!r}", hint=f"labels: {ATTACK}, {INNOCENT}"
        )
    return Labelled(label, (row.get("class") or "").strip(), row["prompt"] or "")
