"""A process that opens a database as soon as it is told to."""

from __future__ import annotations

import sys

from rag_audio.storage.database import connect
from rag_audio.storage.migrations import migrate


def main() -> None:
    engine = connect(sys.argv[1])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    migrate(engine)


if __name__ == "__main__":
    main()
