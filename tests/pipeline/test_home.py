"""A home makes its parts once; a limited one shares all but what it limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from rag_audio.domain.disclosure import EVERYTHING, Disclosure
from rag_audio.domain.ports import Generator
from rag_audio.errors import ConfigError
from rag_audio.home import Home
from rag_audio.provenance.credentials.signers import open_signer
from rag_audio.settings import Settings
from tests.provenance.material import Authority
from tests.support.fakes import FakeEmbedder, FakeIndex


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(Settings(home=tmp_path / "home", device="cpu"))
    made.embedder, made.index = FakeEmbedder(), FakeIndex()
    return made


class Model:
    """Counts how often it forgot what it keeps."""

    forgot = 0

    def forget(self) -> None:
        self.forgot += 1


def test_nothing_is_made_before_it_is_asked_for(tmp_path: Path) -> None:
    home = Home(Settings(home=tmp_path / "home"))
    home.limited_to(None)
    assert not (tmp_path / "home").exists()
    home.close()
    assert not (tmp_path / "home").exists()
    assert home.folder.is_dir()


def test_a_limited_home_makes_shared_parts_for_all(home: Home) -> None:
    limited = home.limited_to(["one"])
    assert limited.ledger is home.ledger
    assert limited.cache is home.cache is home.limited_to(["two"]).cache
    home.reader = cast(Any, object())
    assert limited.reader is home.reader
    assert limited.disclosure is home.disclosure is EVERYTHING


def test_a_limited_home_trusts_whom_the_whole_one_trusts(home: Home, tmp_path: Path) -> None:
    chain, key = Authority().signer(tmp_path / "own")
    signer = open_signer(tmp_path / "elsewhere", chain=chain, key=key)
    home.signer = signer
    assert home.limited_to(["one"]).anchors == home.anchors == signer.anchors


def test_a_limited_home_sees_its_libraries_alone_and_never_more(home: Home) -> None:
    for library in ("one", "two", "three"):
        home.catalogue.put_library(library, library, f"/nowhere/{library}")

    def seen(limited: Home) -> set[str]:
        return {one.id for one in limited.catalogue.libraries()}

    assert seen(home.limited_to(None)) == {"one", "two", "three"}
    limited = home.limited_to(["one", "two"])
    assert seen(limited) == seen(limited.limited_to(None)) == {"one", "two"}
    assert seen(limited.limited_to(["two", "three"])) == {"two"}
    assert seen(limited.limited_to(["three"])) == set()
    assert seen(limited.limited_to([]).limited_to(["one"])) == set()
    assert seen(home) == {"one", "two", "three"}


def test_what_may_be_told_is_kept_until_it_is_said_otherwise(home: Home) -> None:
    told, less = Disclosure(frozenset({"one"})), Disclosure(frozenset())
    limited = home.limited_to(["one"], disclosure=told)
    assert limited.limited_to(None).disclosure is told
    assert limited.limited_to(None, disclosure=less).disclosure is less
    assert home.disclosure is EVERYTHING


def test_a_generator_stands_in_for_the_configured_model_only(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: dict[str | None, Any] = {None: Model(), "other": Model()}
    monkeypatch.setattr(home, "generator", models.__getitem__)
    member = cast(Generator, object())
    limited = home.limited_to(["one"], generator=member)
    assert limited.generator(None) is member
    assert limited.limited_to(None).generator(None) is member
    assert limited.generator("other") is models["other"]
    assert home.limited_to(["one"]).generator(None) is models[None]
    assert models[None].forgot == 0


def test_a_part_can_be_set_and_taken_back(home: Home) -> None:
    home.soundfont = Path("other.sf2")
    assert home.limited_to(None).soundfont == Path("other.sf2")
    del home.soundfont
    assert home.soundfont.name == "rag-audio.sf2"
    del home.soundfont, home.signer  # also what was never made


def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made"):
        _ = Home(Settings(home=tmp_path / "file" / "home")).folder
