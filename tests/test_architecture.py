"""What the structure of the code has to keep, beside the layers that import-linter checks."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("rag_audio", "indexer", "training")


def _modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = _modules()


def _imports(name: str) -> set[str]:
    """Modules of ours that ``name`` imports, anywhere in its text."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative imports hide the layer"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
    return {module for module in found if module.split(".")[0] in PACKAGES}


def test_the_top_of_the_package_is_short() -> None:
    """Somebody who looks for a subject reads its name here, and not a list of fifty modules."""
    inside = [path for path in (ROOT / "rag_audio").iterdir() if path.name != "__pycache__"]
    assert sum(path.suffix == ".py" for path in inside) <= 7
    assert 12 <= sum((path / "__init__.py").exists() for path in inside) <= 14


_BAR_NAME = re.compile(r"(beats|quarters)_(per|in|of)_(a_)?bar", re.IGNORECASE)
_COUNT_NAME = re.compile(r"bars?|beats|quarters|numerator|metre|(time_)?signature", re.IGNORECASE)


def _name(node: ast.AST) -> str:
    """The last name of a variable, an attribute or a call; empty for anything else."""
    if isinstance(node, ast.Call):
        return _name(node.func)
    if isinstance(node, ast.arg):
        return node.arg
    return getattr(node, "attr", getattr(node, "id", ""))


def _bar_arithmetic(text: str) -> list[int]:
    """Lines that count out a bar or a beat by themselves, and not by ``rag_audio.domain.music``."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if _BAR_NAME.fullmatch(_name(node).lstrip("_")):
            found.add(getattr(node, "lineno", 0))
        if not isinstance(node, ast.BinOp):
            continue
        if isinstance(node.op, ast.Div) and "bpm" in _name(node.right).lower():
            numbers = [one.value for one in ast.walk(node.left) if isinstance(one, ast.Constant)]
            if any(isinstance(one, int | float) and one and one % 60 == 0 for one in numbers):
                found.add(node.lineno)
        if isinstance(node.op, ast.Mult):
            for beat, count in ((node.left, node.right), (node.right, node.left)):
                counts = isinstance(count, ast.Constant) or _COUNT_NAME.fullmatch(_name(count))
                if _name(beat) in ("beat", "beat_s") and counts:
                    found.add(node.lineno)
    return sorted(found)


@pytest.mark.parametrize("name", [m for m in MODULES if m != "rag_audio.domain.music"])
def test_only_the_metre_says_how_long_a_bar_is(name: str) -> None:
    lines = _bar_arithmetic(MODULES[name].read_text(encoding="utf-8"))
    assert not lines, (
        f"{name}, lines {lines}: a bar or a beat is rag_audio.domain.music.bar_s or beat_s"
    )


@pytest.mark.parametrize(
    "text",
    [
        "bar = 240.0 / bpm",
        "bar = 240 / plan.bpm",
        "bar = song.beats * 60 / song.bpm",
        "bar = controls.quarters * 60.0 / bpm",
        "def aligned(segment, beats_per_bar=4.0): ...",
        "_BEATS_PER_BAR = 4",
        "bar = 4 * beat",
        "bar = signature * beat_s(bpm)",
        "beat = 60.0 / stem.bpm",
    ],
)
def test_a_bar_that_is_counted_elsewhere_is_found(text: str) -> None:
    assert _bar_arithmetic(text) == [1]


def test_import_is_light() -> None:
    """``import rag_audio`` and the vocabulary load no array or model library."""
    code = (
        "import sys, rag_audio, rag_audio.domain, rag_audio.errors, rag_audio.domain.ports\n"
        "heavy = {'numpy', 'torch', 'librosa', 'transformers', 'diffusers', 'sqlalchemy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


HEADING = re.compile(r"## (\d+)\.(\d+)\.(\d+) – (\d{4}-\d\d-\d\d|unreleased)")


def _releases(changelog: str) -> list[tuple[tuple[int, ...], str]]:
    """Version and date of each section, first to last; every heading must be one."""
    found = []
    for line in changelog.splitlines():
        if line.startswith("## "):
            heading = HEADING.fullmatch(line)
            assert heading, f"{line!r} is not '## X.Y.Z – YYYY-MM-DD' or '– unreleased'"
            *version, date = heading.groups()
            found.append((tuple(map(int, version)), date))
    return found


def test_version_and_changelog_agree() -> None:
    """docs/releasing.md: one number in three places, and sections from new to old."""
    import rag_audio

    releases = _releases((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = [version for version, _ in releases]
    assert project["version"] == rag_audio.__version__ == ".".join(map(str, versions[0]))
    assert versions == sorted(set(versions), reverse=True)
    dates = [date for _, date in releases]
    assert "unreleased" not in dates[1:]
    released = [date for date in dates if date != "unreleased"]
    assert released == sorted(released, reverse=True)


@pytest.mark.parametrize("line", ["## 0.1.0", "## Unreleased", "## v0.1.0 – 2026-01-01"])
def test_a_heading_without_version_or_date_is_found(line: str) -> None:
    with pytest.raises(AssertionError):
        _releases(line)


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for name in MODULES:
        if name.startswith(("rag_audio.testing", "training")):
            continue
        for node in ast.parse(MODULES[name].read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(name)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_only_the_service_logs_through_structlog() -> None:
    """Its loggers print to stdout until ``serve`` or ``worker`` configures them: into documents."""
    found = {
        name
        for name, path in MODULES.items()
        if not name.startswith("training")
        and "structlog.get_logger(" in path.read_text(encoding="utf-8")
    }
    assert found
    assert not {name for name in found if not name.startswith("rag_audio.service")}
