"""The audit log: who did what, a JSON line each, in a file of its own. No prompts, no secrets."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_lock = threading.Lock()
_file: Path | None = None


def audit_to(file: Path | None) -> None:
    """Append to this file from now on; it is private to its owner. None: nowhere."""
    global _file
    _file = file


def audit(what: str, **said: Any) -> None:
    """Note that something happened.

    Args:
        said: ids, scopes, addresses; nothing that a person wrote.
    """
    if _file is None:
        return
    line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "what": what, **said}
    with _lock:
        handle = os.open(_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, (json.dumps(line, ensure_ascii=True) + "\n").encode())
        finally:
            os.close(handle)
