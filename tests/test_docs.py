"""The pages name what exists: files, modules, classes."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import rag_audio.domain

ROOT = Path(__file__).parent.parent
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    CONTRIBUTING,
    *sorted((ROOT / "docs").rglob("*.md")),
]
SOURCES = {
    path: path.read_text(encoding="utf-8")
    for package in ("rag_audio", "indexer", "training")
    for path in sorted((ROOT / package).rglob("*.py"))
}
_FOLDERS = r"rag_audio|indexer|training|tests|docs|data|benchmarks|examples|integrations"
_PATH = re.compile(rf"(?:{_FOLDERS}|\.github)/[\w./*-]*[\w/*]")
_DOTTED = re.compile(r"(?:rag_audio|indexer|training)(?:\.[A-Za-z_]\w*)+")
_ROLE = re.compile(r":(?:mod|func|class|meth|attr|data|exc):`~?((?:rag_audio|indexer)[\w.]*)`")
_LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)\s]*)?\)")
_CODE = re.compile(r"`([^`\n]+)`")
NO_MODULES = {
    "rag_audio.embedders",  # entry points
    "rag_audio.indexes",
    "rag_audio.generators",
    "rag_audio.watermarkers",
    "rag_audio.security",  # a logger
}


def _dangling(text: str, folder: Path) -> list[str]:
    """Paths, links and dotted names in a page that lead nowhere."""
    code = "\n".join(_CODE.findall(text) + re.findall(r"^```.*?^```", text, re.M | re.S))
    files = [name for name in _PATH.findall(code) if not any(ROOT.glob(name.rstrip("/")))]
    links = [name for name in _LINK.findall(text) if not (folder / name).exists()]
    names = [name for name in _DOTTED.findall(code) if not _is_defined(name)]
    return [*files, *links, *names]


def _is_defined(name: str) -> bool:
    """Whether a module exists, or the module before the last names defines or holds them."""
    if name in NO_MODULES or (ROOT / name).exists():
        return True
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ROOT.joinpath(*parts[:length])
        for path in (module.with_suffix(".py"), module / "__init__.py"):
            if path in SOURCES:
                return all(re.search(rf"\b{part}\b", SOURCES[path]) for part in parts[length:])
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_and_module_that_a_page_names_exists(page: Path) -> None:
    assert _dangling(page.read_text(encoding="utf-8"), page.parent) == []


@pytest.mark.parametrize(
    "text",
    [
        "see `rag_audio/no_such_file.py`",
        "see `tests/no_such_*.py`",
        "see `rag_audio.no_such_module`",
        "see `rag_audio.domain.NoSuchNoun`",
        "see [here](no_such_page.md#heading)",
    ],
)
def test_what_leads_nowhere_is_found(text: str) -> None:
    assert len(_dangling(text, ROOT)) == 1


def test_the_glossary_has_every_noun_of_the_vocabulary() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    exported = {name: getattr(rag_audio.domain, name) for name in rag_audio.domain.__all__}
    nouns = {name for name, value in exported.items() if inspect.isclass(value)}
    assert len(nouns) > 20
    assert nouns - set(_CODE.findall(glossary)) == set()


def test_every_class_of_the_glossary_is_where_it_says() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = [line.split("|")[3] for line in glossary.splitlines() if line.startswith("|")]
    missing = []
    for cell in rows:
        home = "rag_audio.domain.ports" if "(ports)" in cell else "rag_audio.domain"
        for name in _CODE.findall(cell):
            inside = name if name.startswith("indexer.") else f"rag_audio.{name}"
            full = inside if "." in name else f"{home}.{name}"
            home = full.rpartition(".")[0]  # what follows in the cell is in the same module
            module = importlib.import_module(home)
            if not inspect.isclass(getattr(module, full.rpartition(".")[2], None)):
                missing.append(full)
    assert missing == []


def _rows(header: str) -> list[list[str]]:
    """The cells of the table of CONTRIBUTING.md that begins so, without backticks."""
    table = CONTRIBUTING.read_text(encoding="utf-8").split(f"| {header} |", 1)[1].split("\n\n")[0]
    lines = table.splitlines()[2:]
    return [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]] for line in lines]


def _matching(pattern: str) -> list[str]:
    """Files whose text or path a pattern is found in."""
    texts = {path.relative_to(ROOT).as_posix(): text for path, text in SOURCES.items()}
    texts |= {path.relative_to(ROOT).as_posix(): "" for path in (ROOT / "data").rglob("*.*")}
    wanted = re.compile(pattern, re.MULTILINE)
    return [path for path, text in texts.items() if wanted.search(text) or wanted.search(path)]


@pytest.mark.parametrize(
    ("place", "pattern"),
    [
        *((row[1], re.escape(row[2])) for row in _rows("to change")),
        *(
            (row[0], rf"^(?:def|class) {name}\b|^{name} = ")
            for row in _rows("package")
            for name in row[2].split(", ")
            if name
        ),
    ],
)
def test_what_contributing_says_to_look_for_is_there(place: str, pattern: str) -> None:
    found = _matching(pattern)
    assert any(path.startswith(place) for path in found), f"in {found}"


def test_the_tests_that_contributing_names_exist() -> None:
    missing = {row[3] for row in _rows("to change") if not (ROOT / row[3]).exists()}
    assert missing == set()


def test_contributing_lists_every_package() -> None:
    packages = {
        f"{path.parent.relative_to(ROOT)}/" for path in ROOT.glob("rag_audio/*/__init__.py")
    }
    listed = {row[0] for row in _rows("package")}
    assert packages - listed - {"rag_audio/testing/"} == set()


def test_what_docstrings_refer_to_exists() -> None:
    dangling = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in SOURCES.items()
        for name in _ROLE.findall(text)
        if not _is_defined(name)
    }
    assert dangling == set()
