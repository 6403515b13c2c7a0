"""Long files are traced section by section, and told of as one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rag_audio.audio import reading, sections
from rag_audio.audio.reading import load
from rag_audio.audio.sections import in_sections
from rag_audio.audio.writing import pcm_sha256, save
from rag_audio.domain import Audio
from rag_audio.domain.ports import Detection, Mark
from rag_audio.domain.signing import Credentials, CredentialState
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.trace.findings import TraceResult
from rag_audio.provenance.trace.fingerprint import make_fingerprint
from rag_audio.provenance.trace.fingerprint_store import SqlFingerprints
from rag_audio.provenance.trace.trace import trace
from rag_audio.storage.database import connect
from tests.provenance.builders import record, source
from tests.provenance.test_trace import RIGHTS
from tests.watermark import material

RATE = 16_000
Where = tuple[float, float, int | None]


class NoMarks:
    """A watermarker for sound in which there are no marks."""

    def embed(self, audio: Audio, mark: Mark) -> Audio | None:
        raise AssertionError(mark)

    def detect(self, audio: Audio, *, search: bool = True) -> Detection:
        return Detection(None, 0.0)


@pytest.fixture
def ledger() -> SqlLedger:
    return SqlLedger(connect("sqlite://"))


@pytest.fixture
def prints() -> SqlFingerprints:
    return SqlFingerprints(connect("sqlite://"))


@pytest.fixture(autouse=True)
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than three seconds is long; sections are 12 s."""
    monkeypatch.setattr(reading, "WHOLE_SAMPLES", 3 * RATE)
    monkeypatch.setattr(sections, "SECTION_S", 12.0)
    monkeypatch.setattr(sections, "AROUND_S", 4.0)


def give_out(ledger: SqlLedger, prints: SqlFingerprints, audio: Audio) -> Audio:
    """Keep a sound as an output, with its fingerprint and hash."""
    number = ledger.next_output_id()
    fingerprint = make_fingerprint(audio)
    prints.put(number, fingerprint)
    made = replace(
        record(number, source("break")),
        marked_pcm_sha256=pcm_sha256(audio),
        checks={"fingerprint": {"sha256": fingerprint.sha256}},
    )
    ledger.append(made)
    return audio


def ask(
    ledger: SqlLedger, prints: SqlFingerprints, path: Path, manifest: Credentials | None = None
) -> TraceResult:
    return trace(
        path,
        ledger=ledger,
        watermarker=NoMarks(),
        rights=RIGHTS,
        fingerprints=prints,
        read_manifest=lambda path: manifest,
    )


def mix(path: Path, *parts: Audio) -> Path:
    """Sounds one after the other, in stereo."""
    both = [np.broadcast_to(one.samples, (2, one.frames)) for one in parts]
    save(Audio(np.concatenate(both, axis=1).astype(np.float32), parts[0].sample_rate), path)
    return path


def where(found: TraceResult) -> list[Where]:
    """The ranges that are outputs."""
    return [(one.start_s, one.end_s, one.output) for one in found.ranges if one.output is not None]


def band(seconds: float, seed: int) -> Audio:
    return material.band(seconds, rate=RATE, seed=seed)


def test_sections_are_all_of_a_file_with_what_is_around_them(tmp_path: Path) -> None:
    whole = band(40.0, 3)
    file = mix(tmp_path / "a.flac", whole)
    long = in_sections(file)
    assert long is not None
    kept = load(file)
    assert (long.duration_s, long.pcm_sha256) == (40.0, pcm_sha256(kept))
    found = list(long.sections())
    assert [(one.start_s, one.end_s) for one in found] == [(0, 12), (12, 24), (24, 40)]
    assert [one.first_s for one in found] == [0, 8, 20]
    for one in found:
        first = round(one.first_s * kept.sample_rate)
        there = kept.samples[:, first : first + one.audio.frames]
        assert np.array_equal(one.audio.samples, there)
    assert in_sections(mix(tmp_path / "short.wav", band(1.0, 3))) is None


def test_outputs_are_found_where_they_lie_in_a_long_file(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    first, second = (give_out(ledger, prints, band(10.0, seed)) for seed in (1, 2))
    file = mix(tmp_path / "mix.flac", band(8.0, 7), first, band(16.0, 8), second, band(4.0, 9))
    found = ask(ledger, prints, file)
    assert (found.found, found.transplanted, found.checked) == (True, False, True)
    assert found.ranges[0].start_s == 0
    assert found.ranges[-1].end_s == pytest.approx(48.0)
    assert all(a.end_s == b.start_s for a, b in zip(found.ranges, found.ranges[1:], strict=False))
    for (start_s, end_s, output), (at_s, number) in zip(
        where(found), ((8.0, 1), (34.0, 2)), strict=True
    ):
        assert output == number
        assert (start_s, end_s) == pytest.approx((at_s, at_s + 10.0), abs=1.5)
    assert [one.output for one in found.outputs] == [1, 2]
    assert f"output {found.output}" in found.explanation


def test_a_long_file_in_which_nothing_is_found_says_so_once(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    give_out(ledger, prints, band(10.0, 1))
    found = ask(ledger, prints, mix(tmp_path / "mix.wav", band(30.0, 9)))
    assert (found.found, found.by, found.ranges) == (False, None, ())
    assert [one.by for one in found.evidence] == ["watermark", "fingerprint"]


def test_a_long_output_is_known_by_its_samples(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    copy = mix(tmp_path / "copy.flac", band(10.0, 1))
    give_out(ledger, prints, load(copy))
    found = ask(ledger, prints, copy)
    assert (found.by, found.output) == ("hash", 1)
    assert [(one.start_s, one.end_s) for one in found.ranges] == [(0.0, 10.0)]


@pytest.mark.parametrize(
    ("is_in_it", "said"), [(True, "say output 1."), (False, "it was moved here from that output")]
)
def test_a_manifest_speaks_for_all_of_a_long_file(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path, is_in_it: bool, said: str
) -> None:
    first = give_out(ledger, prints, band(10.0, 1))
    parts = (band(14.0, 5), *((first,) if is_in_it else ()), band(12.0, 6))
    claim = Credentials(CredentialState.TRUSTED, output=1, label="one", signer="this system")
    found = ask(ledger, prints, mix(tmp_path / "mix.wav", *parts), claim)
    assert (found.found, found.by, found.output) == (True, "manifest", 1)
    assert found.transplanted is not is_in_it
    assert said in found.explanation
    assert [number for *_, number in where(found)] == ([1] if is_in_it else [])
