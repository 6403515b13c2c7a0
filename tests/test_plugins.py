"""Plugins: found by name after what is built in, and told in one line where they are broken."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rag_audio import plugins
from rag_audio.cli.app import run
from rag_audio.errors import BackendUnavailable, ConfigError, InvalidInput
from rag_audio.pipeline.workspace import open_workspace
from rag_audio.settings import EMBEDDED, SPREAD_SPECTRUM, read_settings
from tests.support.fake_embedder import FakeEmbedder

Install = Callable[..., None]
TOY = """
from tests.support.fake_embedder import FakeEmbedder
from rag_audio.errors import InvalidInput

class Toy(FakeEmbedder):
    def __init__(self, argument, device):
        super().__init__()
        self.name = f"toy {argument} {device}"

def make(argument, *, device):
    if argument == "wrong":
        raise InvalidInput("toy takes no 'wrong'")
    if argument == "crash":
        raise KeyError("weights")
    return Toy(argument, device)

def make_nothing(argument, **given):
    return object()

def make_watermarker(argument, *, key, retired):
    from rag_audio.watermark.spread_spectrum import SpreadSpectrumWatermarker
    made = SpreadSpectrumWatermarker(key, retired)
    made.name = "toy-mark"
    return made

def make_index(argument, *, home, space, dimension):
    from rag_audio.storage.qdrant_server import ServerIndex
    from qdrant_client import QdrantClient
    return ServerIndex(space=space, dimension=dimension, client=QdrantClient(":memory:"))
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package whose entry points are given as (group, name, value)."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def put(package: str, *entries: tuple[str, str, str], text: str = TOY) -> None:
        info = site / f"{package}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(
            "".join(f"[rag_audio.{group}]\n{name} = {value}\n" for group, name, value in entries)
        )
        (site / f"{package}.py").write_text(text)
        monkeypatch.delitem(sys.modules, package, raising=False)

    return put


def make_embedder(named: str) -> Any:
    plugin = plugins.find("embedder", named)
    assert plugin is not None
    return plugin.make(device="cpu")


def test_a_name_and_its_argument_make_a_part(install: Install) -> None:
    install("toy", ("embedders", "toy", "toy:make"))
    assert make_embedder("toy").name == "toy  cpu"
    assert make_embedder("toy:a:b").name == "toy a:b cpu"
    assert plugins.find("embedder", "other") is None
    assert plugins.find("generator", "toy") is None, "a name of another kind"


def test_settings_name_embedder_index_and_watermarker(install: Install, tmp_path: Path) -> None:
    install(
        "toy",
        ("embedders", "toy", "toy:make"),
        ("indexes", "toy", "toy:make_index"),
        ("watermarkers", "toy", "toy:make_watermarker"),
    )
    named = {"embedder": "toy:1", "index": "toy", "watermarker": "toy", "device": "cpu"}
    with open_workspace(tmp_path / "home", **named) as workspace:
        assert workspace.home.embedder.name == "toy 1 cpu"
        assert workspace.home.index.space == FakeEmbedder().space
        assert workspace.home.watermarker.name == "toy-mark"
        assert not (tmp_path / "home/index").exists()


def test_files_and_embedded_models_go_before_plugins(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = "stable-audio-mini"
    install("toy", ("embedders", "toy", "toy:make"), ("generators", model, "toy:make"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy").mkdir()
    assert plugins.find("embedder", "toy") is None
    assert plugins.find("generator", model) is None


@pytest.mark.parametrize(
    ("value", "text", "said"),
    [
        ("toy:make", "import no_such_module", "ModuleNotFoundError: No module named"),
        ("toy:make", "raise RuntimeError('first line\\nsecond')", "RuntimeError: first line"),
        ("toy:absent", TOY, "AttributeError"),
        ("toy:TOY", "TOY = 3", "cannot be called"),
        ("toy:make_nothing", TOY, "makes a object without space, name"),
    ],
)
def test_a_broken_plugin_is_one_line_that_names_its_package(
    install: Install, value: str, text: str, said: str
) -> None:
    install("toy", ("embedders", "bad", value), text=text)
    with pytest.raises(BackendUnavailable) as caught:
        make_embedder("bad")
    message = caught.value.message
    assert message.startswith("the embedder 'bad' of the package toy 1.2 ")
    assert said in message and "\n" not in message
    assert "RAG_AUDIO_EMBEDDER" in caught.value.hint


def test_an_error_of_ours_passes_and_any_other_is_told(install: Install) -> None:
    install("toy", ("embedders", "toy", "toy:make"))
    with pytest.raises(InvalidInput, match="takes no 'wrong'"):
        make_embedder("toy:wrong")
    with pytest.raises(BackendUnavailable, match="cannot be made: KeyError: 'weights'"):
        make_embedder("toy:crash")


def test_a_name_of_two_packages_is_refused(install: Install) -> None:
    install("toy", ("embedders", "twice", "toy:make"))
    install("more", ("embedders", "twice", "toy:make"))
    with pytest.raises(ConfigError, match=r"more 1\.2 and toy 1\.2"):
        make_embedder("twice")


def test_an_index_or_watermarker_that_nobody_provides_is_refused() -> None:
    with pytest.raises(ConfigError, match="no watermarker is called 'absent'") as caught:
        plugins.require("watermarker", "absent", SPREAD_SPECTRUM)
    assert "spread-spectrum" in caught.value.hint
    with pytest.raises(ConfigError, match="no index is called 'absent'"):
        plugins.require("index", "absent", EMBEDDED)


def test_an_empty_setting_means_what_is_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_AUDIO_INDEX", "")
    monkeypatch.setenv("RAG_AUDIO_WATERMARKER", "")
    settings = read_settings()
    assert (settings.index, settings.watermarker) == ("embedded", "spread-spectrum")


def test_doctor_lists_plugins_and_says_which_are_broken(
    install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("toy", ("embedders", "toy", "toy:make"), ("generators", "bad", "toy:absent"))
    assert run(["doctor", "--json", "--home", str(tmp_path / "home")]) == 1
    checks = {one["name"]: one for one in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["embedder toy"] == {
        "name": "embedder toy",
        "ok": True,
        "what": "plugin of toy 1.2",
    }
    assert not checks["generator bad"]["ok"]
    assert "of the package toy 1.2 cannot be loaded" in checks["generator bad"]["what"]
