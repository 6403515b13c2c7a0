"""Credit lines, and the tags that carry them in a delivered file."""

from __future__ import annotations

from collections.abc import Iterable

from rag_audio.domain.licensing import License

_LONGEST_TAG = 4000
_CUT = " …"
ARTIST = "rag-audio (AI)"
"""Who an output says that it is by; an edit of a file from elsewhere says what that file says."""


def credit_lines(licenses: Iterable[License]) -> tuple[str, ...]:
    """What must be printed with an output: each line once, in order of first use.

    A license without a line of its own gives the name of its holder.
    """
    lines = (license.credit or f"Contains material of {license.holder}" for license in licenses)
    return tuple(dict.fromkeys(_printable(line) for line in lines))


def made_with(output: int) -> str:
    """The line that every output carries."""
    return f"Made with AI by rag-audio, output {output}"


def file_tags(
    output: int, licenses: Iterable[License], marks: Iterable[str] = ()
) -> dict[str, str]:
    """Tags for :func:`.save`: ``comment`` has all lines, ``copyright`` the credits.

    Args:
        marks: what else must be known of the file, such as an enforced tempo that it has not.

    A text that is longer than players bear (4,000 characters) ends at a whole line with "…"; the
    ledger and the manifest hold all of it.
    """
    lines = credit_lines(licenses)
    tags = {"comment": _joined([made_with(output), *marks, *lines])}
    if lines:
        tags["copyright"] = _joined(lines)
    return tags


def _joined(lines: Iterable[str]) -> str:
    text = ""
    for line in lines:
        longer = f"{text}; {line}" if text else line
        if len(longer) > _LONGEST_TAG - len(_CUT):
            return (text or longer[: _LONGEST_TAG - len(_CUT)]) + _CUT
        text = longer
    return text


def _printable(line: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in line).split())
