"""Known names in their own scripts beside what asks for their style.

Where no spaces part words, or endings and particles are joined to them, a name is looked for as
it is written, and counts by what stands next to it: before "처럼" and "っぽい", after "แบบ" and
"زي".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rag_audio.guardrails.names import Artist
from rag_audio.guardrails.policy_tables import compiled, policy_table

_FIRST = 2
"""Letters by which names are looked up, and that they have at least."""
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True)
class _Script:
    """How a script asks for somebody's style.

    Attributes:
        letters: what a name of it begins with.
        before: what stands right before a name then; after: what stands right after it.
        border: letters that may not stand before the name, as it would be a part of a word.
        end: what may stand after a name that something asks for before it.
    """

    letters: re.Pattern[str]
    before: re.Pattern[str] | None = None
    after: re.Pattern[str] | None = None
    border: re.Pattern[str] | None = None
    end: re.Pattern[str] | None = None


_SCRIPTS = tuple(
    _Script(**{place: compiled(lines) for place, lines in script.items()})
    for script in policy_table("scripts")["script"]
)


def native_spellings(artist: Artist) -> Iterator[tuple[str, str]]:
    """Names of an artist in such scripts, in NFC, each with the letters it is looked up by."""
    for text in (artist.name, *artist.aliases, *artist.common_aliases):
        written = unicodedata.normalize("NFC", text)
        if len(written) >= _FIRST and _NOT_ASCII.match(written):
            yield written[:_FIRST], written


def find_native(
    raw: str, named: Callable[[str], Iterable[tuple[str, Artist]]]
) -> Iterator[tuple[int, int, Artist]]:
    """Spans of a text, which must be in NFC, in which somebody's style is asked for.

    Args:
        named: names (and whose they are) by the letters they are looked up by, longest first.
    """
    if raw.isascii():
        return
    for match in _NOT_ASCII.finditer(raw):
        start = match.start()
        for written, artist in named(raw[start : start + _FIRST]):
            end = start + len(written)
            if raw.startswith(written, start) and _is_asked(raw, start, end):
                yield start, end, artist
                break


class NativeIndex:
    """Names as they are written in scripts of their own.

    Args:
        artists: those with names in such scripts among their names and aliases are looked for.
    """

    def __init__(self, artists: Iterable[Artist]) -> None:
        self._names: dict[str, list[tuple[str, Artist]]] = {}
        for artist in artists:
            for key, written in native_spellings(artist):
                self._names.setdefault(key, []).append((written, artist))
        for spelled in self._names.values():
            spelled.sort(key=lambda pair: -len(pair[0]))

    def named(self, key: str) -> Sequence[tuple[str, Artist]]:
        """Names, and whose they are, by the letters they are looked up by, longest first."""
        return self._names.get(key, ())

    def find(self, raw: str) -> Iterator[tuple[int, int, Artist]]:
        """As :func:`find_native`."""
        return find_native(raw, self.named)


def _is_asked(raw: str, start: int, end: int) -> bool:
    """Whether the text around ``raw[start:end]`` asks for a style."""
    before = raw[max(0, start - 40) : start]
    for script in _SCRIPTS:
        if not script.letters.match(raw, start):
            continue
        if script.after is not None and script.after.match(raw, end):
            return script.border is None or not script.border.match(raw[start - 1 : start])
        if script.before is not None and script.before.search(before):
            return script.end is None or script.end.match(raw, end) is not None
    return False
