"""Imports go down only: the table of the design, held against the code."""

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

# Lowest first. A module may import what stands on a lower line, and what shares its own name.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("rag_audio.errors",),
    ("rag_audio.domain.codec",),
    ("rag_audio.domain.identifiers", "rag_audio.domain.names", "rag_audio.domain.limits"),
    ("rag_audio.domain.music",),
    ("rag_audio.domain.conflicts", "rag_audio.domain.refusals"),
    ("rag_audio.domain.licensing", "rag_audio.domain.controls", "rag_audio.domain.melody"),
    ("rag_audio.domain",),
    ("rag_audio.domain.clearance",),
    (
        "rag_audio.domain.ports",
        "rag_audio.domain.arguments",
        "rag_audio.domain.signing",
        "rag_audio.storage.locks",
        "rag_audio.audio.child_process",
        "rag_audio.storage.files",
        "rag_audio.storage.files",
        "rag_audio.resources",
        "rag_audio.plugins",
        "rag_audio.settings",
        "rag_audio.settings",
        "rag_audio.storage.database",
        "rag_audio.storage.migrations",
        "rag_audio.storage.revocations",
        "rag_audio.storage.conflicts",
        "rag_audio.storage.revocations",
        "rag_audio.audio.librosa_cache",
        "rag_audio.domain.plans",
        "rag_audio.domain.views",
        "rag_audio.domain.views",
        "rag_audio.domain.views",
        "rag_audio.retrieval.references",
        "rag_audio.storage.keywords",
        "rag_audio.retrieval.references",
        "rag_audio.storage.cache",
        "rag_audio.audio.loudness",
        "rag_audio.audio.dsp",
        "rag_audio.audio.channels",
        "rag_audio.audio.channels",
        "rag_audio.audio.writing",
        "rag_audio.audio.dsp",
        "rag_audio.audio.pictures",
        "rag_audio.audio.pictures",
        "rag_audio.audio.writing",
        "rag_audio.audio.pcm",
        "rag_audio.audio.channels",
        "rag_audio.audio.reading",
        "rag_audio.audio.reading",
        "rag_audio.audio.reading",
        "rag_audio.audio.headers",
        "rag_audio.audio.headers",
        "rag_audio.audio.pcm",
        "rag_audio.audio.headers",
        "rag_audio.audio.headers",
        "rag_audio.domain.credits",
        "rag_audio.audio.score_similarity",
        "rag_audio.audio.analysis",
        "rag_audio.audio.analysis",
        "rag_audio.audio.similarity",
        "rag_audio.models.embedding_similarity",
        "rag_audio.retrieval",
        "rag_audio.retrieval.recognition",
        "rag_audio.audio.analysis",
        "rag_audio.audio.scores",
        "rag_audio.audio.midi",
        "rag_audio.audio.melody",
        "rag_audio.audio.melody",
        "rag_audio.audio.instruments",
    ),
    (
        "rag_audio.guardrails",
        "rag_audio.retrieval.references",
        "rag_audio.retrieval.profiles",
        "rag_audio.generation.take_selection",
        "rag_audio.retrieval.recognition",
        "rag_audio.provenance.report",
        "rag_audio.generation",
        "rag_audio.generation.painting",
        "rag_audio.storage.catalogue",
        "rag_audio.watermark",
        "rag_audio.provenance",
        "rag_audio.models",
        "rag_audio.service",
    ),
    (
        "rag_audio.pipeline.rights_gate",
        "rag_audio.provenance.credentials.custody",
        "rag_audio.provenance.trace.opening",
        "rag_audio.storage.library_scope",
        "rag_audio.generation.stem_player",
    ),
    ("rag_audio.home",),
    (
        "rag_audio.pipeline.renderer",
        "rag_audio.guardrails.output",
        "rag_audio.pipeline.rights_gate",
        "rag_audio.generation.melody_request",
        "rag_audio.storage.database_export",
    ),
    ("rag_audio.provenance.ledger.earlier_logs",),
    ("rag_audio.provenance.ledger.earlier_logs",),
    ("rag_audio.pipeline.restore",),
    (
        "rag_audio.pipeline.delivery",
        "rag_audio.pipeline.delivery",
        "rag_audio.pipeline.influence",
        "rag_audio.retrieval.profile_picture",
    ),
    ("rag_audio.pipeline.pipeline",),
    ("rag_audio.pipeline.editing",),
    ("rag_audio.pipeline.workspace",),
    ("rag_audio.pipeline.home_files", "rag_audio.pipeline.home_files"),
    ("rag_audio.pipeline.archive",),
    ("rag_audio.pipeline.backup",),
    ("rag_audio.service",),
    ("rag_audio.service.api",),
    ("rag_audio.cli",),
    ("rag_audio.testing",),
)
# One line may import along itself: readers and writers of sound build on each other.
MAY_IMPORT_ALONG = {n for n, line in enumerate(LAYERS) if "rag_audio.domain.ports" in line}


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


def _place(name: str) -> tuple[int, str]:
    for height, line in enumerate(LAYERS):
        for unit in line:
            if name == unit or name.startswith(f"{unit}."):
                return height, unit
    raise AssertionError(f"{name} has no place in the layers: add it to tests/test_architecture.py")


def _backend(name: str) -> str:
    """A backend is one module; ``_names`` with an underscore are shared between siblings."""
    return name.removeprefix("rag_audio.models").lstrip(".").split(".")[0]


@pytest.mark.parametrize("name", [m for m in MODULES if m.startswith("rag_audio.")])
def test_imports_go_down_only(name: str) -> None:
    height, unit = _place(name)
    for imported in _imports(name):
        if imported == "rag_audio":
            continue
        if imported.startswith("indexer"):
            assert unit in (
                "rag_audio.cli",
                "rag_audio.service.api",
                "rag_audio.pipeline.workspace",
            ), f"{name} imports {imported}: only the outermost layer may"
            continue
        assert not imported.startswith("training"), f"{name} imports {imported}"
        other_height, other_unit = _place(imported)
        if other_unit == unit:
            continue
        along = other_height == height and height in MAY_IMPORT_ALONG
        assert other_height < height or along, f"{name} imports {imported}, which is not below it"


@pytest.mark.parametrize("name", [m for m in MODULES if m.startswith("rag_audio.models.")])
def test_backends_never_import_each_other(name: str) -> None:
    if _backend(name) in ("generators", "shared_index"):
        return  # they choose between two of them, and do nothing else
    for imported in _imports(name):
        if imported.startswith("rag_audio.models."):
            other = _backend(imported)
            assert other.startswith("_") or other == _backend(name), f"{name} imports {imported}"


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


def test_the_indexer_does_not_know_the_command_line() -> None:
    for name in MODULES:
        if name.split(".")[0] in ("indexer", "training"):
            for imported in _imports(name):
                assert not imported.startswith("rag_audio.cli"), f"{name} imports {imported}"


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
