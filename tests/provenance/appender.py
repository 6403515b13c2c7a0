"""A process that appends outputs and says which were acknowledged; killed by a test.

``python -m tests.provenance.appender URL NAME COUNT``: prints one line per output that the ledger
has acknowledged, after it has.
"""

from __future__ import annotations

import sys

from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.storage.database import connect
from tests.provenance.builders import record, source


def main(url: str, name: str, count: int) -> None:
    """Append ``count`` outputs."""
    ledger = SqlLedger(connect(url))
    for i in range(count):
        number = ledger.next_output_id()
        entry = ledger.append(record(number, source(f"{name} {i}")))
        sys.stdout.write(f"{entry.seq} {number} {entry.leaf_hash}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
