"""Patterns of paths in a library's tables: what they match, and which of several counts.

``*`` matches within a folder, ``**`` across folders, ``?`` one character, ``[…]`` one of several as
in a shell. Every other character means itself; ``[[]``, ``[*]`` and ``[?]`` are these characters.
A bracket that stands in the name of a file or folder means itself as well: :class:`NamesOnDisk`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations
from typing import NamedTuple

from rag_audio.storage.library_files import LibraryFiles

MAX_PATTERN = 4096
"""Characters; no path is longer (``PATH_MAX`` of Linux)."""

_MOST_BRACKETS = 4
"""Brackets of one name whose meanings are tried apart; of more, all are literal or none is."""


class BadPattern(ValueError):
    """The pattern could match nothing inside a library."""


def normalized(path: str) -> str:
    """A path as patterns see it: Unicode NFC, for file systems differ in how they store accents."""
    return unicodedata.normalize("NFC", path)


def clean(pattern: str) -> str:
    """The pattern as written in a table, made comparable with POSIX paths below the root.

    Raises:
        BadPattern: it is empty, too long, absolute or leads out of the library.
    """
    text = normalized(pattern.strip()).replace("\\", "/")
    if not text:
        raise BadPattern("is empty")
    if len(text) > MAX_PATTERN:
        raise BadPattern(f"is longer than {MAX_PATTERN} characters")
    if text.startswith("/") or re.match(r"[A-Za-z]:|[A-Za-z]+://", text):
        raise BadPattern("is absolute; paths are relative to the library's root")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadPattern("leads out of the library with '..'")
    if not parts:
        raise BadPattern("names the root itself; '**' means every file")
    return "/".join(parts) + ("/**" if text.endswith("/") else "")


class Specificity(NamedTuple):
    """How narrowly a pattern says which files it means; of two, the greater counts.

    Attributes:
        is_literal: it has no wildcard.
        lead: characters before the first wildcard.
        literals: characters that are no wildcard.
        across, within: minus the number of ``**`` and of ``*``.
        singles, classes: number of ``?`` and ``[…]``, and of ``[…]`` alone.
    """

    is_literal: bool
    lead: int
    literals: int
    across: int
    within: int
    singles: int
    classes: int


class _Piece(NamedTuple):
    """A piece of a pattern: ``literal``, ``one``, ``class``, ``star``, ``across``, ``folders``."""

    kind: str
    text: str = ""


_WILD = {"one": "[^/]", "across": ".*", "folders": "(?:[^/]+/)*"}


@dataclass(frozen=True)
class PathPattern:
    """A cleaned pattern.

    Attributes:
        text: as :func:`clean` gives it.
        named: offsets in ``text`` of the brackets that are known to mean themselves. Where none is
            known, a path matches that fits either meaning.
        is_name: the whole text is the path of a file.
    """

    text: str
    named: frozenset[int] = frozenset()
    is_name: bool = False

    def matches(self, path: str) -> bool:
        """Whether a path, normalized, is meant."""
        return any(one.fits(path) for one in self.meanings)

    def fits(self, path: str) -> bool:
        """As :meth:`matches`, of this meaning alone."""
        if self.literal is not None:
            return path == self.literal
        if self._longest not in path:
            return False
        if self._split is None:
            return self._expression.fullmatch(path) is not None
        head, tail = self._split
        end = len(path) - len(tail)
        inside = path.startswith(head) and path.endswith(tail) and end >= len(head)
        return inside and "/" not in path[len(head) : end]

    @cached_property
    def meanings(self) -> tuple[PathPattern, ...]:
        """This one, and the one of the same text whose brackets all mean themselves."""
        if self.is_name or self.named or not self.brackets:
            return (self,)
        return (self, PathPattern(self.text, frozenset(self.brackets)))

    @cached_property
    def literal(self) -> str | None:
        """The only path that it matches; None where it has a wildcard."""
        if all(part.kind == "literal" for part in self._parts):
            return "".join(part.text for part in self._parts)
        return None

    @cached_property
    def literals(self) -> tuple[str, ...]:
        """Texts of which each path that it matches contains every one."""
        return tuple(part.text for part in self._parts if part.kind == "literal")

    @cached_property
    def folder(self) -> str:
        """The folder, with its last slash, in which all that it matches lies; empty: the root."""
        return self._lead[: self._lead.rfind("/") + 1]

    @cached_property
    def specificity(self) -> Specificity:
        """By this the patterns that match one path are ordered."""
        kinds = [part.kind for part in self._parts]
        return Specificity(
            is_literal=self.literal is not None,
            lead=len(self._lead),
            literals=sum(map(len, self.literals)),
            across=-kinds.count("across") - kinds.count("folders"),
            within=-kinds.count("star"),
            singles=kinds.count("one") + kinds.count("class"),
            classes=kinds.count("class"),
        )

    @cached_property
    def brackets(self) -> tuple[int, ...]:
        """Offsets of the brackets that open a class, were none of them known to mean itself."""
        return tuple(offset for offset, _ in _classes(self.text))

    @cached_property
    def _parts(self) -> tuple[_Piece, ...]:
        if self.is_name or not any(sign in self.text for sign in "*?["):
            return (_Piece("literal", self.text),)
        return tuple(_joined(_parts(self.text, self.named)))

    @cached_property
    def _lead(self) -> str:
        first = self._parts[0]
        return first.text if first.kind == "literal" else ""

    @cached_property
    def _longest(self) -> str:
        """The longest text that must be in each path; looked for first, since it is fast."""
        return max(self.literals, key=len, default="")

    @cached_property
    def _split(self) -> tuple[str, str] | None:
        """What stands before and after its only wildcard, if that is one ``*``."""
        wild = [number for number, part in enumerate(self._parts) if part.kind != "literal"]
        if len(wild) != 1 or self._parts[wild[0]].kind != "star":
            return None
        before, after = self._parts[: wild[0]], self._parts[wild[0] + 1 :]
        return "".join(part.text for part in before), "".join(part.text for part in after)

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile(_expression(self._parts), re.DOTALL)


@lru_cache(maxsize=4096)
def is_literal(pattern: str) -> bool:
    """Whether a cleaned pattern has no wildcard, so that it can match one path only."""
    return PathPattern(pattern).literal is not None


def _parts(text: str, named: frozenset[int]) -> Iterator[_Piece]:
    at, classes = 0, {offset: made for offset, made in _classes(text) if offset not in named}
    while at < len(text):
        starts_name = at == 0 or text[at - 1] == "/"
        if text.startswith("**/", at) and starts_name:
            yield _Piece("folders")
            at += 3
        elif text[at] == "*":
            stars = len(text) - at - len(text[at:].lstrip("*"))
            yield _Piece("across" if stars > 1 else "star")
            at += stars
        elif text[at] == "?":
            yield _Piece("one")
            at += 1
        elif at in classes:
            part, at = classes[at]
            yield part
        else:
            yield _Piece("literal", text[at])
            at += 1


def _classes(text: str) -> Iterator[tuple[int, tuple[_Piece, int]]]:
    """The classes of a pattern: where each begins, what it is, and where it is over."""
    at = text.find("[")
    while at >= 0:
        # As in the shell: a ']' right after the bracket (or its '!') belongs to the class.
        start = at + 1 + text.startswith("!", at + 1)
        end = text.find("]", start + 1)
        if end < 0:
            return
        made = None if "/" in text[start:end] else _class(text[start:end], start == at + 2)
        if made is not None:
            yield at, (made, end + 1)
        at = text.find("[", at + 1 if made is None else end + 1)


def _class(inside: str, negated: bool) -> _Piece | None:
    if len(inside) == 1 and not negated:
        return _Piece("literal", inside)
    escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside)
    made = f"[{'^/' if negated else ''}{escaped}]"
    try:
        re.compile(made)
    except re.error:
        return None
    return _Piece("class", made)


def _joined(parts: Iterator[_Piece]) -> Iterator[_Piece]:
    """The parts, with literal ones that follow each other made one."""
    text = ""
    for part in parts:
        if part.kind == "literal":
            text += part.text
            continue
        if text:
            yield _Piece("literal", text)
        yield part
        text = ""
    if text:
        yield _Piece("literal", text)


def _expression(parts: tuple[_Piece, ...]) -> str:
    """A regular expression that never goes back further than over the last wildcard of a kind.

    The first place where the text between two wildcards fits is always right: what follows a
    wildcard can only lose by a later one. So the expression takes each in an atomic group, and a
    pattern of a thousand stars needs no more than quadratic time.
    """
    bounds = [n for n, part in enumerate(parts) if part.kind in ("across", "folders")]
    out = _chain(parts[: bounds[0]] if bounds else parts, is_last=not bounds)
    for number, bound in enumerate(bounds):
        is_last = number + 1 == len(bounds)
        chain = _chain(parts[bound + 1 : None if is_last else bounds[number + 1]], is_last)
        wild = _WILD[parts[bound].kind]
        out += f"{wild}{chain}" if is_last else f"(?>{wild}?{chain})"
    return out


def _chain(parts: tuple[_Piece, ...], is_last: bool) -> str:
    """What stands between two wildcards that match across folders."""
    pieces = [""]
    for part in parts:
        if part.kind == "star":
            pieces.append("")
        elif part.kind == "literal":
            pieces[-1] += re.escape(part.text)
        else:
            pieces[-1] += part.text or _WILD[part.kind]
    out = pieces[0]
    for number, piece in enumerate(pieces[1:], 1):
        ends = is_last and number == len(pieces) - 1
        out += f"[^/]*{piece}" if ends else f"(?>[^/]*?{piece})"
    return out


class NamesOnDisk:
    """The names in a library's folders; each is listed once, when it is first asked for."""

    def __init__(self, library: LibraryFiles) -> None:
        self._library = library
        self._read: dict[str, tuple[dict[str, str], frozenset[str]]] = {}

    def meaning_of(self, text: str) -> PathPattern:
        """What a cleaned pattern means here.

        Brackets that are, as written, part of the name of a file or a folder of the library mean
        themselves and open no class; so does a whole pattern without ``*`` that is a file's path.
        """
        pattern = PathPattern(text)
        if "[" not in text and "?" not in text:
            return pattern
        if "*" not in text and pattern.literal is None and self._is_file(text):
            return PathPattern(text, is_name=True)
        if not pattern.brackets or re.search(r"[^/]\*\*|\*\*[^/]", text):
            return pattern
        named: set[int] = set()
        folders, start = {""}, 0
        names = text.split("/")
        for number, name in enumerate(names):
            if name == "**":
                folders = {below for folder in folders for below in self._below(folder)}
            else:
                inside = [at - start for at in pattern.brackets if start <= at < start + len(name)]
                found, literal = self._fitting(folders, name, inside, number + 1 < len(names))
                named.update(start + at for at in literal)
                folders = found
            start += len(name) + 1
        return PathPattern(text, frozenset(named))

    def _fitting(
        self, folders: set[str], name: str, brackets: list[int], is_folder: bool
    ) -> tuple[set[str], tuple[int, ...]]:
        """The entries of folders that a name means, and which of its brackets mean themselves."""
        for literal in _meanings(brackets):
            meant = PathPattern(name, frozenset(literal))
            found = {
                f"{folder}{real}" + ("/" if is_folder else "")
                for folder in folders
                for entry, real in self._entries(folder, meant, is_folder)
                if meant.matches(entry)
            }
            if found:
                return found, literal
        return set(), ()

    def _entries(
        self, folder: str, meant: PathPattern, is_folder: bool
    ) -> Iterator[tuple[str, str]]:
        names, below = self._listing(folder)
        if meant.literal is not None:
            real = names.get(meant.literal)
            names = {} if real is None else {meant.literal: real}
        return ((one, real) for one, real in names.items() if not is_folder or real in below)

    def _below(self, folder: str) -> Iterator[str]:
        """A folder and all that lie in it."""
        waiting = [folder]
        while waiting:
            one = waiting.pop()
            yield one
            waiting += [f"{one}{name}/" for name in self._listing(one)[1]]

    def _is_file(self, path: str) -> bool:
        *folders, name = path.split("/")
        folder = ""
        for part in folders:
            names, below = self._listing(folder)
            if names.get(part) not in below:
                return False
            folder += f"{names[part]}/"
        names, below = self._listing(folder)
        return name in names and names[name] not in below

    def _listing(self, folder: str) -> tuple[dict[str, str], frozenset[str]]:
        """Names by their normalized form, and which of them are folders; no hidden ones."""
        if folder not in self._read:
            names: dict[str, str] = {}
            below: set[str] = set()
            try:
                for name, is_folder in self._library.listing(folder.removesuffix("/")):
                    if name.startswith("."):
                        continue
                    names[normalized(name)] = name
                    if is_folder:
                        below.add(name)
            except OSError:
                names, below = {}, set()  # the scan of the library says so
            self._read[folder] = names, frozenset(below)
        return self._read[folder]


def _meanings(brackets: list[int]) -> Iterator[tuple[int, ...]]:
    """Which brackets mean themselves: all first, then fewer, those further left first."""
    counts = range(len(brackets), -1, -1)
    if len(brackets) > _MOST_BRACKETS:
        counts = range(len(brackets), -1, -len(brackets))
    for count in counts:
        yield from combinations(brackets, count)
