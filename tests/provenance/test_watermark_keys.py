from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rag_audio.errors import ConfigError
from rag_audio.provenance.credentials.watermark_keys import KEY_BYTES, load_or_create


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "watermark.key"
    key = load_or_create(path)
    assert len(key) == KEY_BYTES
    assert load_or_create(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["watermark.key"]


def test_two_homes_have_two_keys(tmp_path: Path) -> None:
    assert load_or_create(tmp_path / "a") != load_or_create(tmp_path / "b")


def test_many_who_make_the_key_at_once_get_the_same_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(load_or_create, [tmp_path / "watermark.key"] * 16))
    assert len(keys) == 1


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "watermark.key"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{len(content)} bytes"):
        load_or_create(path)
    assert path.read_bytes() == content


def test_a_folder_in_the_keys_place_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        load_or_create(tmp_path)
