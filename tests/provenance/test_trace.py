from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from hashlib import sha256
from pathlib import Path

import pytest

from rag_audio.audio import load, pcm_sha256, save
from rag_audio.database import connect
from rag_audio.domain import Audio, Channel, Rights
from rag_audio.errors import LedgerTampered, UnreadableFile
from rag_audio.midi import render
from rag_audio.ports import Mark
from rag_audio.provenance.fingerprint import make_fingerprint
from rag_audio.provenance.fingerprint_store import SqlFingerprints
from rag_audio.provenance.ledger import SqlLedger
from rag_audio.provenance.trace import TraceResult, trace
from rag_audio.resources import data_dir
from rag_audio.shaping import stretch
from rag_audio.signing import Credentials, CredentialState
from rag_audio.watermark import SpreadSpectrumWatermarker
from tests.provenance.builders import LICENSE, record, source, stem
from tests.watermark import material

RIGHTS = Rights({LICENSE.key: LICENSE}, None, date(2026, 11, 22))
MARKER = SpreadSpectrumWatermarker(b"the key of the trace tests")


@pytest.fixture
def ledger() -> SqlLedger:
    return SqlLedger(connect("sqlite://"))


@pytest.fixture
def prints() -> SqlFingerprints:
    return SqlFingerprints(connect("sqlite://"))


PIECES = tuple(
    render(data_dir("demo") / score, duration_s=10.0)
    for score in ("velda-quarn/last-tram.mid", "copperhill-junction-players/brass-ticket.mid")
)


def give_out(
    ledger: SqlLedger,
    folder: Path,
    prints: SqlFingerprints | None = None,
    audio: Audio | None = None,
) -> Path:
    """Mark a piece, write it and its record, as the main path does."""
    audio = audio or material.band(10)
    number = ledger.next_output_id()
    marked = MARKER.embed(audio, Mark(number))
    assert marked is not None
    path = folder / f"out-{number}.wav"
    checks = {}
    if prints is not None:
        fingerprint = make_fingerprint(marked)
        prints.put(number, fingerprint)
        checks = {"fingerprint": {"sha256": fingerprint.sha256}}
    save(marked, path)
    made = record(number, source("break"), source("keys"))
    ledger.append(
        replace(
            made,
            pcm_sha256=pcm_sha256(audio),
            marked_pcm_sha256=pcm_sha256(load(path)),
            files={"out.wav": sha256(path.read_bytes()).hexdigest()},
            checks=checks,
        )
    )
    return path


def ask(
    ledger: SqlLedger,
    path: Path,
    rights: Rights = RIGHTS,
    prints: SqlFingerprints | None = None,
    manifest: Credentials | None = None,
) -> TraceResult:
    return trace(
        path,
        ledger=ledger,
        watermarker=MARKER,
        rights=rights,
        fingerprints=prints,
        read_manifest=lambda path: manifest,
    )


def test_the_delivered_file_is_known_by_its_hash(ledger: SqlLedger, tmp_path: Path) -> None:
    found = ask(ledger, give_out(ledger, tmp_path))
    assert (found.found, found.by, found.output, found.confidence) == (True, "hash", 1, 1.0)


def test_the_same_samples_in_another_file_are_known_by_hash(
    ledger: SqlLedger, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.flac"
    save(load(give_out(ledger, tmp_path)), copy)
    assert (ask(ledger, copy).by, ask(ledger, copy).output) == ("hash", 1)


def test_a_cropped_mp3_leads_back_to_its_sources(ledger: SqlLedger, tmp_path: Path) -> None:
    whole = load(give_out(ledger, tmp_path))
    copy = tmp_path / "crop.mp3"
    save(material.crop(whole, 2.7, 5.5), copy, bitrate_kbps=128)
    found = ask(ledger, copy)
    assert (found.found, found.by, found.output) == (True, "watermark", 1)
    assert found.confidence > 0.7
    assert not found.transplanted
    assert [item.title for item in found.sources] == ["Break", "Keys"]
    assert found.sources[0].used == {Channel.PROMPT: 0.25, Channel.INIT: 0.125}
    assert found.sources[0].holder == "Night Shift Recordings"


def test_the_json_document_holds_what_scripts_rely_on(ledger: SqlLedger, tmp_path: Path) -> None:
    document = json.loads(json.dumps(ask(ledger, give_out(ledger, tmp_path)).to_json()))
    assert {"found", "by", "transplanted", "confidence", "output", "created", "model"} <= set(
        document
    )
    first = document["sources"][0]
    assert first.pop("license_then")["valid_until"] == "2030-12-31"
    assert first.pop("license_now") == {"granted": True, "reason": ""}
    assert first == {
        "stem": stem("break").id,
        "title": "Break",
        "artist": "Night Shift House Band",
        "holder": "Night Shift Recordings",
        "license": "nightshift-2026",
        "used": {"prompt": 0.25, "init": 0.125},
        "causal": None,
        "similar": 0.61,
        "revoked": False,
    }
    entry = ledger.outputs()[0]
    assert document["proof"] == {
        "seq": 1, "leaf_hash": entry.leaf_hash, "size": 1, "root": ledger.root(), "path": [],
    }  # fmt: skip
    assert document["created"] == "2026-11-22T12:30:01.250000+00:00"


def test_a_source_that_was_revoked_since_is_shown_as_such(
    ledger: SqlLedger, tmp_path: Path
) -> None:
    path = give_out(ledger, tmp_path)
    found = ask(ledger, path, replace(RIGHTS, revoked=frozenset({stem("keys").id})))
    assert [item.revoked for item in found.sources] == [False, True]


def test_unmarked_audio_says_so(ledger: SqlLedger, tmp_path: Path) -> None:
    path = tmp_path / "own.wav"
    save(material.band(6, seed=3), path)
    found = ask(ledger, path)
    assert (found.found, found.by, found.output, found.sources) == (False, None, None, ())
    assert "No watermark" in found.explanation
    assert found.to_json()["proof"] is None


def marked_file(mark: Mark, folder: Path) -> Path:
    marked = MARKER.embed(material.band(6), mark)
    assert marked is not None
    save(marked, folder / "marked.wav")
    return folder / "marked.wav"


def test_a_mark_of_another_ledger_says_so(ledger: SqlLedger, tmp_path: Path) -> None:
    found = ask(ledger, marked_file(Mark(4711), tmp_path))
    assert (found.found, found.by, found.output, found.sources) == (False, None, 4711, ())
    assert "4711, which this ledger does not know" in found.explanation


def test_a_mark_made_by_hand_never_leads_into_the_ledger(ledger: SqlLedger, tmp_path: Path) -> None:
    give_out(ledger, tmp_path)
    found = ask(ledger, marked_file(Mark(1, by_hand=True), tmp_path))
    assert (found.found, found.output, found.sources) == (False, None, ())
    assert "by hand" in found.explanation


def test_silence_is_an_answer(ledger: SqlLedger, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    save(Audio(material.band(6).samples * 0, 44_100), path)
    assert not ask(ledger, path).found


@pytest.mark.parametrize("content", [None, b"", b"not audio"])
def test_a_file_that_is_not_audio_is_an_error(
    ledger: SqlLedger, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"x\.wav"):
        ask(ledger, path)


def unmarked(ledger: SqlLedger, prints: SqlFingerprints, folder: Path) -> Path:
    """A crop of what was delivered, as an MP3, that no mark is left in."""
    give_out(ledger, folder, prints, PIECES[0])
    give_out(ledger, folder, prints, PIECES[1])
    path = folder / "unmarked.mp3"
    save(material.crop(PIECES[0], 2.0, 6.0), path, bitrate_kbps=128)
    return path


def test_without_a_mark_the_sound_itself_names_the_output(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    found = ask(ledger, unmarked(ledger, prints, tmp_path), prints=prints)
    assert (found.found, found.by, found.output) == (True, "fingerprint", 1)
    assert not found.transplanted
    assert found.confidence > 0.5
    assert [witness.by for witness in found.evidence] == ["watermark", "fingerprint"]
    assert "from 2.0 s on" in found.explanation


def test_at_another_tempo_and_pitch_the_sound_is_still_known(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    give_out(ledger, tmp_path, prints, PIECES[0])
    path = tmp_path / "faster.wav"
    save(stretch(PIECES[0], 1 / 1.04, 1), path)
    found = ask(ledger, path, prints=prints)
    assert (found.found, found.by, found.output) == (True, "fingerprint", 1)
    assert "×1.04" in found.explanation


def test_a_marked_copy_is_not_called_transplanted(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    whole = load(give_out(ledger, tmp_path, prints, PIECES[0]))
    path = tmp_path / "copy.mp3"
    save(material.crop(whole, 1.0, 6.0), path, bitrate_kbps=128)
    found = ask(ledger, path, prints=prints)
    assert (found.by, found.output, found.transplanted) == ("watermark", 1, False)


def test_a_mark_in_a_foreign_recording_is_transplanted_and_names_no_source(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    give_out(ledger, tmp_path, prints, PIECES[0])
    moved = MARKER.embed(PIECES[1], Mark(1))
    assert moved is not None
    path = tmp_path / "moved.wav"
    save(moved, path)
    found = ask(ledger, path, prints=prints)
    assert (found.by, found.output, found.transplanted) == ("watermark", 1, True)
    assert found.sources == ()
    assert "not that of output 1" in found.explanation
    assert not found.to_public(None)["made_with_ai_by_this_system"]


def test_a_mark_in_another_output_leads_to_what_the_sound_is(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    for piece in PIECES:
        give_out(ledger, tmp_path, prints, piece)
    moved = MARKER.embed(PIECES[1], Mark(1))
    assert moved is not None
    path = tmp_path / "moved.wav"
    save(moved, path)
    found = ask(ledger, path, prints=prints)
    assert (found.by, found.output, found.transplanted) == ("fingerprint", 2, True)
    assert "says output 1" in found.explanation
    assert found.sources


def test_the_manifest_is_believed_first_when_trusted_and_known(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    path = unmarked(ledger, prints, tmp_path)
    signed = Credentials(CredentialState.TRUSTED, output=1, label="x", signer="Us")
    found = ask(ledger, path, prints=prints, manifest=signed)
    assert (found.by, found.output, found.transplanted) == ("manifest", 1, False)


@pytest.mark.parametrize("state", [CredentialState.UNTRUSTED, CredentialState.INVALID])
def test_a_manifest_that_does_not_hold_never_decides(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path, state: CredentialState
) -> None:
    path = unmarked(ledger, prints, tmp_path)
    claim = Credentials(state, output=2, errors=("the file was changed",))
    found = ask(ledger, path, prints=prints, manifest=claim)
    assert (found.by, found.output, found.transplanted) == ("fingerprint", 1, True)
    assert "the file was changed" in found.explanation


def test_a_trusted_manifest_in_another_recording_is_transplanted(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    path = unmarked(ledger, prints, tmp_path)
    moved = Credentials(CredentialState.TRUSTED, output=2, label="x", signer="Us")
    found = ask(ledger, path, prints=prints, manifest=moved)
    assert (found.by, found.output, found.transplanted) == ("fingerprint", 1, True)


def test_a_fingerprint_that_the_record_does_not_vouch_for_is_an_error(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    path = unmarked(ledger, prints, tmp_path)
    kept = prints.get(1)
    assert kept is not None
    prints.put(1, replace(kept, times_ms=kept.times_ms + 1))
    with pytest.raises(LedgerTampered, match="output 1"):
        ask(ledger, path, prints=prints)


def test_an_orphaned_fingerprint_names_nothing(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    prints.put(77, make_fingerprint(PIECES[0]))
    path = tmp_path / "own.wav"
    save(PIECES[0], path)
    assert not ask(ledger, path, prints=prints).found


def test_licenses_are_shown_as_they_were_and_as_they_are(ledger: SqlLedger, tmp_path: Path) -> None:
    path = give_out(ledger, tmp_path)
    ended = replace(LICENSE, valid_until=date(2026, 1, 1))
    found = ask(ledger, path, replace(RIGHTS, licenses={LICENSE.key: ended}))
    document = found.to_json()["sources"][0]
    assert document["license_then"]["valid_until"] == "2030-12-31"
    assert document["license_now"]["granted"] is False
    assert "expired on 2026-01-01" in document["license_now"]["reason"]
    gone = ask(ledger, path, replace(RIGHTS, licenses={}))
    assert "no license" in gone.sources[0].now.reason


def test_a_later_measurement_fills_in_the_causal_share(ledger: SqlLedger, tmp_path: Path) -> None:
    path = give_out(ledger, tmp_path)
    shares = [{"reference": 0, "share": 0.75}, {"reference": 1, "share": None}]
    ledger.append_event("influence", {"output": 1, "sources": shares})
    assert [source.causal for source in ask(ledger, path).sources] == [0.75, None]


def test_a_stranger_learns_only_whether_and_whom_to_ask(ledger: SqlLedger, tmp_path: Path) -> None:
    told = ask(ledger, give_out(ledger, tmp_path)).to_public("rights@example.org")
    assert told == {
        "made_with_ai_by_this_system": True,
        "statement": "This audio was made with AI by this system.",
        "contact": "rights@example.org",
    }
    own = tmp_path / "own.wav"
    save(material.band(6, seed=3), own)
    assert ask(ledger, own).to_public(None)["made_with_ai_by_this_system"] is False


def test_outputs_that_sound_alike_are_named_beside_each_other(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    path = unmarked(ledger, prints, tmp_path)
    sure = ask(ledger, path, prints=prints).confidence
    give_out(ledger, tmp_path, prints, PIECES[0])
    found = ask(ledger, path, prints=prints)
    assert found.by == "fingerprint" and found.output in (1, 3)
    assert "Nearly as well fits output" in found.explanation
    assert found.confidence < 0.75 * sure
