"""Words in names of files: ``GuitarRiff02``, ``elec_hi_snare``, ``robot1``."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_CAMEL = re.compile(
    r"(?<=[^\W\d_A-Z]{2})(?<!Mac)(?=[A-Z])"  # guitarRiff, but McCartney
    r"|(?<=[A-Z])(?=[A-Z][^\W\d_A-Z]{2})"  # FXRiser
    r"|(?<=[^\W\d_]{3})(?=\d)"  # robot1, but em9 and tr808
    r"|(?<=\d)(?=[A-Z][^\W\d_A-Z])"  # 808Kick
)
_SEPARATORS = re.compile(r"[\s_\-.]+")


def split_words(text: str) -> str:
    """A text with spaces where words are run together: by a capital letter, or by digits."""
    return _CAMEL.sub(" ", text)


def words_of_name(path: str) -> str:
    """The words of a file's name, without its folders and suffix."""
    return " ".join(_SEPARATORS.split(split_words(PurePosixPath(path).stem))).strip()


def words_of_path(path: str) -> tuple[str, ...]:
    """The words of a path's folders and file name, in order, without suffix."""
    pure = PurePosixPath(path)
    return tuple(
        word
        for part in (*pure.parent.parts, pure.stem)
        for word in _SEPARATORS.split(split_words(part))
        if word
    )
