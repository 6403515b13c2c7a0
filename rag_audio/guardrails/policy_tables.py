"""What the rules look for, as ``data/policy/*.toml`` lists it: words, patterns, letters."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from typing import Any

from rag_audio.errors import ConfigError
from rag_audio.resources import REINSTALL, data_dir


@cache
def policy_table(name: str) -> dict[str, Any]:
    """``data/policy/<name>.toml``.

    Raises:
        ConfigError: it is missing or damaged.
    """
    file = data_dir("policy") / f"{name}.toml"
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{file} cannot be read: {why}", hint=REINSTALL) from error


def policy_lines(name: str) -> list[str]:
    """The lines of ``data/policy/<name>.txt`` that are no comments."""
    lines = (data_dir("policy") / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def word_set(words: str) -> frozenset[str]:
    """Words with spaces between them, as a set."""
    return frozenset(words.split())


def rule_words(rule: str, name: str) -> frozenset[str]:
    """A set of words of ``rules.toml``."""
    return word_set(policy_table("rules")[rule][name])


def rule_pattern(rule: str, name: str, flags: int = 0) -> re.Pattern[str]:
    """A regular expression of ``rules.toml``."""
    return compiled(policy_table("rules")[rule][name], flags)


def compiled(lines: str, flags: int = 0) -> re.Pattern[str]:
    """A regular expression that is written in lines, whose ends count for nothing."""
    return re.compile(lines.replace("\n", ""), flags)


@cache
def letters(name: str) -> dict[str, str]:
    """What each character of a table of ``letters.toml`` stands for."""
    return {pair[0]: pair[2:] for pair in policy_table("letters")[name].split()}


def replacements(name: str) -> tuple[tuple[re.Pattern[str], Any], ...]:
    """Patterns of a table of ``letters.toml``, each with what it is replaced by."""
    return tuple((re.compile(pattern), to) for pattern, to in policy_table("letters")[name])
