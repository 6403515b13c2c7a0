"""A license that was changed past the log, used and put back is found for ever."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rag_audio.pipeline import delivery
from rag_audio.provenance.ledger import audit_rights
from tests.support import rights_world
from tests.support.rights_world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(audit_rights, "_SLACK", timedelta(0))
    return World(tmp_path)


def found(world: World) -> list[str]:
    return [fault.what for fault in world.home.ledger.verify()]


def make(world: World, name: str) -> None:
    world.workspace.generate("slow warm", world.library.parent / name, duration_s=1.0)


def rewrite(world: World, old: str, new: str, name: str = "library.toml") -> None:
    """Change one of the library's own files."""
    file = world.library / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def edit(world: World, **changes: object) -> None:
    """Change a license in its table, and nothing else but the number by which processes see it."""
    with closing(sqlite3.connect(world.home.folder / "ledger.db")) as db:
        for id_, text in db.execute("SELECT id, license FROM licenses").fetchall():
            edited = json.dumps({**json.loads(text), **changes}, ensure_ascii=False)
            db.execute("UPDATE licenses SET license = ? WHERE id = ?", (edited, id_))
        db.execute("UPDATE catalogue_epoch SET epoch = epoch + 1, rights = epoch + 1")
        db.commit()


def test_a_license_that_was_widened_past_the_log_is_found_after_it_was_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = rights_world.TOML.replace('"prompt", "init_audio", "style"', '"prompt"')
    monkeypatch.setattr(rights_world, "TOML", narrow)
    world = World(tmp_path)
    sealed = world.home.ledger.size()
    edit(world, uses=["init_audio", "prompt", "style"])
    make(world, "wide.wav")
    world.index()
    shown = world.home.ledger.notes()
    rewrite(world, "Amber Stairs", "Amber Steps", "stems.csv")
    world.index()
    assert world.home.ledger.notes() == shown
    wrong = found(world)
    assert wrong
    assert all(
        one.startswith("output 1 says that license ")
        and " of library small grants init_audio, prompt, style, which is not the license that was "
        f"sealed at entry {sealed}"
        in one
        for one in wrong
    )
    (note,) = shown
    assert "rows were changed past the log (license_rows)" in note
    make(world, "narrow.wav")
    assert found(world) == wrong


def test_other_terms_than_uses_are_held_too(world: World) -> None:
    edit(world, credit="", max_similarity=0.99)
    make(world, "take.wav")
    world.index()
    assert any("with another credit, max_similarity" in one for one in found(world))


def test_licenses_that_change_by_rights_are_never_a_fault(world: World) -> None:
    make(world, "1.wav")
    rewrite(world, "Contains Good", "Holds Good")
    world.index()
    make(world, "2.wav")
    # A run that did not end, and one that goes on with yet another license.
    world.license(max_similarity=0.9)
    world.home.catalogue.put_licenses("small", list(world.licenses.values()))
    changed = world.licenses["small/good"]
    world.home.catalogue.put_licenses(
        "small",
        [world.licenses["small/target"], replace(changed, credit="Between two runs")],
    )
    make(world, "3.wav")
    assert found(world) == []
    rewrite(world, "Holds Good", "With Good")
    world.index()
    make(world, "4.wav")
    assert found(world) == []
    assert world.home.ledger.notes() == []


def test_a_license_that_is_replaced_while_an_output_is_made_is_no_fault(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = delivery.stage

    def change_and_stage(*given: Any) -> Any:
        rewrite(world, "Contains Good", "Holds Good")
        world.index()
        return stage(*given)

    monkeypatch.setattr(delivery, "stage", change_and_stage)
    make(world, "slow.wav")
    assert found(world) == []
    monkeypatch.setattr(audit_rights, "_SLACK", timedelta(days=-1))
    assert len(found(world)) == 1, "one that was replaced long before would be"
