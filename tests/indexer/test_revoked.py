"""Revoked stems get no embedding, whatever is indexed again, and get one when it is taken back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from rag_audio.domain.licensing import Revocation, RevocationOf
from tests.indexer.conftest import Bench
from tests.indexer.library import tone
from tests.support.fakes import FakeIndex

ROWS = "a.wav,full,The Band,,,,,,\nb.wav,full,Another,,,,,,"


def asked(of: RevocationOf, target: str) -> Revocation:
    return Revocation(of, target, "", "tester", datetime.now(UTC))


@pytest.fixture
def indexed(bench: Bench, quick: Callable[..., Any]) -> Bench:
    bench.tables(ROWS)
    tone(bench.root / "a.wav", 220)
    tone(bench.root / "b.wav", 330)
    assert bench.run().indexed == 2
    return bench


def embedded(bench: Bench) -> set[str]:
    return {point.segment.stem.path for point in bench.index.scroll()}


def test_a_run_removes_and_never_remakes_the_embeddings_of_what_was_revoked(
    indexed: Bench,
) -> None:
    indexed.catalogue.revoke(asked(RevocationOf.ARTIST, "the band"))
    report = indexed.run()
    assert "was revoked" in indexed.reasons(report)["a.wav"]
    assert embedded(indexed) == {"b.wav"}
    assert "a.wav" in indexed.catalogue.files("night-shift")
    (indexed.root / "a.wav").touch()
    assert "a.wav" in indexed.reasons(indexed.run())
    assert embedded(indexed) == {"b.wav"}


def test_a_rebuilt_index_has_no_revoked_stem(indexed: Bench) -> None:
    (stem,) = [s for s in indexed.catalogue.stems() if s.path == "a.wav"]
    indexed.catalogue.revoke(asked(RevocationOf.STEM, stem.id))
    indexed.index = FakeIndex()
    indexed.run()
    assert embedded(indexed) == {"b.wav"}


def test_new_files_of_a_revoked_license_are_not_embedded(indexed: Bench) -> None:
    indexed.catalogue.revoke(asked(RevocationOf.LICENSE, "night-shift/full"))
    indexed.tables(f"{ROWS}\nc.wav,full,Another,,,,,,")
    tone(indexed.root / "c.wav", 440)
    assert set(indexed.reasons(indexed.run())) == {"a.wav", "b.wav", "c.wav"}
    assert embedded(indexed) == set()


def test_what_is_taken_back_is_embedded_again(indexed: Bench) -> None:
    revocation = asked(RevocationOf.ARTIST, "The Band")
    indexed.catalogue.revoke(revocation)
    indexed.run()
    indexed.catalogue.end_revocation(revocation)
    report = indexed.run()
    assert (report.indexed, report.rejected) == (1, ())
    assert embedded(indexed) == {"a.wav", "b.wav"}
