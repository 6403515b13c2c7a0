"""What a serving process does beside answering: it tidies, and writes down what was counted."""

from __future__ import annotations

import threading
import time

import structlog

from rag_audio.api.audit import WINDOW_S, AuditLog
from rag_audio.errors import BackendError, RagAudioError
from rag_audio.service.tidying import Tidying

TIDY_S = 600.0
OUTPUTS_S = 6 * 3600.0
"""The folders of all jobs are looked through this often."""

log = structlog.get_logger("rag_audio.api")


class Upkeep:
    """Works in threads of its own.

    Args:
        stop: set it to end.
    """

    def __init__(self, tidying: Tidying, audit: AuditLog, stop: threading.Event) -> None:
        self._tidying, self._audit, self._stop = tidying, audit, stop

    def tidy(self) -> None:
        """Remove what nobody needs any more, at once and then now and then."""
        outputs_at = 0.0
        while not self._stop.is_set():
            try:
                self._tidying.tidy()
                if time.monotonic() >= outputs_at:
                    self._tidying.tidy_outputs()
                    outputs_at = time.monotonic() + OUTPUTS_S
            except (RagAudioError, OSError) as error:
                log.warning("tidying failed; it is tried again", error=str(error))
            self._stop.wait(TIDY_S)

    def count(self) -> None:
        """Write down what the audit log only counted, after every window."""
        while not self._stop.wait(WINDOW_S / 4):
            self.flush(at_once=False)

    def flush(self, at_once: bool) -> None:
        """Write it down now, or if the window is over."""
        try:
            self._audit.flush(at_once)
        except BackendError as error:
            log.error("the audit log cannot be written", error=error.message)
