"""Uploads that are small and claim, or decode to, very much; and who opens an upload."""

from __future__ import annotations

import faulthandler
import io
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import c2pa
import mido
import numpy as np
import pretty_midi
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_audio.domain.signing import CredentialState
from rag_audio.provenance.credentials.reading import read_credentials
from rag_audio.provenance.credentials.signers import open_signer
from rag_audio.service import decoder_child
from rag_audio.service.settings import ServeSettings
from tests.provenance.material import Authority, claim
from tests.service.api.conftest import FAST, Serve, Served
from tests.support.bombs import BOMBS, NOTE, beep, mutated, score, silence
from tests.support.memory import growth

MB = 100.0
"""More than the answer to any of these takes, and less than the decoded sound."""
LIBRARIES_SAY = (
    "libsndfile", "Error", "error", "Errno", "psf", "mido", "index out", "unpack", "EOF",
    "Traceback", "Format not recognised", "malformed", "/",
)  # fmt: skip
SMALL = {
    "wav": lambda: beep("WAV", "PCM_16"),
    "flac": lambda: beep("FLAC", "PCM_16"),
    "vorbis": lambda: beep("OGG", "VORBIS"),
    "opus": lambda: beep("OGG", "OPUS", 48_000),
    "mp3": lambda: beep("MP3", "MPEG_LAYER_III", 16_000),
    "aiff": lambda: beep("AIFF", "PCM_16"),
    "midi": lambda: score(NOTE, NOTE),
}


@pytest.fixture(scope="module")
def app(serve: Serve) -> Served:
    return serve(max_upload_s=60.0, max_upload_samples=10_000_000)


@pytest.fixture(scope="module")
def roomy(serve: Serve) -> Served:
    return serve(max_upload_s=60.0)


def require_plain(answer: Any) -> None:
    """An acceptance, or a refusal in one line of our words."""
    assert answer.status_code in (200, 201, 413, 422), answer.text
    if answer.status_code >= 400:
        said = answer.json()
        assert said["detail"] and "\n" not in said["detail"] + said["hint"]
        assert not [text for text in LIBRARIES_SAY if text in said["detail"]], said["detail"]


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_the_service_no_memory_and_is_told_in_one_line(app: Served, name: str) -> None:
    bomb = BOMBS[name]()
    assert len(bomb) <= 2_100_000
    with growth() as taken:
        answer = app.client.post("/v1/uploads", content=bomb)
        require_plain(answer)
        if answer.status_code == 201:
            params = {"upload": answer.json()["id"]}
            require_plain(app.client.post("/v1/trace", params=params))
    assert taken.mb < MB
    assert app.client.get("/healthz").status_code == 200
    assert not list(app.service.folders.uploads.glob(".*"))
    assert not list(app.service.folders.decoded.glob(".*"))


def test_what_is_accepted_takes_at_most_three_times_its_samples(roomy: Served) -> None:
    client = roomy.client

    def used(body: bytes) -> float:
        upload = client.post("/v1/uploads", content=body).json()
        params = {"upload": upload["id"]}
        assert client.post("/v1/trace", params=params).json()["found"] is False
        assert client.post("/v1/search", json=params).status_code == 200
        plan = {**FAST, "audio": upload["id"], "audio_rights": "own", "audio_as": "search"}
        assert client.post("/v1/plans", json=plan).status_code == 200
        return float(upload["duration_s"])

    used(beep("WAV", "PCM_16"))  # what is loaded once, and kept
    big = silence("FLAC", "PCM_16", 192_000, 8, 10)
    with growth() as taken:
        assert used(big) == 10.0
    assert taken.mb < 3 * 10 * 192_000 * 8 * 4 / 2**20


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of all files that this process gives to a decoder."""
    names: list[str] = []

    def spied(kind: type) -> None:
        prefix = f"{kind.__module__.partition('.')[0]} "
        real = kind.__init__

        def init(self: Any, *given: Any, **named: Any) -> None:
            for one in (*given, *named.values()):
                name = getattr(one, "name", one)
                if isinstance(name, bytes | str | os.PathLike):
                    names.append(f"{prefix}{os.fsdecode(name)}")
                    names.append(os.fsdecode(name))
            real(self, *given, **named)

        monkeypatch.setattr(kind, "__init__", init)

    for kind in (soundfile.SoundFile, mido.MidiFile, pretty_midi.PrettyMIDI, c2pa.Reader):
        spied(kind)
    real = c2pa.Builder.add_ingredient

    def add(self: Any, what: Any, kind: Any, file: Any) -> Any:
        names.append(f"c2pa {os.fsdecode(file.name)}")
        return real(self, what, kind, file)

    monkeypatch.setattr(c2pa.Builder, "add_ingredient", add)
    return names


def signed_wav(folder: Path) -> bytes:
    """Somebody else's sound with credentials of theirs."""
    file = folder / "in.wav"
    chord = sum(np.sin(2 * np.pi * hz * np.arange(44_100 * 3) / 44_100) for hz in (220, 277, 330))
    soundfile.write(file, (0.2 * np.asarray(chord)).astype(np.float32), 44_100, subtype="PCM_16")
    chain, key = Authority("Somebody Else").signer(folder / "keys")
    open_signer(folder / "nowhere", chain=chain, key=key, training="allowed").sign(file, claim(99))
    return file.read_bytes()


def test_no_upload_is_opened_by_the_service_itself_and_edits_carry_its_manifests(
    roomy: Served, opened: list[str], tmp_path: Path
) -> None:
    client = roomy.client
    body = signed_wav(tmp_path)
    theirs = read_credentials(tmp_path / "in.wav")
    opened.clear()
    sound = client.post("/v1/uploads", content=body).json()["id"]
    notes = client.post("/v1/uploads", content=score(*(NOTE,) * 8)).json()["id"]
    for traced in (
        client.post("/v1/trace", content=body).json(),
        client.post("/v1/trace", params={"upload": sound}).json(),
    ):
        assert "say output 99, but do not count" in traced["evidence"][0]["says"]
    for upload in (sound, notes):
        assert client.post("/v1/search", json={"upload": upload}).status_code == 200
    own = {"audio_rights": "own"}
    roomy.generation(audio=sound, audio_as="search", **own)
    roomy.generation(midi=notes)
    uploads = str(roomy.service.folders.uploads)
    assert not [name for name in opened if name.startswith(uploads) or "decoded" in name]
    opened.clear()
    edit = {"kind": "inpaint", "upload": sound, "regions": [[1, 2]], "prompt": "bells", "steps": 2}
    answer = client.post("/v1/edits", json={**edit, **own}, headers={"Prefer": "wait=60"}).json()
    assert answer["state"] == "succeeded", answer
    content = f"/v1/generations/{answer['id']}/content"
    assert client.get(content, params={"format": "mp3"}).status_code == 200
    assert not [name for name in opened if name.startswith(uploads) or name.startswith("c2pa ")]
    take = tmp_path / "take.wav"
    take.write_bytes(client.get(content).content)
    ours = read_credentials(take, roomy.service.workspace.home.anchors)
    assert theirs is not None and ours is not None
    assert (ours.state, ours.parents[0].label) == (CredentialState.TRUSTED, theirs.label)


@pytest.fixture(scope="module")
def made(roomy: Served) -> tuple[int, bytes]:
    """An output of eight seconds: its number and its file."""
    job = roomy.generation(duration_s=8.0, seed=3)
    content = roomy.client.get(f"/v1/generations/{job['id']}/content").content
    return int(job["outputs"][0]["output"]), content


@pytest.mark.parametrize("shape", ["6 at 96 kHz", "low frequency only", "opposite polarity"])
def test_an_output_is_found_in_any_channels_at_any_rate(
    roomy: Served, made: tuple[int, bytes], shape: str
) -> None:
    output, content = made
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    sound = soxr.resample(samples.mean(axis=1), rate, 96_000)
    channels = np.zeros((len(sound), 6), np.float32)
    if shape == "6 at 96 kHz":
        channels[:, :2] = sound[:, None]
        channels[:, 4] = 0.1 * sound
    elif shape == "low frequency only":
        channels[:, 3] = sound
    else:
        channels[:, 0], channels[:, 4] = sound, -np.sqrt(2) * sound
    file = io.BytesIO()
    soundfile.write(file, channels, 96_000, format="FLAC", subtype="PCM_24")
    traced = roomy.client.post("/v1/trace", content=file.getvalue()).json()
    assert traced["output"] == output
    assert {one["by"] for one in traced["evidence"] if one["output"]} & {"watermark", "fingerprint"}


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "not numbers"), (np.inf, "not numbers"), (5000.0, "full scale")]
)
def test_samples_that_are_no_sound_are_refused(app: Served, value: float, said: str) -> None:
    samples = np.zeros((1000, 1), np.float32)
    samples[700] = value
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, format="WAV", subtype="FLOAT")
    answer = app.client.post("/v1/uploads", content=file.getvalue())
    require_plain(answer)
    assert answer.status_code == 422 and said in answer.json()["detail"]


@pytest.mark.parametrize("name", SMALL)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12))
def test_broken_bytes_of_any_format_are_an_upload_or_one_line(
    app: Served, name: str, changes: list[tuple[float, int]]
) -> None:
    require_plain(app.client.post("/v1/uploads", content=mutated(SMALL[name](), iter(changes))))
    assert app.client.post("/v1/uploads", content=SMALL[name]()).status_code == 201


def test_what_was_made_of_an_upload_is_made_anew_where_it_is_missing(roomy: Served) -> None:
    client, decoded = roomy.client, roomy.service.folders.decoded
    id_ = client.post("/v1/uploads", content=beep("WAV", "PCM_16", channels=2)).json()["id"]
    assert {file.name for file in decoded.glob(f"{id_}*")} == {f"{id_}.f32", f"{id_}.json"}
    first = client.post("/v1/trace", params={"upload": id_}).json()
    for damage in (
        lambda: shutil.rmtree(decoded),
        lambda: (decoded / f"{id_}.json").write_text("{}"),
        lambda: (decoded / f"{id_}.f32").write_bytes(b"\0" * 100),
        lambda: (decoded / f"{id_}.f32").unlink(),
    ):
        damage()
        assert client.post("/v1/trace", params={"upload": id_}).json() == first
    assert roomy.client.post("/v1/trace", content=beep("WAV", "PCM_16")).status_code == 200
    assert {file.name[:32] for file in decoded.iterdir()} <= roomy.service.uploads.ids()


def test_decoded_uploads_that_were_not_used_longest_go_first(serve: Serve) -> None:
    app = serve(workers=0, decoded_mb=1)
    body = silence("WAV", "PCM_16", 48_000, 2, 2)
    ids = [app.client.post("/v1/uploads", content=body).json()["id"] for _ in range(2)]
    left = {file.stem for file in app.service.folders.decoded.glob("*.f32")}
    assert left == {ids[1]}
    assert app.client.post("/v1/trace", params={"upload": ids[0]}).status_code == 200


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGBUS, "its decoder crashed on it: it is damaged"),
        (signal.SIGKILL, "decoding it takes more than 64 MiB of memory"),
        (signal.SIGXCPU, "decoding it takes longer than 5 s"),
    ],
)
def test_how_a_decoder_died_is_told_plainly(
    monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def dies(_: dict[str, Any]) -> dict[str, Any]:
        faulthandler.disable()
        os.kill(os.getpid(), number)
        return {}

    monkeypatch.setattr(decoder_child, "_opened", dies)
    asked = {"kind": "audio", "seconds": 5.0, "megabytes": 64}
    assert decoder_child._in_child(asked)["refused"] == said


def test_too_much_memory_is_told_of_plainly(serve: Serve) -> None:
    app = serve(workers=0, decode_mb=256)
    decoders = app.service.canonical.decoders
    decoders._settings = ServeSettings().model_copy(update={"decode_mb": 1})
    answer = app.client.post("/v1/uploads", content=beep("FLAC", "PCM_16"))
    assert answer.status_code == 422
    require_plain(answer)
