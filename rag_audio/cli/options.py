"""Options that several commands share, and how their text becomes domain nouns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.models import OptionInfo

from rag_audio.domain import GenerationRequest
from rag_audio.domain.fields import Field, On, fields_of, settable_on
from rag_audio.domain.limits import Number
from rag_audio.errors import InvalidInput, UnreadableFile

# The options of a request's fields, made from their table, and the request that they stand for.

_TYPES: Mapping[str, type] = {"whole": int, "number": float, "flag": bool, "file": Path}
"""Of values on the command line, by the form of a field's kind; all others are texts."""


def type_of(field: Field, surface: On) -> type:
    """Of one value of an option; a number that may be ``auto`` is a text in ``generate``."""
    is_text = field.auto and surface is On.GENERATE
    return str if is_text else _TYPES.get(field.kind.form, str)


def default_of(field: Field) -> Any:
    """What an option is where it is left out, as it would be typed; None: nothing."""
    kind, default = field.kind, field.default
    if kind.shape == "commas" and default is not None:
        return ",".join(kind.members if default else ())
    return None if kind.shape == "repeat" or field.needs else default


@cache
def option_of(name: str, surface: On = On.GENERATE, help: str = "") -> OptionInfo:
    """The option of a field.

    Args:
        help: in place of what the table says.
    """
    field = fields_of(GenerationRequest)[name]
    # The parser knows no range that is open below.
    limit = field.limit if isinstance(field.limit, Number) and not field.limit.above else None
    option: OptionInfo = typer.Option(
        f"--{field.option.replace('_', '-')}",
        help=help or field.help_on(surface),
        min=None if limit is None else limit.low,
        max=None if limit is None else limit.high,
    )
    return option


def parameter_of(field: Field, surface: On, help: str = "") -> inspect.Parameter:
    """The parameter of a command's function that takes a field."""
    kind: Any = type_of(field, surface)
    kind = list[kind] if field.kind.shape == "repeat" else kind
    default = default_of(field)
    return inspect.Parameter(
        field.option,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[
            kind | None if default is None else kind, option_of(field.name, surface, help)
        ],
    )


def with_fields(surface: On, **helps: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a request.

    They take the place of its parameter ``asked``, which gets what was given, by option.

    Args:
        helps: of fields, in place of what the table says.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        made = {
            field.option: parameter_of(field, surface, helps.get(field.name, ""))
            for field in settable_on(GenerationRequest, surface)
            if field.option not in own
        }
        named = {
            name: one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for before, at in own.items()
            for name, one in (made.items() if before == "asked" else [(before, at)])
        }

        @wraps(command)
        def run(**given: Any) -> None:
            asked = {name: given.pop(name) for name in made}
            command(**given, asked=asked)

        run.__signature__ = inspect.Signature(list(named.values()))  # type: ignore[attr-defined]
        run.__annotations__ = {name: one.annotation for name, one in named.items()}
        return run

    return decorate


def fields_from(asked: Mapping[str, Any], surface: On) -> dict[str, Any]:
    """The fields that options stand for; what was left out is absent.

    Raises:
        InvalidInput: a value cannot be read, or a field is given without the one that it needs.
    """
    found: dict[str, Any] = {}
    for field in settable_on(GenerationRequest, surface):
        value = asked.get(field.option)
        if value is None:
            continue
        if field.auto and value == "auto":
            found[field.auto] = True
            continue
        found[field.name] = _parsed(field, value)
    for field in settable_on(GenerationRequest, surface):
        if field.needs and field.name in found and not found.get(field.needs):
            raise InvalidInput(
                f"--{field.option} needs --{field.needs}",
                hint=f"give both, or leave --{field.option} out",
            )
    return found


def _parsed(field: Field, value: Any) -> Any:
    if field.auto and isinstance(value, str):
        try:
            return float(value)
        except ValueError as error:
            raise InvalidInput(
                f"{field.option} must be a number or auto, got {value!r}",
                hint=f"--{field.option} 0.4, or --{field.option} auto",
            ) from error
    return field.kind.parse(field.name, value)


def request_from(asked: Mapping[str, Any]) -> GenerationRequest:
    """The request that the options of ``generate`` stand for, or those of a row of a batch.

    Raises:
        InvalidInput: a value cannot be read or is out of range.
    """
    return GenerationRequest(**fields_from(asked, On.GENERATE))


Home = Annotated[
    Path | None,
    typer.Option(help="Folder of index, ledger and keys (RAG_AUDIO_HOME).", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Territory = Annotated[str | None, option_of("territory")]


def read_text(file: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        UnreadableFile: it cannot be read, or is no such text.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UnreadableFile(f"{str(file)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{str(file)!r} is not text in UTF-8") from error


def parse_range(text: str | None) -> tuple[float, float] | None:
    """``88-96`` or ``92`` → lowest and highest tempo.

    Raises:
        InvalidInput: it is neither.
    """
    if text is None:
        return None
    low, _, high = text.partition("-")
    try:
        found = (float(low), float(high or low))
    except ValueError as error:
        raise InvalidInput(
            f"{text!r} is not a tempo range", hint="write it like 92 or 88-96"
        ) from error
    if not 0 < found[0] <= found[1]:
        raise InvalidInput(f"the tempo range {text!r} is empty", hint="write it like 88-96")
    # A single figure means "about that".
    return (max(found[0] - 2, found[0] / 2), found[1] + 2) if not high else found
