"""An upload's sound is what the command line hears of the same file."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio import reading
from rag_audio.audio.reading import hear
from rag_audio.service import decoder_child
from rag_audio.service.decoded_uploads import CanonicalUploads
from rag_audio.service.decoder_pool import Decoded, DecodedFiles, UploadDecoders, Writing
from rag_audio.service.fair_queueing import SoundUse
from rag_audio.service.folders import Folders
from rag_audio.service.settings import ServeSettings


class HereDecoders(UploadDecoders):
    """Decodes as the limited process does, in this one."""

    def decode(self, file: Path, into: Writing | None = None, anchors: str = "") -> Decoded:
        assert into is not None
        asked: dict[str, Any] = {"sound": str(into.sound), "samples": 10**9, "longest_s": 900}
        found = decoder_child._audio(file, asked)
        assert into.sound.stat().st_size <= self.most_bytes(file)
        into.document.write_text(json.dumps({**found, "credentials": None, "reservation": None}))
        return Decoded("audio", cast(float, found["duration_s"]), file.suffix)


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 8),
    rate=st.sampled_from([1000, 8000, 44_100, 48_000, 96_000, 192_000]),
    frames=st.integers(8, 4000),
    kind=st.sampled_from(["WAV", "FLAC", "AIFF"]),
    whole=st.integers(1, 40_000),
    seed=st.integers(0, 9),
)
def test_an_upload_is_heard_as_its_file_is(
    channels: int, rate: int, frames: int, kind: str, whole: int, seed: int
) -> None:
    noise = np.random.default_rng(seed).uniform(-1, 1, (frames, channels)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(reading, "WHOLE_SAMPLES", whole)
        folders, settings_ = Folders(Path(name)), ServeSettings()
        folders.uploads.mkdir()
        kept = DecodedFiles(folders.decoded, 1 << 30, 0)
        uploads = CanonicalUploads(
            folders, HereDecoders(settings_), lambda: "", kept, SoundUse(1 << 30)
        )
        file = folders.of_upload("a" * 32, f".{kind.lower()}")
        soundfile.write(file, noise, rate, format=kind, subtype="PCM_16")
        ours, theirs = uploads.hear(file), hear(file)
        assert ours.pcm_sha256 == theirs.pcm_sha256
        assert ours.audio.sample_rate == theirs.audio.sample_rate
        assert np.array_equal(ours.audio.samples, theirs.audio.samples)
        if frames * channels <= whole:
            assert (ours.audio.channels, ours.audio.sample_rate) == (channels, rate)
        assert uploads.size(file) >= ours.audio.samples.nbytes
