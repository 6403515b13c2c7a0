"""Writes the making and the end of an API key into the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from rag_audio.provenance.key_log import ACCESS, key_event
from rag_audio.provenance.ledger import append_event_in


def log_key(db: Connection, row: Mapping[str, Any]) -> None:
    """Log a key's row as it stands now, in the transaction that wrote it.

    Raises:
        LedgerError: the row holds something that JSON has no word for.
    """
    append_event_in(db, ACCESS, key_event(row))
