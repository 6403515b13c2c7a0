"""Artists whose names are signs, kana, stops or one letter, from indexing to the ledger."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rag_audio.cli.app import run
from rag_audio.domain import names
from rag_audio.errors import RequestRefused
from rag_audio.pipeline.workspace import open_workspace
from rag_audio.resources import data_dir

STYLE = ("!!!", "ラウト", "A", "Zoë Ñandú", "Ka/Vo", "Sunn Ø)))", "The The", "mono")
NO_STYLE = ("$$$", "ラウド", "+/-", "†††", "バンド", "M.O.X.", "Γιαννίκος", "MONO")


def write_named_library(root: Path) -> Path:
    """A stem for each name; the second half are licensed for words and sound, not for style."""
    scores = sorted(data_dir("demo").rglob("*.mid"))
    root.mkdir(parents=True)
    (root / "library.toml").write_text(
        '[library]\nname = "Named"\n'
        '[licenses.full]\nholder = "Ünited Hólder"\nspdx = "LicenseRef-1"\n'
        'uses = ["prompt", "init_audio", "style"]\n'
        '[licenses.bare]\nholder = "Bare Holder"\nspdx = "LicenseRef-2"\n'
        'uses = ["prompt", "init_audio"]\n',
        encoding="utf-8",
    )
    rows = ["path,license,artist,title,bpm,key,tags"]
    for i, name in enumerate((*STYLE, *NO_STYLE)):
        shutil.copy(scores[i], root / f"{i:02}.mid")
        license = "full" if name in STYLE else "bare"
        rows.append(f'{i:02}.mid,{license},"{name}",,,,drums')
    (root / "stems.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("named")
    library = write_named_library(base / "library")
    assert run(["index", str(library), "--home", str(base / "home"), "--json"]) == 0
    return base / "home"


@pytest.fixture
def home(indexed: Path, tmp_path: Path) -> Path:
    shutil.copytree(indexed, tmp_path / "home")
    return tmp_path / "home"


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*words, "--json"]) == code, capsys.readouterr()
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_each_artist_is_answered_with_stems_of_that_name_or_refused(
    indexed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_workspace(indexed) as workspace:
        for name in (*STYLE, *NO_STYLE):
            assert {one.stem.artist for one in workspace.search(artist=name)} == {name}
        for name in STYLE:
            plan = workspace.plan("drums", artist=name, duration_s=1.0)
            assert {one.stem.artist for one in plan.references} == {name}
        for name in NO_STYLE:
            with pytest.raises(RequestRefused):
                workspace.plan("drums", artist=name, duration_s=1.0)
    artists = said(capsys, "artists", "--home", str(indexed))["artists"]
    assert {one["artist"]: one["style"] for one in artists} == {
        **dict.fromkeys(STYLE, True),
        **dict.fromkeys(NO_STYLE, False),
    }


def test_a_prompt_asks_for_the_style_of_whom_it_names(
    indexed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phrases = ("drums in the style of {}", "a waltz inspired by {}", "a song like {}, slow")
    for name in (*STYLE, *NO_STYLE):
        prompts = [phrase.format(name) for phrase in phrases]
        found = said(capsys, "guard", *prompts, "--home", str(indexed))["decisions"]
        wanted = "allow" if name in STYLE else "refuse"
        assert [one["decision"] for one in found] == [wanted] * len(prompts), name


def test_two_that_are_typed_alike_are_asked_for(
    indexed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("search",), ("generate", "drums", "--dry-run"), ("revoke",)):
        error = said(capsys, *words, "--artist", "Mono", "--home", str(indexed), code=2)["error"]
        assert "'MONO', 'mono'" in error["message"]
    for nobody in ("...", " ", "-"):
        said(capsys, "search", "--artist", nobody, "--home", str(indexed), code=2)
        said(capsys, "revoke", "--artist", nobody, "--home", str(indexed), code=2)


@pytest.mark.parametrize("name", ["ラウト", "ラウド", "!!!", "$$$", "MONO", "M.O.X."])
def test_a_revocation_is_of_one_artist(
    home: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "revoke", "--artist", name, "--home", str(home))
    with open_workspace(home) as workspace:
        rights = workspace.pipeline.rights()
        stems = workspace.home.catalogue.stems()
        assert {stem.artist for stem in stems if rights.is_revoked(stem)} == {name}
    undone = said(capsys, "revoke", "--artist", name, "--undo", "--home", str(home))
    assert undone["undone"]


def test_revoking_asks_and_never_guesses(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = said(capsys, "revoke", "--artist", "mox", "--home", str(home), code=2)["error"]
    assert "'M.O.X.'" in asked["hint"]
    told = said(capsys, "revoke", "--artist", "MONO", "--home", str(home))
    assert told["alike"] == ["mono"] and "'mono'" in told["message"]
    with open_workspace(home) as workspace:
        (held,) = workspace.home.catalogue.revocations()
    assert held.target == "MONO"


def test_outputs_are_found_by_a_name_that_is_only_in_the_ledger(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--home", str(home))
    out = str(tmp_path / "take.wav")
    made = said(capsys, "generate", "drums", "--artist", "zoe nandu", "--duration", "1",
                "--steps", "2", "--out", out, *where)  # fmt: skip
    with open_workspace(home) as workspace:
        workspace.home.catalogue.remove_files("named", [f"{STYLE.index('Zoë Ñandú'):02}.mid"])
    for option, typed in (("--artist", "ZOE  nandu"), ("--holder", "united holder")):
        found = said(capsys, "outputs", option, typed, *where)["outputs"]
        assert [one["output"] for one in found] == [made["output"]]
    # A typing error must not read as "never used".
    assert said(capsys, "outputs", "--artist", "!!!", *where) == {"outputs": []}
    for option, typed, meant in (
        ("--artist", "Zoe Nando", "Zoë Ñandú"),
        ("--holder", "United Holdr", "Ünited Hólder"),
        ("--license", "fulll", "full"),
    ):
        found = said(capsys, "outputs", option, typed, *where)
        assert found["outputs"] == []
        assert "is known" in found["notes"][0] and meant in found["notes"][0]
    assert said(capsys, "outputs", "--license", "bare", *where) == {"outputs": []}


def test_an_artist_whose_license_ended_is_told_so_after_the_next_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = write_named_library(tmp_path / "library")
    said(capsys, "index", str(library), "--home", str(tmp_path / "home"))
    toml = (library / "library.toml").read_text(encoding="utf-8")
    ended = toml.replace("[licenses.bare]", "valid_until = 2020-01-01\n[licenses.bare]")
    (library / "library.toml").write_text(ended, encoding="utf-8")
    for folder in (tmp_path / "home", tmp_path / "fresh"):
        said(capsys, "index", str(library), "--home", str(folder))
        words = ("generate", "drums", "--artist", "!!!", "--dry-run", "--home", str(folder))
        error = said(capsys, *words, code=3)["error"]
        assert error["reasons"] == ["license full expired on 2020-01-01"]
        (decision,) = said(capsys, "guard", "in the style of !!!", "--home", str(folder))[
            "decisions"
        ]
        assert "expired on 2020-01-01" in decision["reason"]
        rows = said(capsys, "artists", "--home", str(folder))["not_indexed"]
        told = {one["artist"]: one["refusal"] for one in rows}
        assert told["!!!"] == "license full expired on 2020-01-01"
        words = ("search", "--artist", "!!!", "--home", str(folder))
        assert "expired on 2020-01-01" in said(capsys, *words, code=2)["error"]["message"]


def test_a_third_spelling_of_a_revoked_namesake_is_revoked(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "revoke", "--artist", "mono", "--home", str(home))
    library = write_named_library(tmp_path / "library")
    (library / "library.toml").write_text(
        (library / "library.toml").read_text(encoding="utf-8").replace("Named", "Second"),
        encoding="utf-8",
    )
    table = (library / "stems.csv").read_text(encoding="utf-8")
    (library / "stems.csv").write_text(table.replace('"mono"', '"Mono"'), encoding="utf-8")
    said(capsys, "index", str(library), "--home", str(home))
    with open_workspace(home) as workspace:
        stems = {stem.artist: stem for stem in workspace.home.catalogue.stems()}
        keys = workspace.pipeline.rights().revoked_artists
        assert names.is_revoked(stems["Mono"].artist, keys)
        assert not names.is_revoked(stems["MONO"].artist, keys)


def test_an_artist_who_is_corrected_in_stems_csv_is_embedded_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library, own = write_named_library(tmp_path / "library"), str(tmp_path / "own")
    table = library / "stems.csv"
    right = table.read_text(encoding="utf-8")
    said(capsys, "index", str(library), "--home", own)
    said(capsys, "revoke", "--artist", "!!!", "--home", own)
    table.write_text(right.replace('"A"', '"!!!"'), encoding="utf-8")
    wrong = said(capsys, "index", str(library), "--home", own)
    assert {one["path"] for one in wrong["rejected"]} == {"00.mid", "02.mid"}
    table.write_text(right, encoding="utf-8")
    mended = said(capsys, "index", str(library), "--home", own)
    assert {one["path"] for one in mended["rejected"]} == {"00.mid"}
    assert said(capsys, "search", "--artist", "A", "--home", own)["references"]
