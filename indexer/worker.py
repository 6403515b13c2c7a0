"""A decoding process: reads jobs from its standard input, writes outcomes to its standard output.

It is started by :mod:`indexer.decoders` and is on purpose allowed to die: whatever a decoder does
with a hostile file, the parent sees a closed pipe, reports the file and starts another worker.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys

from indexer.measure import measure


def main() -> None:
    """Work until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = sys.stdin.buffer
    # What libraries print must not land between the outcomes.
    with os.fdopen(os.dup(1), "wb") as replies:
        os.dup2(2, 1)
        render = pickle.load(requests)  # noqa: S301 (our parent wrote it)
        while True:
            try:
                job = pickle.load(requests)  # noqa: S301 (our parent wrote it)
            except EOFError:
                return
            pickle.dump(measure(job, render), replies, protocol=5)
            replies.flush()


if __name__ == "__main__":
    main()
