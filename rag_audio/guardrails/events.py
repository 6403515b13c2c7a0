"""Every decision is a security event, and counted; a refused text is never written down.

Events go to the standard logger ``rag_audio.security`` as one JSON line each: a deployment
attaches its handler there, or names a file in ``RAG_AUDIO_SECURITY_LOG``, which is rotated by size
and readable by its owner alone.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import structlog

from rag_audio.appending import LineLog
from rag_audio.errors import ConfigError
from rag_audio.guardrails.policy import Decision

LOGGER = "rag_audio.security"

_log = structlog.wrap_logger(
    logging.getLogger(LOGGER),
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(),
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
)
_counts: Counter[tuple[str, str]] = Counter()


def note(decision: Decision, where: str) -> None:
    """Log and count a decision; ``where`` says what kind of text it was about."""
    rules = sorted({match.rule for match in decision.matches})
    for rule in rules or ["none"]:
        _counts[decision.action.value, rule] += 1
    _log.info(
        "guardrail.decision",
        action=decision.action.value,
        where=where,
        rules=rules,
        spans=[[m.start, m.end, m.rule] for m in decision.matches],
        characters=len(decision.prompt),
    )


def counts() -> dict[str, int]:
    """Decisions of this process by ``action/rule``."""
    return {f"{action}/{rule}": count for (action, rule), count in sorted(_counts.items())}


def log_to(path: Path, max_bytes: int = 100 << 20, files: int = 10) -> None:
    """Append events to a file, a line each; several processes may name the same one.

    Args:
        max_bytes, files: see :class:`rag_audio.appending.LineLog`.

    Raises:
        ConfigError: it cannot be written.
    """
    logger = logging.getLogger(LOGGER)
    path = path.absolute()
    if any(isinstance(h, _ToFile) and h.file.path == path for h in logger.handlers):
        return
    file = LineLog(path, max_bytes, files)
    try:
        file.check()
    except OSError as error:
        raise ConfigError(
            f"the security log {path} cannot be written: {error.strerror}",
            hint="RAG_AUDIO_SECURITY_LOG names a file in a folder that exists",
        ) from error
    handler = _ToFile(file)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


class _ToFile(logging.Handler):
    def __init__(self, file: LineLog) -> None:
        super().__init__()
        self.file = file

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.file.append(self.format(record))
        except OSError:
            self.handleError(record)
