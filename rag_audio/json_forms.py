"""How nouns are written as JSON and read back: the forms that single values have.

The documents hold JSON's own types only, and no number that canonical JSON (RFC 8785) cannot hold:
an integer past 2^53 and a float that is not finite are written as strings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rag_audio.domain import Key
from rag_audio.errors import InvalidInput, RagAudioError

Document = dict[str, Any]
"""One JSON object."""

Noun = TypeVar("Noun")
SAFE_INTEGER = 2**53 - 1


def read_noun(what: str, document: Mapping[str, Any], build: Callable[[Any], Noun]) -> Noun:
    """Run ``build`` and say in one line which document was wrong when it fails."""
    try:
        return build(document)
    except KeyError as error:
        raise InvalidInput(f"the {what} lacks {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InvalidInput(f"the {what} cannot be read: {error}") from error
    except RagAudioError as error:
        raise InvalidInput(f"the {what} cannot be read: {error.message}", error.hint) from error


def number(value: float) -> float | int | str:
    return value if math.isfinite(value) else str(value)


def maybe_number(value: float | None) -> float | int | str | None:
    return None if value is None else number(value)


def maybe_key_text(key: Key | None) -> str | None:
    return None if key is None else str(key)


def maybe(read: Callable[[Any], Noun], value: Any) -> Noun | None:
    return None if value is None else read(value)


def as_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value


def as_truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {value!r}")
    return value


def as_real(value: Any) -> float:
    """A number; a string is read only where it stands for a number JSON cannot hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(f"expected a number, got {value!r}")
    number = float(value)
    if isinstance(value, str) and math.isfinite(number):
        raise TypeError(f"expected a number, got {value!r}")
    return number


def as_integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(f"expected a whole number, got {value!r}")
    return int(value)


def as_items(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"expected a list, got {value!r}")
    return list(value)
