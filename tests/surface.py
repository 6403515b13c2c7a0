"""What users rely on: commands and options, routes and fields, settings, Python names, JSON keys.

``tests/data/surface.txt`` lists all of it, one name a line. After a deliberate change:

    python -m tests.surface > tests/data/surface.txt
"""

from __future__ import annotations

import inspect
import io
import json
import lzma
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import typer

import rag_audio
from rag_audio import errors
from rag_audio.cli.app import app as cli
from rag_audio.cli.app import run
from rag_audio.service.api.app import make_app
from rag_audio.service.api.services import Service
from rag_audio.service.settings import ServeSettings
from rag_audio.settings import Settings

LISTED = Path(__file__).parent / "data/surface.txt"
COMMAND = "python -m tests.surface > tests/data/surface.txt"
GOLDEN = Path(__file__).parent / "golden/vd84ceb9"
_DEEPEST = 12


def names(folder: Path) -> set[str]:
    """Of commands, options, routes, settings and Python; ``folder``: an empty one to work in."""
    return {*_commands(), *_routes(folder / "served"), *_settings(), *_python(folder / "opened")}


def _commands() -> Iterator[str]:
    return _commands_of(typer.main.get_command(cli), "rag-audio")


def _commands_of(command: Any, name: str) -> Iterator[str]:
    yield f"command {name}"
    arguments = 0
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            arguments += 1
            many = " …" if parameter.nargs == -1 else ""
            must = " required" if parameter.required else ""
            yield f"command {name} argument {arguments}{many}{must}"
            continue
        takes = "" if parameter.is_flag else " VALUE"
        many = " …" if parameter.multiple else ""
        for option in (*parameter.opts, *parameter.secondary_opts):
            yield f"command {name} {option}{takes}{many}"
    for child, inner in getattr(command, "commands", {}).items():
        yield from _commands_of(inner, f"{name} {child}")


def _routes(home: Path) -> Iterator[str]:
    with rag_audio.open(home) as opened:
        document = make_app(Service(opened, ServeSettings(), ("testserver",), 1)).openapi()
    for path, item in document["paths"].items():
        for method, route in item.items():
            name = f"route {method.upper()} {path}"
            yield name
            for parameter in (*route.get("parameters", ()), *item.get("parameters", ())):
                must = " required" if parameter.get("required") else ""
                yield f"{name} {parameter['in']} {parameter['name']}{must}"
            for kind, body in route.get("requestBody", {}).get("content", {}).items():
                yield f"{name} body {kind}"
                for field in _fields(document, body.get("schema", {})):
                    yield f"{name} body {field}"
            for status, answer in route["responses"].items():
                yield f"{name} {status}"
                for body in answer.get("content", {}).values():
                    for field in _fields(document, body.get("schema", {})):
                        yield f"{name} {status} {field}"


def _fields(document: Mapping[str, Any], schema: Any, depth: int = 0) -> Iterator[str]:
    """The properties of a schema, those of objects inside with dots and ``[]``."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        yield from _fields(document, document["components"]["schemas"][name], depth + 1)
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _fields(document, each, depth + 1)
    for field in _fields(document, schema.get("items"), depth + 1):
        yield f"[].{field}"
    for name, inner in schema.get("properties", {}).items():
        yield name
        for field in _fields(document, inner, depth + 1):
            yield f"{name}{'' if field.startswith('[]') else '.'}{field}"


def _settings() -> Iterator[str]:
    for kind in (Settings, ServeSettings):
        for name in kind.model_fields:
            yield f"setting {kind.model_config['env_prefix']}{name.upper()}"


def _python(home: Path) -> Iterator[str]:
    for name in rag_audio.__all__:
        yield f"python rag_audio.{name}"
    with rag_audio.open(home) as opened:
        kind = type(opened)
    for name, value in inspect.getmembers(kind):
        if name.startswith("_"):
            continue
        yield f"python rag_audio.open().{name}"
        if callable(value):
            for parameter in list(inspect.signature(value).parameters.values())[1:]:
                yield f"python rag_audio.open().{name}({parameter.name})"
    for name, value in inspect.getmembers(errors, inspect.isclass):
        if issubclass(value, errors.RagAudioError):
            yield f"python rag_audio.errors.{name} exit code {value.exit_code}"


def keys(folder: Path) -> Iterator[str]:
    """The keys of ``--json`` documents, of commands on a golden home and on a new one."""
    archive = folder / "backup.tar"
    with lzma.open(GOLDEN / "backup.tar.xz") as packed, archive.open("wb") as out:
        shutil.copyfileobj(packed, out, 2**20)
    with tarfile.open(GOLDEN / "delivered.tar.xz") as delivered:
        delivered.extractall(folder, filter="data")
    facts = json.loads((GOLDEN / "facts.json").read_text(encoding="utf-8"))
    output, day, made = str(facts["mp3"]["output"]), facts["day"], str(folder / "made.wav")
    generate = ("generate", "piano", "--duration", "4", "--steps", "1", "--seed", "3")
    old, new = folder / "home", folder / "new-home"
    for home, *words in (
        (old, "restore", str(archive), "--yes"),
        (old, "library"),
        (old, "artists"),
        (old, "doctor"),
        (old, "outputs", "--license", "full"),
        (old, "ledger", "show", output),
        (old, "ledger", "proof", output),
        (old, "ledger", "verify"),
        (old, "report", "--from", day, "--to", day),
        (old, "guard", "warm piano"),
        (old, "keys"),
        (new, "index", str(folder / "delivered/second")),
        (new, "search", "--artist", "Oskar Tindelby"),
        (new, *generate, "--dry-run"),
        (new, *generate, "--out", made),
        (new, "trace", made),
    ):
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(io.StringIO()):
            code = run([*words, "--json", "--home", str(home)])
        if code != 0:
            raise SystemExit(f"{words}: {said.getvalue()}")
        name = " ".join(words[: 2 if words[0] == "ledger" else 1])
        dry = " --dry-run" if "--dry-run" in words else ""
        for key in _keys(json.loads(said.getvalue())):
            yield f"json {name}{dry} {key}"


def _keys(value: Any) -> Iterator[str]:
    """The keys of a document, as :func:`_fields` writes them; those that are data are ``*``."""
    if isinstance(value, list):
        for one in value:
            for key in _keys(one):
                yield f"[].{key}"
    elif isinstance(value, dict):
        for name, inner in value.items():
            shown = name if re.fullmatch(r"[a-z_]{1,40}", name) else "*"
            yield shown
            for key in _keys(inner):
                yield f"{shown}{'' if key.startswith('[]') else '.'}{key}"


def main() -> None:
    """Write the list to stdout."""
    with tempfile.TemporaryDirectory() as folder:
        lines = sorted({*names(Path(folder)), *keys(Path(folder))})
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
