"""Every error a user of rag-audio can meet.

The tree::

    RagAudioError                 exit code 1
    ├── InvalidInput              2   a value the caller gave is wrong
    ├── ConfigError               2   settings or installation
    │   └── MissingExtra          2   an optional package is not installed
    ├── RequestRefused            3   guardrails or rights say no
    ├── OutputRefused             3   the finished audio may not be delivered
    ├── LibraryError              2   a licensed library cannot be read
    │   ├── LicenseMissing        2
    │   └── UnreadableFile        2
    ├── BackendError              4   a model, an index or a database failed
    │   ├── BackendUnavailable    4   ... cannot be reached, loaded or locked
    │   └── IndexMismatch         4   vectors of two embedding spaces would meet
    ├── LedgerError               1
    │   └── LedgerTampered        1
    └── Cancelled                 130 the caller asked to stop

No error is an enforced tempo or key that was not met: the file is delivered and marked, and the
command ends with :data:`UNMET_EXIT`.

Third-party errors are translated once, where the third party is called, with the cause chained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

UNMET_EXIT = 5
"""Exit code of a command that delivered something which does not keep to what was enforced."""


class RagAudioError(Exception):
    """Base of all errors raised on purpose: one line that says what, and one that says what to do.

    Args:
        message: what happened, quoting the offending value.
        hint: what would help; empty when the message says it all.
        public: of a fault of the service, what those may read who ask over the network; empty:
            words of its family. Addresses, users, paths and drivers' texts are the operator's.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "", public: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.public = public


class InvalidInput(RagAudioError):
    """A value the caller gave cannot be used."""

    exit_code = 2


class ConfigError(RagAudioError):
    """A setting or the installation is wrong."""

    exit_code = 2


class MissingExtra(ConfigError):
    """An optional package is needed; the hint is the pip line that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed", hint=f"pip install 'rag-audio[{extra}]'")
        self.package = package
        self.extra = extra


@dataclass(frozen=True)
class Match:
    """Where in a text a rule spoke: ``text[start:end]``, the rule's name and what it recognised."""

    start: int
    end: int
    text: str
    rule: str
    name: str


_REFUSED = "refused: "


class RequestRefused(RagAudioError):
    """Guardrails or rights do not allow the request.

    Args:
        message: the summary, one line.
        reasons: each reason on its own, once; the word that it is refused is the message's.
        matches: the spans of the prompt that led to it, if any.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        hint: str = "",
        reasons: Sequence[str] = (),
        matches: Sequence[Match] = (),
    ) -> None:
        super().__init__(message, hint)
        told = (reason.removeprefix(_REFUSED) for reason in reasons or (message,))
        self.reasons = tuple(dict.fromkeys(told))
        self.matches = tuple(matches)


class OutputRefused(RagAudioError):
    """The audio was made, and may not be delivered."""

    exit_code = 3


class LibraryError(RagAudioError):
    """A licensed library, its ``library.toml`` or its ``stems.csv`` is wrong."""

    exit_code = 2


class LicenseMissing(LibraryError):
    """No valid license covers the item."""


class UnreadableFile(LibraryError):
    """A file cannot be read as what it claims to be."""


class BackendError(RagAudioError):
    """A model, an index or a database failed."""

    exit_code = 4


class BackendUnavailable(BackendError):
    """A backend cannot be reached, loaded or locked."""


class IndexMismatch(BackendError):
    """The index was made by another embedder than the one that asks."""


class LedgerError(RagAudioError):
    """The ledger cannot be written or read."""


class LedgerTampered(LedgerError):
    """The ledger's content does not match its hashes."""


class Cancelled(RagAudioError):
    """The caller asked to stop; nothing was written."""

    exit_code = 130
