"""What is told over HTTP of files: no path of the server, whatever the message."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_audio.errors import BackendUnavailable
from rag_audio.home import Home
from rag_audio.service.wording import Places
from rag_audio.settings import Settings

HOME, LIBRARY = Path("/srv/our place/home"), Path("/mnt/sounds (new)/night shift")
MODEL = Path("/opt/secret/models/big")
MESSAGES = (
    "{0} is empty",
    "refused: {0} may not be used: it holds Amber Stairs",
    "'{0}' cannot be read: Permission denied",
    "the key in {0}, made before, is broken",
    "{0}: line 3; see {1}",
    "two folders call themselves x: '{0}' and '{1}'",
)
NAMES = st.text("abcXYZ019 _-.ü", min_size=1, max_size=12).map(lambda text: f"n{text}n")


def places(**more: Any) -> Places:
    libraries = [SimpleNamespace(root=str(LIBRARY))]
    catalogue = more.get("catalogue") or SimpleNamespace(libraries=lambda: libraries)
    settings = Settings(home=HOME, model=str(MODEL))
    home = Home(settings)
    home.folder, home.catalogue = HOME, catalogue
    return Places(home)


@given(
    st.sampled_from(MESSAGES),
    st.lists(st.sampled_from((HOME, LIBRARY, MODEL)), min_size=2, max_size=2),
    st.lists(st.lists(NAMES, max_size=3), min_size=2, max_size=2),
)
def test_no_message_holds_a_folder_of_the_server(
    message: str, roots: list[Path], parts: list[list[str]]
) -> None:
    files = [str(root.joinpath(*names)) for root, names in zip(roots, parts, strict=True)]
    told = places().told(message.format(*files))
    for secret in ("/srv", "our place", "/mnt", "sounds (new)", "/opt", "secret", "models"):
        assert secret not in told
    for root, names in zip(roots, parts, strict=True):
        if root == LIBRARY and names and "{1}" in message:
            assert "/".join(names) in told


def test_no_message_holds_the_url_of_a_library() -> None:
    bucket = SimpleNamespace(libraries=lambda: [SimpleNamespace(root="s3://label/night shift")])
    told = places(catalogue=bucket).told
    assert told("s3://label/night shift/keys/a.wav changed") == "keys/a.wav changed"
    assert "label" not in told("there is no a.wav in s3://label/night shift")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (f"{HOME}/uploads/{'ab' * 16}.wav is empty", f"upload {'ab' * 16} is empty"),
        (f"{HOME}/uploads/.{'ab' * 16}.part is empty", f"upload {'ab' * 16} is empty"),
        (f"{HOME}/outputs/{'1' * 32}/{'2' * 32}/take.wav is a score", "take.wav is a score"),
        (f"{LIBRARY}/keys/a b.wav changed", "keys/a b.wav changed"),
        (f"{LIBRARY} is gone", "a folder of the server is gone"),
        ("/usr/lib/x/lib.so cannot be loaded", "lib.so cannot be loaded"),
        ("POST /v1/uploads makes one", "POST /v1/uploads makes one"),
        ("see https://example.org/a/b and/or ask", "see https://example.org/a/b and/or ask"),
        ("3/4 or 6/8", "3/4 or 6/8"),
    ],
)
def test_files_are_named_by_what_the_caller_knows(message: str, told: str) -> None:
    assert places().told(message) == told


def test_an_error_keeps_what_the_caller_wrote() -> None:
    document = {"message": f"{HOME}/a is bad", "reasons": [f"{HOME}/b"], "matches": ["/a/b/c"]}
    told = places().error(document)
    assert told == {"message": "a is bad", "reasons": ["b"], "matches": ["/a/b/c"]}


def test_where_the_database_is_away_the_libraries_of_before_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = False

    def libraries() -> list[Any]:
        if away:
            raise BackendUnavailable("away")
        return [SimpleNamespace(root=str(LIBRARY))]

    found = places(catalogue=SimpleNamespace(libraries=libraries))
    assert found.told(f"{LIBRARY}/a.wav") == "a.wav"
    away = True
    monkeypatch.setattr("rag_audio.service.wording.LOOK_S", -1.0)
    assert found.told(f"{LIBRARY}/a.wav") == "a.wav"
