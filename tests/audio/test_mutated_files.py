"""Whatever bytes of a sound file are changed, lost or moved: it is read, or refused in one line."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.audio.reading import hear
from rag_audio.errors import RagAudioError
from tests.support.damaged import encoded, mp3, wav, without_xing

LENGTH_S = 0.5
FILES: dict[str, Callable[[], bytes]] = {
    "wav": lambda: wav(sound=bytes(range(256)) * 40),
    "mp3": lambda: mp3(LENGTH_S, 22_050, 1),
    "bare.mp3": lambda: without_xing(mp3(LENGTH_S, 22_050, 1)) + mp3(LENGTH_S, 8000, 1),
    "ogg": lambda: encoded("OGG", "VORBIS", LENGTH_S, 8000, 1),
    "opus": lambda: encoded("OGG", "OPUS", LENGTH_S, 8000, 1),
    "flac": lambda: encoded("FLAC", "PCM_16", LENGTH_S, 8000, 1),
    "aiff": lambda: encoded("AIFF", "PCM_16", LENGTH_S, 8000, 1),
    "w64": lambda: encoded("W64", "PCM_16", LENGTH_S, 8000, 1),
    "caf": lambda: encoded("CAF", "PCM_16", LENGTH_S, 8000, 1),
}
PLACE = st.floats(0, 1)
CHANGE = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 80), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("set"), PLACE, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("cut"), PLACE, st.integers(1, 300)),
    st.tuples(st.just("insert"), PLACE, st.binary(max_size=40)),
    st.tuples(st.just("end"), PLACE, st.none()),
    st.tuples(st.just("repeat"), PLACE, st.integers(1, 3000)),
)


def changed(content: bytes, changes: list[tuple[str, float, object]]) -> bytes:
    for what, place, value in changes:
        at = place if isinstance(place, int) else int(place * len(content))
        if what == "end":
            content = content[:at]
        elif isinstance(value, bytes):
            behind = at + len(value) if what == "set" else at
            content = content[:at] + value + content[behind:]
        elif isinstance(value, int):
            again = content[at:] if what == "repeat" else b""
            content = content[: at + value if again else at] + (again or content[at + value :])
    return content


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, deadline=None)
@given(changes=st.lists(CHANGE, min_size=1, max_size=4))
def test_changed_bytes_give_finite_sound_or_one_line(
    name: str, changes: list[tuple[str, float, object]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"a.{name}")
        file.write_bytes(changed(FILES[name](), changes))
        try:
            found = hear(file)
        except RagAudioError as error:
            assert "\n" not in error.message
            return
    assert np.isfinite(found.audio.samples).all() and found.audio.frames > 0
    assert len(found.notices) < 12 and all("\n" not in one for one in found.notices)
