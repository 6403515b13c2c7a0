"""What users rely on is what it was: see :mod:`tests.surface`."""

from __future__ import annotations

from pathlib import Path

from tests.surface import COMMAND, LISTED, keys, names


def test_commands_options_routes_settings_and_names_are_those_listed(tmp_path: Path) -> None:
    compare({line for line in listed() if not line.startswith("json ")}, names(tmp_path))


def test_json_documents_have_the_keys_listed(tmp_path: Path) -> None:
    compare({line for line in listed() if line.startswith("json ")}, set(keys(tmp_path)))


def listed() -> list[str]:
    return LISTED.read_text(encoding="utf-8").splitlines()


def compare(was: set[str], found: set[str]) -> None:
    changes = [f"- {line}" for line in sorted(was - found)]
    changes += [f"+ {line}" for line in sorted(found - was)]
    assert not changes, "\n".join([*changes, f"Where this is meant: {COMMAND}"])
