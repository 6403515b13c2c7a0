from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio.dsp import stretch
from rag_audio.audio.midi import render
from rag_audio.audio.reading import load
from rag_audio.audio.writing import pcm_sha256, save
from rag_audio.domain import Audio, Channel, Rights
from rag_audio.domain.ports import Detection, Mark
from rag_audio.domain.signing import Credentials, CredentialState, ParentCredentials
from rag_audio.errors import LedgerTampered, UnreadableFile
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.trace.findings import TraceResult
from rag_audio.provenance.trace.fingerprint import make_fingerprint
from rag_audio.provenance.trace.fingerprint_store import SqlFingerprints
from rag_audio.provenance.trace.trace import trace
from rag_audio.provenance.trace_report import report_html
from rag_audio.resources import data_dir
from rag_audio.storage.database import connect
from rag_audio.watermark.spread_spectrum import SpreadSpectrumWatermarker
from tests.provenance.builders import LICENSE, record, source, stem
from tests.support.media import PICTURE, converted, needs_ffmpeg
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
    masters: dict[int, Audio] | None = None,
) -> TraceResult:
    return trace(
        path,
        ledger=ledger,
        watermarker=MARKER,
        rights=rights,
        fingerprints=prints,
        read_manifest=lambda path: manifest,
        master=(masters or {}).get,
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


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("note.m4a", ("-c:a", "aac", "-b:a", "96k")),
        ("clip.webm", (*PICTURE, "-c:v", "libvpx", "-c:a", "libopus", "-b:a", "64k")),
    ],
)
def test_what_phones_and_chats_send_leads_back_to_its_sources(
    ledger: SqlLedger, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    whole = load(give_out(ledger, tmp_path))
    crop = material.crop(whole, 1.7, 6.5)
    copy = converted(tmp_path / name, crop.samples.T, *options, rate=crop.sample_rate)
    found = ask(ledger, copy)
    assert (found.found, found.by, found.output) == (True, "watermark", 1)
    assert [item.title for item in found.sources] == ["Break", "Keys"]


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
    # Whoever signs with a key that nobody knows must not make a true output look stolen.
    moved = state is CredentialState.INVALID
    assert (found.by, found.output, found.transplanted) == ("fingerprint", 1, moved)
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
        "checked": True,
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


def joined(*parts: Audio) -> Audio:
    return Audio(np.concatenate([part.samples for part in parts], axis=1), parts[0].sample_rate)


MOVED = MARKER.embed(PIECES[1], Mark(1))
TRUE = MARKER.embed(PIECES[0], Mark(1))


def told(found: TraceResult) -> list[tuple[float, float, int | None, bool]]:
    """The ranges that were judged, to the second that seams may be off."""
    return [
        (one.start_s, one.end_s, one.output, one.transplanted)
        for one in found.ranges
        if one.checked
    ]


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    st.permutations(["true", "moved", "plain"]).map(lambda order: order[:2]),
    st.floats(6.0, 10.0),
    st.booleans(),
)
def test_what_is_not_the_output_is_told_from_where_to_where(
    order: list[str], first_s: float, as_mp3: bool
) -> None:
    sounds = {"true": TRUE, "moved": MOVED, "plain": PIECES[1]}
    with TemporaryDirectory() as folder:
        ledger, prints = SqlLedger(connect("sqlite://")), SqlFingerprints(connect("sqlite://"))
        give_out(ledger, Path(folder), prints, PIECES[0])
        path = Path(folder, "both.mp3" if as_mp3 else "both.wav")
        first, second = (sounds[name] for name in order)
        assert first is not None and second is not None
        save(joined(material.crop(first, 0.0, first_s), second), path)
        found = ask(ledger, path, prints=prints)
    wanted = [(1 if name == "true" else None, name == "moved") for name in order]
    if "true" not in order:
        assert (found.transplanted, found.sources) == ("moved" in order, ())
        return
    assert [(output, moved) for _, _, output, moved in told(found)] == wanted
    assert told(found)[0][1] == pytest.approx(first_s, abs=1.5)
    assert found.transplanted is ("moved" in order)
    assert (found.output, found.checked, bool(found.sources)) == (1, True, True)
    assert "In time: 0.0 to" in found.explanation


def test_two_outputs_one_after_the_other_are_both_named(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    first, second = (load(give_out(ledger, tmp_path, prints, piece)) for piece in PIECES)
    path = tmp_path / "medley.mp3"
    save(joined(first, second), path)
    found = ask(ledger, path, prints=prints)
    assert {output for _, _, output, _ in told(found)} == {1, 2}
    assert not any(one.transplanted for one in found.ranges)


class SaysOne:
    """A detector that hears the mark of output 1 in everything."""

    name = "says one"

    def detect(self, audio: Audio) -> Detection:
        return Detection(Mark(1), 0.9)


def test_an_output_deep_in_a_long_file_is_found_where_it_is(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    output = load(give_out(ledger, tmp_path, prints, PIECES[0]))
    path = tmp_path / "show.wav"
    save(joined(*[PIECES[1]] * 12, output, *[PIECES[1]] * 12), path)
    found = trace(
        path, ledger=ledger, watermarker=SaysOne(), rights=RIGHTS, fingerprints=prints
    )  # fmt: skip
    assert [(output, moved) for _, _, output, moved in told(found)] == [
        (None, True), (1, False), (None, True),
    ]  # fmt: skip
    (place,) = [one for one in found.ranges if one.output == 1]
    assert (place.start_s, place.end_s) == (pytest.approx(120, abs=1), pytest.approx(130, abs=1))


@pytest.mark.parametrize("seconds", [6.0, 3.0])
def test_all_of_a_plain_copy_is_the_output(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path, seconds: float
) -> None:
    whole = load(give_out(ledger, tmp_path, prints, PIECES[0]))
    path = tmp_path / "copy.mp3"
    save(material.crop(whole, 1.0, seconds), path, bitrate_kbps=64)
    found = ask(ledger, path, prints=prints)
    assert (found.output, found.checked, found.transplanted) == (1, True, False)
    assert {one.output for one in found.ranges if one.checked} == {1}
    assert "In time" not in found.explanation


def test_too_little_sound_to_judge_is_said_to_be_unchecked(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    give_out(ledger, tmp_path, prints, PIECES[1])
    assert TRUE is not None
    path = tmp_path / "short.wav"
    save(material.crop(TRUE, 2.0, 1.9), path)
    found = ask(ledger, path, prints=prints)
    assert (found.by, found.output, found.checked) == ("watermark", 1, False)
    assert "Not checked: this is too little sound (1.9 s)" in found.explanation
    assert found.to_json()["checked"] is False
    assert "was not checked" in found.to_public(None)["statement"]
    assert "not checked" in report_html(found, "short.wav", datetime.now(UTC))


def test_a_short_piece_of_the_output_itself_is_checked(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    whole = load(give_out(ledger, tmp_path, prints, PIECES[0]))
    path = tmp_path / "short.wav"
    save(material.crop(whole, 2.0, 1.9), path)
    found = ask(ledger, path, prints=prints)
    assert (found.by, found.output, found.checked) == ("watermark", 1, True)


def test_a_mark_without_a_fingerprint_to_hold_it_against_is_unchecked(
    ledger: SqlLedger, tmp_path: Path
) -> None:
    whole = load(give_out(ledger, tmp_path))
    path = tmp_path / "crop.wav"
    save(material.crop(whole, 1.0, 6.0), path)
    found = ask(ledger, path)
    assert not found.checked
    assert "no fingerprint of that output is kept" in found.explanation


@pytest.mark.parametrize("as_copy", [False, True])
@pytest.mark.parametrize(
    ("claim", "said", "transplanted"),
    [
        (Credentials(CredentialState.UNTRUSTED, output=2, signer="Mallory"), "say output 2", False),
        (Credentials(CredentialState.INVALID, output=2, signer="Us"), "say output 2", True),
        (Credentials(CredentialState.TRUSTED, output=1, label="x", signer="Us"), "", False),
        (
            Credentials(CredentialState.INVALID, output=1, signer="Us", errors=("it was changed",)),
            "it was changed",
            False,
        ),
        (Credentials(CredentialState.UNTRUSTED, signer="Mallory"), "name no output of ours", False),
    ],
)
def test_a_manifest_is_told_of_also_where_the_hash_decides(
    ledger: SqlLedger,
    prints: SqlFingerprints,
    tmp_path: Path,
    claim: Credentials,
    said: str,
    transplanted: bool,
    as_copy: bool,
) -> None:
    path = give_out(ledger, tmp_path, prints, PIECES[0])
    if as_copy:
        copy = tmp_path / "copy.flac"
        save(load(path), copy)
        path = copy
    found = ask(ledger, path, prints=prints, manifest=claim)
    assert (found.by, found.output, found.transplanted) == ("hash", 1, transplanted)
    assert [one.by for one in found.evidence] == ["hash", "manifest"]
    assert said in found.explanation
    assert ("credentials" in found.explanation) is bool(said)
    assert told(found) == [(0.0, pytest.approx(10.0, abs=0.1), 1, False)]


def mixed(under: Audio, over: Audio, over_db: float) -> Audio:
    """A sound under another one that is louder by so many decibels."""
    frames = min(under.frames, over.frames)
    a, b = under.samples[:, :frames], over.samples[:, :frames]
    gain = np.sqrt(np.mean(a**2) / np.mean(b**2)) * 10 ** (over_db / 20)
    both = a + np.float32(gain) * b
    return Audio((both / max(1.0, float(np.abs(both).max()))).astype(np.float32), 44_100)


@pytest.mark.parametrize("over_db", [0.0, 6.0])
def test_an_output_under_louder_sound_is_not_called_transplanted(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path, over_db: float
) -> None:
    output = load(give_out(ledger, tmp_path, prints, PIECES[0]))
    path = tmp_path / "under.mp3"
    save(mixed(output, PIECES[1], over_db), path)
    found = trace(
        path, ledger=ledger, watermarker=SaysOne(), rights=RIGHTS, fingerprints=prints,
        master={1: PIECES[0]}.get,
    )  # fmt: skip
    assert (found.output, found.transplanted, bool(found.sources)) == (1, False, True)


def test_an_output_and_then_the_same_under_louder_sound_is_that_output(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    output = load(give_out(ledger, tmp_path, prints, PIECES[0]))
    path = tmp_path / "both.wav"
    save(joined(output, mixed(output, PIECES[1], 6.0)), path)
    found = trace(
        path, ledger=ledger, watermarker=SaysOne(), rights=RIGHTS, fingerprints=prints,
        master={1: PIECES[0]}.get,
    )  # fmt: skip
    assert (found.output, found.transplanted) == (1, False)
    assert {one.output for one in found.ranges if one.checked} == {1}


def test_a_moved_mark_is_still_found_where_the_master_is_kept(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    output = load(give_out(ledger, tmp_path, prints, PIECES[0]))
    # A piece whose drums, of the same kit, do not fall together with those of the output.
    other = render(data_dir("demo") / "low-lantern-five/praca-nenhuma.mid", duration_s=10.0)
    moved = MARKER.embed(other, Mark(1))
    assert moved is not None
    for name, sound in (("moved.wav", moved), ("both.wav", joined(output, moved))):
        save(sound, tmp_path / name)
        found = ask(ledger, tmp_path / name, prints=prints, masters={1: PIECES[0]})
        assert (found.output, found.transplanted) == (1, True)
        assert bool(found.sources) is (name == "both.wav")


def test_silence_is_no_other_sound(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    output = load(give_out(ledger, tmp_path, prints, PIECES[0]))
    silence = Audio(np.zeros_like(output.samples), output.sample_rate)
    save(joined(silence, output, silence), tmp_path / "tail.wav")
    found = ask(ledger, tmp_path / "tail.wav", prints=prints, masters={1: PIECES[0]})
    assert {one.output for one in found.ranges if one.checked} == {1}
    assert not found.transplanted


def test_a_signed_copy_that_cannot_be_checked_does_not_count(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    give_out(ledger, tmp_path, prints, PIECES[0])
    path = tmp_path / "song.wav"
    save(material.crop(PIECES[1], 2.0, 1.9), path)
    parent = ParentCredentials("Output 1", "", "x")
    claim = Credentials(
        CredentialState.TRUSTED, output=1, label="y", signer="Somebody",
        actions=("c2pa.opened", "c2pa.transcoded"), parents=(parent,),
    )  # fmt: skip
    found = ask(ledger, path, prints=prints, manifest=claim)
    assert (found.found, found.sources) == (False, ())


def test_the_sound_of_another_output_is_that_output_whatever_its_waveform_shares(
    ledger: SqlLedger, prints: SqlFingerprints, tmp_path: Path
) -> None:
    give_out(ledger, tmp_path, prints, PIECES[0])
    other = load(give_out(ledger, tmp_path, prints, PIECES[1]))
    save(other, tmp_path / "copy.mp3")
    alike = mixed(PIECES[0], PIECES[1], 0.0)  # a master that shares some waveform with both
    found = trace(
        tmp_path / "copy.mp3", ledger=ledger, watermarker=SaysOne(), rights=RIGHTS,
        fingerprints=prints, master={1: alike}.get,
    )  # fmt: skip
    assert (found.by, found.output, found.transplanted) == ("fingerprint", 2, True)
