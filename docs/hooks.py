"""Hooks of mkdocs: pages that are made from other files of the repository, or from the code.

The README, the changelog and the measurements stand where GitHub shows them and are pages of the
site as well. Links are written for GitHub, relative to the file they stand in; here each becomes
a link between pages or, for files that are no page, one to the repository.
"""

from __future__ import annotations

import json
import posixpath
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc|obj):(<code>)~?")
CELL = re.compile(r"<td\b.*?</td>", re.DOTALL)
REMOTE = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
)
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "vulnerabilities.md",
}
ELSEWHERE = ("benchmarks/RESULTS.md", "benchmarks/results/*.md", "data/models/*/README.md")


def _pages() -> dict[str, str]:
    """Files outside of docs/ that are pages, by their path: the path in the site."""
    found = [path for pattern in ELSEWHERE for path in sorted(ROOT.glob(pattern))]
    kept = {path.relative_to(ROOT).as_posix() for path in found}
    return {**PAGES, **{path: path for path in sorted(kept)}}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/."""
    for path, page in _pages().items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    document = openapi()
    made = {
        "decisions/index.md": _decisions(),
        "reference/http.md": "\n".join(_http(document)),
        "openapi.json": json.dumps(document, indent=1),
    }
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages."""
    places = {file.src_uri: f"docs/{file.src_uri}" for file in files if not file.generated_by}
    places |= {uri: path for path, uri in _pages().items()}
    here = page.file.src_uri
    if here not in places:
        return markdown
    pages = {path: uri for uri, path in places.items()}

    def moved(found: re.Match[str]) -> str:
        before, target, after = found.groups()
        if ":" in target:
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(places[here]), target))
        if path in pages:
            target = posixpath.relpath(pages[path], posixpath.dirname(here) or ".")
        elif (ROOT / path).exists():
            target = config.extra["repository"] + path
        return f"{before}{target}{after}"

    return LINK.sub(moved, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Drop Sphinx's roles and literal blocks' second colon, and escapes of ``|`` in tables."""
    html = ROLE.sub(r"\1", html).replace("::</p>", ":</p>")
    return CELL.sub(lambda found: found[0].replace("\\|", "|"), html)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that would load anything from another host."""
    if found := REMOTE.search(output):
        raise PluginError(f"{page.file.src_uri} loads something from elsewhere: {found[0]}")
    return output


def _decisions() -> str:
    """A list of the decision records, by their first headings."""
    lines = ["# Decisions", "", "Why things are as they are, one record for each decision.", ""]
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title.replace('. ', ': ', 1)}]({path.name})")
    return "\n".join(lines)


@cache
def openapi() -> dict[str, Any]:
    """The document that a service on an empty home serves as ``/openapi.json``."""
    import rag_audio
    from rag_audio.service.api.app import make_app
    from rag_audio.service.api.services import Service
    from rag_audio.service.settings import ServeSettings

    with tempfile.TemporaryDirectory() as folder, rag_audio.open(folder) as home:
        service = Service(home, ServeSettings(), ("127.0.0.1",), workers=0)
        document: dict[str, Any] = make_app(service).openapi()
    return document


def _http(document: dict[str, Any]) -> Iterator[str]:
    """The OpenAPI document as text: a section for each route, a table for each body."""
    yield "# HTTP routes"
    yield "\nMade from [openapi.json](../openapi.json), which a running service serves too."
    yield "How the routes belong together: [The HTTP API](../api.md).\n"
    yield document["info"]["description"] + "\n"
    tag = None
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            if route["tags"][0] != tag:
                tag = route["tags"][0]
                yield f"## {tag.capitalize()}\n"
            yield f"### `{method.upper()} {path}`\n"
            yield route.get("description", route["summary"]).replace("``", "`") + "\n"
            yield from _table(_parameters(route))
            for kind, content in route.get("requestBody", {}).get("content", {}).items():
                name = _name(content["schema"])
                body = f"[{name}](#{name.lower()})" if name else _type(content["schema"])
                yield f"Body (`{kind}`): {body}\n"
            yield from (
                f"- `{code}`: {_cell(r['description'])}" for code, r in route["responses"].items()
            )
            yield ""
    yield "## Bodies\n"
    for name, schema in document["components"]["schemas"].items():
        yield f"### {name}\n"
        yield schema.get("description", "").replace("``", "`") + "\n"
        if "properties" not in schema:
            yield _type(schema) + "\n"
        required = schema.get("required", ())
        yield from _table(
            (field, field in required, value)
            for field, value in schema.get("properties", {}).items()
        )
        for example in schema.get("examples", ()):
            yield f"```json\n{json.dumps(example, indent=1)}\n```\n"


def _parameters(route: dict[str, Any]) -> Iterator[tuple[str, bool, dict[str, Any]]]:
    for one in route.get("parameters", ()):
        place = "" if one["in"] == "query" else f" ({one['in']})"
        schema = {"description": one.get("description", ""), **one["schema"]}
        yield one["name"] + place, one["required"], schema


def _table(rows: Any) -> Iterator[str]:
    """Names, whether each is required, and the schemas of values, as a table."""
    listed = list(rows)
    if not listed:
        return
    yield "| name | type | default | is |\n|---|---|---|---|"
    for name, required, schema in listed:
        default = "*required*" if required else _code(schema.get("default"))
        yield f"| `{name}` | {_type(schema)} | {default} | {_cell(schema.get('description', ''))} |"
    yield ""


def _code(value: Any) -> str:
    return "" if value is None else f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


def _name(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _type(schema: dict[str, Any]) -> str:
    """A type with its limits in words: ``number, 20 to 400``."""
    if name := _name(schema):
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(_code(value) for value in schema["enum"])
    kind = str(schema.get("type", "any value"))
    if kind == "array":
        kind = f"list of {_type(schema.get('items', {}))}"
    limits = [
        words.format(schema[key])
        for key, words in LIMITS.items()
        if key in schema and (key != "pattern" or len(schema[key]) < 40)
    ]
    return ", ".join([kind, *limits]).replace("|", "\\|")


LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "pattern": "`{}`",
}
