"""Values as callers give them, brought to the types that the nouns hold, or refused in one line.

Numbers of numpy, paths, lists in place of tuples and names in place of enumerations are taken for
what they mean; a bool is no number. Every function raises :class:`InvalidInput` that names the
field and quotes the value.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from rag_audio.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_SHOWN = 60
_Named = TypeVar("_Named", bound=StrEnum)
_Item = TypeVar("_Item")


def refused(name: str, value: object, wanted: str, hint: str = "") -> InvalidInput:
    """The error: ``name must be wanted, got value``."""
    return InvalidInput(f"{name} must be {wanted}, got {_shown(value)}", hint=hint)


def number(name: str, value: object) -> float:
    """A finite real number; a whole one of Python stays whole."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real | int):
        raise refused(name, value, "a number")
    try:
        plain = float(value)
    except OverflowError:
        plain = math.inf
    if not math.isfinite(plain):
        raise refused(name, value, "a finite number")
    return operator.index(value) if type(value) is int else plain


def whole(name: str, value: object) -> int:
    """A whole number; 3.0 is none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise refused(name, value, "a whole number")
    return operator.index(value)


def flag(name: str, value: object) -> bool:
    """True or False, also numpy's."""
    if isinstance(value, bool):
        return value
    if type(value).__name__ in ("bool", "bool_") and type(value).__module__ == "numpy":
        return bool(value)
    raise refused(name, value, "True or False")


def text(name: str, value: object) -> str:
    """Text that can be written as UTF-8."""
    if not isinstance(value, str):
        raise refused(name, value, "text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise refused(name, value, "text of whole characters (UTF-8)") from error
    return str.__str__(value)


def file_name(name: str, value: object) -> str:
    """The name of a file, as text; a :class:`pathlib.Path` is one."""
    if not isinstance(value, str | os.PathLike):
        raise refused(name, value, "the name of a file")
    plain = os.fsdecode(value)
    if not plain or "\0" in plain:
        raise refused(name, value, "the name of a file")
    return str.__str__(plain)


def several(name: str, value: object, wanted: str) -> tuple[Any, ...]:
    """The items of a list, a tuple or an array, in order."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(plain, list | tuple):
        raise refused(name, value, wanted)
    return tuple(plain)


def pair(name: str, value: object, wanted: str) -> tuple[Any, Any]:
    """The two items of a list, a tuple or an array."""
    found = several(name, value, wanted)
    if len(found) != 2:
        raise refused(name, value, wanted)
    return found[0], found[1]


def texts(name: str, value: object) -> tuple[str, ...]:
    """Several texts; a single text is one."""
    if isinstance(value, str):
        return (text(name, value),)
    return tuple(text(name, item) for item in several(name, value, "a list of texts"))


def numbers_of(name: str, value: object) -> tuple[float, ...]:
    """Several finite numbers."""
    return tuple(number(name, item) for item in several(name, value, "a list of numbers"))


def one_of(name: str, value: object, kind: type[_Named]) -> _Named:
    """A member of an enumeration, or its value as text."""
    for member in kind:
        if isinstance(value, str) and value == member:
            return member
    raise refused(name, value, " or ".join(kind))


def some_of(name: str, value: object, kind: type[_Named]) -> frozenset[_Named]:
    """A set of an enumeration's members, from any collection of them; a single one is one."""
    if isinstance(value, str):
        return frozenset({one_of(name, value, kind)})
    if not isinstance(value, list | tuple | set | frozenset):
        raise refused(name, value, f"a set of {', '.join(kind)}")
    return frozenset(one_of(name, item, kind) for item in value)


def rows(name: str, value: object, wanted: str, width: int) -> Iterable[tuple[Any, ...]]:
    """Several rows of ``width`` cells each."""
    for row in several(name, value, wanted):
        cells = several(name, row, wanted)
        if len(cells) != width:
            raise refused(name, row, wanted)
        yield cells


def settle(
    owner: object, fields: dict[str, Callable[[str, object], object]], unset: Iterable[str] = ()
) -> None:
    """Bring the fields of a frozen dataclass to their types, while it is made.

    Args:
        fields: name and the function of this module that reads it. unset: those that may be None.
    """
    may_be_none = frozenset(unset)
    for name, read in fields.items():
        value = getattr(owner, name)
        if value is None and name in may_be_none:
            continue
        object.__setattr__(owner, name, read(name, value))


def _shown(value: object) -> str:
    """A value as its error quotes it: of any type, on one line, shortened."""
    try:
        said = f"{value:g}" if type(value) is float else repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        said = f"a {type(value).__name__}"
    said = " ".join(said.split())
    return said if len(said) <= _SHOWN else f"{said[: _SHOWN - 1]}…"


# Sound in memory.


@dataclass(frozen=True, eq=False)
class Audio:
    """Sound in memory.

    Attributes:
        samples: float32 ``[C, T]``, nominally in [-1, 1], finite.
        sample_rate: Hz.
    """

    samples: NDArray[np.float32]
    sample_rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2:
            raise InvalidInput(f"samples must be [C, T], got shape {tuple(self.samples.shape)}")
        if str(self.samples.dtype) != "float32":
            raise InvalidInput(f"samples must be float32, got {self.samples.dtype}")
        if self.sample_rate <= 0:
            raise InvalidInput(f"sample_rate must be positive, got {self.sample_rate}")

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    @property
    def frames(self) -> int:
        return int(self.samples.shape[1])

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate
