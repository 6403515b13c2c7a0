"""Path patterns of ``stems.csv``: ``*`` within a folder, ``**`` across folders, ``?``, ``[…]``."""

from __future__ import annotations

import re
import unicodedata


class BadPattern(ValueError):
    """The pattern could match nothing inside a library."""


def normalized(path: str) -> str:
    """A path as patterns see it: Unicode NFC, for file systems differ in how they store accents."""
    return unicodedata.normalize("NFC", path)


def clean(pattern: str) -> str:
    """The pattern as written in ``stems.csv``, made comparable with POSIX paths below the root.

    Raises:
        BadPattern: it is empty, absolute or leads out of the library.
    """
    text = normalized(pattern.strip()).replace("\\", "/")
    if not text:
        raise BadPattern("is empty")
    if text.startswith("/") or re.match(r"[A-Za-z]:", text):
        raise BadPattern("is absolute; paths are relative to the library's root")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadPattern("leads out of the library with '..'")
    if not parts:
        raise BadPattern("names the root itself; '**' means every file")
    return "/".join(parts) + ("/**" if text.endswith("/") else "")


def is_literal(pattern: str) -> bool:
    """Whether the pattern has no wildcard, so that it can match one path only."""
    return not any(sign in pattern for sign in "*?[")


def compiled(pattern: str) -> re.Pattern[str]:
    """A regular expression for a cleaned pattern; it must match the whole path."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out.append("(?:[^/]+/)*")
            at += 3
        elif pattern.startswith("**", at):
            out.append(".*")
            at += 2
        elif pattern[at] == "*":
            out.append("[^/]*")
            at += 1
        elif pattern[at] == "?":
            out.append("[^/]")
            at += 1
        else:
            text, at = _literal_or_class(pattern, at)
            out.append(text)
    return re.compile("".join(out), re.DOTALL)


def _literal_or_class(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at] == "[":
        # As in the shell: a ']' right after the bracket (or its '!') belongs to the class.
        start = at + 1 + pattern.startswith("!", at + 1)
        end = pattern.find("]", start + 1)
        if end > start and "/" not in pattern[start:end]:
            negated = "^/" if start == at + 2 else ""
            inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", pattern[start:end])
            if _compiles(f"[{negated}{inside}]"):
                return f"[{negated}{inside}]", end + 1
    return re.escape(pattern[at]), at + 1


def _compiles(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True
