"""The command line as a user meets it: documents, exit codes, one-line errors."""

from __future__ import annotations

import json
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

import rag_audio
from indexer.report import FileOutcome
from rag_audio.cli import output
from rag_audio.cli.app import run
from rag_audio.cli.index import indexing_bar
from tests.support.small_library import write_library


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("cli")
    library = write_library(base / "library")
    assert run(["index", str(library), "--home", str(base / "home"), "--json"]) == 0
    return base / "home"


def _json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def test_names_in_the_bar_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=StringIO(), force_terminal=True)
    monkeypatch.setattr(output, "err", screen)
    with indexing_bar() as bar:
        bar.started(2, 0)
        bar.advanced("take [/b] [bold].wav", FileOutcome.INDEXED)
        for task in cast(Any, bar).bar.tasks:
            shown = cast(Any, bar).bar.columns[-1](task)
    assert shown.plain == "indexed take [/b] [bold].wav"


def test_index_reports_what_it_did(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = write_library(tmp_path / "library")
    first = _json(capsys, "index", str(library), "--home", str(tmp_path / "home"))
    assert (first["indexed"], first["skipped"]) == (4, 0)
    assert {r["path"] for r in first["rejected"]} == {"gone.wav", "unlisted.wav"}
    again = _json(capsys, "index", str(library), "--home", str(tmp_path / "home"))
    assert (again["indexed"], again["skipped"]) == (0, 4)
    assert again["segments"] == first["segments"]


def test_a_library_of_faulty_licenses_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library, home = write_library(tmp_path / "library"), str(tmp_path / "home")
    tables, row = library / "stems.csv", "full_a.wav,full,,,,,,\n"
    good = tables.read_text().splitlines()[0] + "\n" + row
    tables.write_text(good.replace(",full,", ",fuII,"))
    report = _json(capsys, "index", str(library), "--home", home, code=2)
    assert (report["indexed"], report["segments"], report["misdeclared"]) == (0, 0, 1)
    assert run(["index", str(library), "--home", home]) == 2
    said = capsys.readouterr()
    assert "not in library.toml" in said.out
    assert [line for line in said.err.splitlines() if "nothing was indexed" in line]
    tables.write_text(good + "full_b.wav,fuII,,,,,,\n")
    assert _json(capsys, "index", str(library), "--home", home)["indexed"] == 1


def test_generate_then_trace(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "take.mp3"
    made = _json(
        capsys,
        "generate", "warm electric piano", "--artist", "Copper Lantern Trio", "--seed", "3",
        "--steps", "2", "--duration", "10", "--out", str(out), "--home", str(home),
    )  # fmt: skip
    assert made["files"] == [str(out)]
    assert isinstance(made["seed"], int)
    assert made["enriched_prompt"].startswith("warm electric piano")
    for reference in made["references"]:
        assert set(reference["used"]) == {"prompt", "init"}
        assert "causal" in reference and "similar" in reference
    found = _json(capsys, "trace", str(out), "--home", str(home))
    assert (found["found"], found["output"]) == (True, made["output"])
    listed = _json(capsys, "outputs", "--license", "full", "--home", str(home))
    assert made["output"] in [entry["output"] for entry in listed["outputs"]]
    assert _json(capsys, "ledger", "verify", "--home", str(home))["ok"] is True


def test_a_dry_run_prints_the_plan_and_makes_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = _json(capsys, "generate", "warm", "--dry-run", "--seed", "1", "--home", str(home))[
        "plan"
    ]
    assert plan["prompt"] == "warm"
    capsys.readouterr()
    assert run(["generate", "warm", "--dry-run", "--home", str(home)]) == 0
    assert "enriched" in capsys.readouterr().out


def test_unmarked_audio_is_an_answer_not_an_error(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _json(capsys, "trace", str(home.parent / "library" / "words.wav"), "--home", str(home))
    assert found["found"] is False
    assert found["sources"] == []


def test_a_mark_by_hand_is_read_and_never_traced(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, marked = home.parent / "library" / "full_a.wav", tmp_path / "marked.wav"
    embedded = _json(
        capsys, "watermark", "embed", str(source), str(marked), "--payload", "1",
        "--home", str(home),
    )  # fmt: skip
    assert embedded["payload"] == 1
    assert embedded["snr_db"] > 20
    found = _json(capsys, "watermark", "detect", str(marked), "--home", str(home))
    assert (found["found"], found["payload"], found["by_hand"]) == (True, 1, True)
    assert _json(capsys, "trace", str(marked), "--home", str(home))["found"] is False


def test_guard_decides_about_every_prompt(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("# in the style of Paper Moth Quartet\nwarm piano\n")
    document = _json(
        capsys, "guard", "like Zorblat Quux", "--file", str(prompts), "--home", str(home)
    )
    assert [d["decision"] for d in document["decisions"]] == ["refuse", "refuse", "allow"]
    for decision in document["decisions"]:
        for match in decision["matches"]:
            start, end = match["span"]
            assert decision["prompt"][start:end] == match["text"]


def test_library_and_artists_say_what_is_granted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    licenses = _json(capsys, "library", "--home", str(home))["licenses"]
    granted = {row["license"]: row["granted"] for row in licenses}
    assert granted["words"] == ["prompt"]
    assert granted["german"] == []
    artists = _json(capsys, "artists", "--home", str(home))["artists"]
    assert {row["artist"]: row["style"] for row in artists} == {
        "Copper Lantern Trio": True,
        "Nebel Kapelle": False,
        "Paper Moth Quartet": False,
    }
    abroad = _json(capsys, "artists", "--territory", "de", "--home", str(home))["artists"]
    assert {row["artist"] for row in abroad if row["style"]} == {
        "Copper Lantern Trio",
        "Nebel Kapelle",
    }


def test_doctor_finds_nothing_wrong(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = _json(capsys, "doctor", "--home", str(home))
    assert document["ok"] is True
    said = {check["name"]: check["what"] for check in document["checks"]}
    assert {"embedder", "model", "index", "ledger"} <= said.keys()
    assert said["landmarks"].endswith("stems can be recognised in foreign sound")


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["index", "no-such-folder"], 2, "LibraryError"),
        (["search"], 2, "InvalidInput"),
        (["search", "x", "--key", "X major"], 2, "InvalidInput"),
        (["search", "x", "--bpm", "fast"], 2, "InvalidInput"),
        (["search", "x", "--like", "ffff"], 2, "InvalidInput"),
        (["search", "x", "--audio", "missing.wav"], 2, "UnreadableFile"),
        (["generate", "x"], 2, "InvalidInput"),
        (["generate", "  ", "--dry-run"], 2, "InvalidInput"),
        (["generate", "x", "--dry-run", "--candidates", "3"], 2, "InvalidInput"),
        (["generate", "x", "--out", "a.xyz"], 2, "InvalidInput"),
        (["generate", "x", "--strength", "2", "--dry-run"], 2, "InvalidInput"),
        (["generate", "x", "--strength", "nan", "--dry-run"], 2, "InvalidInput"),
        (["generate", "x", "--channels", "smell", "--dry-run"], 2, "InvalidInput"),
        (["generate", "x", "--territory", "Germany", "--dry-run"], 2, "InvalidInput"),
        (["generate", "x", "--model", "missing-dir", "--dry-run"], 4, "BackendUnavailable"),
        (["generate", "like Zorblat Quux", "--dry-run"], 3, "RequestRefused"),
        (["generate", "x", "--artist", "Late Ferry", "--dry-run"], 3, "RequestRefused"),
        (["generate", "x", "--territory", "ZZ", "--dry-run"], 2, "InvalidInput"),
        (["vary", "a.wav", "x", "--out", "./a.wav"], 2, "InvalidInput"),
        (["trace", "missing.wav"], 2, "UnreadableFile"),
        (["ledger", "show", "99"], 2, "InvalidInput"),
        (["guard"], 2, "InvalidInput"),
        (["nonsense"], 2, "InvalidInput"),
        (["generate", "x", "--seed", "seven"], 2, "InvalidInput"),
    ],
)  # fmt: skip
def test_errors_are_one_line_with_the_right_code(
    arguments: list[str],
    code: int,
    kind: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAG_AUDIO_HOME", str(home))
    document = _json(capsys, *arguments, code=code)
    assert document["error"]["type"] == kind
    assert document["error"]["message"]
    assert run(arguments) == code
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err + shown.out
    assert shown.err.startswith(("rag-audio: ", "note: "))
    assert not list(tmp_path.iterdir())


def test_an_index_is_rebuilt_unless_somebody_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import rag_audio
    from rag_audio.storage.shared_index import SharedIndex

    library, home = write_library(tmp_path / "library"), tmp_path / "home"
    first = _json(capsys, "index", str(library), "--home", str(home))
    rebuild = ("index", str(library), "--rebuild", "--home", str(home))
    with rag_audio.open(home) as workspace:
        kept = workspace.home.index
        assert isinstance(kept, SharedIndex) and kept.keep()
        with monkeypatch.context() as hurried:
            hurried.setattr("rag_audio.storage.locks.WAIT_S", 0.2)
            assert "in use by pid" in _json(capsys, *rebuild, code=4)["error"]["message"]
        kept.release()
        with workspace.home.catalogue.claim(workspace.home.catalogue.libraries()[0].id):
            assert "being written by" in _json(capsys, *rebuild, code=4)["error"]["message"]
        assert workspace.home.index.count() == first["segments"]
        # Who only asked before does not stand in the way, and sees what there is then.
        rebuilt = _json(capsys, *rebuild)
        assert rebuilt["segments"] == first["segments"]
        assert rebuilt["indexed"] + rebuilt["updated"] == 4
        assert workspace.home.index.count() == first["segments"]


def test_an_enforced_tempo_is_in_the_document(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = _json(
        capsys,
        "generate", "warm", "--bpm", "96", "--enforce", "tempo", "--candidates", "2", "--steps",
        "2", "--duration", "6", "--seed", "3", "--out", str(tmp_path / "a.wav"),
        "--home", str(home), "--best-effort",
    )  # fmt: skip
    assert len(made["enforced"]["candidates"]) == 2
    assert made["enforced"]["chosen"] == str(made["seed"])
    wrong = _json(capsys, "generate", "warm", "--enforce", "colour", "--dry-run", code=2)
    assert "colour" in wrong["error"]["message"]


def test_controls_are_options_and_stand_in_the_plan(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = _json(
        capsys,
        "generate", "soft", "--bpm", "120", "--bars", "4", "--time-signature", "3/4", "--mood",
        "calm", "--instrumentation", "celesta", "--dry-run", "--home", str(home),
    )["plan"]  # fmt: skip
    assert plan["duration_s"] == pytest.approx(6.0)
    assert plan["controls"]["mood"] == ["calm"]
    assert "celesta, calm, 120 BPM" in plan["enriched_prompt"]
    refused = _json(
        capsys, "generate", "soft", "--mood", "like Taylor Swift", "--dry-run",
        "--home", str(home), code=3,
    )  # fmt: skip
    assert refused["error"]["type"] == "RequestRefused"


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"rag-audio {rag_audio.__version__}\n"


def test_what_the_system_refuses_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w") as full, monkeypatch.context() as patched:
        patched.setattr("sys.stdout", full)
        code = run(["library", "--home", str(home)])
        with suppress(OSError):
            full.close()  # what could not be written is still in its buffer
    assert code == 2
    assert capsys.readouterr().err.startswith("rag-audio: No space left on device")


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (("demo",), "rag-audio demo --help"),
        (("generate", "slow", "--strenght", "1"), "rag-audio generate --help"),
        (("watermark", "embed"), "rag-audio watermark embed --help"),
        (("generat",), "rag-audio --help"),
    ],
)
def test_what_is_typed_wrongly_is_answered_with_that_command_s_help(
    typed: tuple[str, ...], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(list(typed)) == 2
    assert capsys.readouterr().err.splitlines()[-1].strip() == hint
