"""One of several processes that index a library together. Run by ``test_together.py``.

Arguments: library, home, URL of the database, and a JSON object: ``name``, ``together`` (names that
are waited for before work begins), ``after`` (files after which it does ``then``, the name of a
signal, to itself), ``pause_s`` after each file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import indexer.build
from indexer.build import index_library
from indexer.report import FileOutcome
from rag_audio.provenance.ledger.rights_log import SqlRightsLog
from rag_audio.storage.catalogue import SqlCatalogue
from rag_audio.storage.database import connect
from rag_audio.storage.index_shards import SqlShards
from rag_audio.storage.shared_index import SharedIndex
from tests.indexer.conftest import no_midi
from tests.indexer.library import use_quick_analysis
from tests.support.fakes import FakeEmbedder

LEASE_S = 2.0
WAIT_S = 600.0


@dataclass
class Told:
    """What the indexer tells; it lets processes begin at the same moment, and one end early."""

    home: Path
    said: dict[str, Any]
    index: SharedIndex
    files: int = 0

    def started(self, files: int, skipped: int) -> None:
        """Wait until all of them have come as far."""
        (self.home / f"{self.said['name']}.started").touch()
        end = time.monotonic() + WAIT_S
        for name in self.said.get("together", ()):
            while not (self.home / f"{name}.started").exists() and time.monotonic() < end:
                time.sleep(0.02)

    def advanced(self, path: str, outcome: FileOutcome) -> None:
        """Go slowly, and end where it was said."""
        self.files += 1
        time.sleep(self.said.get("pause_s", 0.0))
        if self.files == self.said.get("after"):
            self.index.release()  # one that sleeps with it would keep everybody else out
            os.kill(os.getpid(), signal.Signals[self.said["then"]])


def main() -> None:
    """Index, and print what came of it."""
    library, home, url = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    use_quick_analysis()
    indexer.build.BATCH_FILES, indexer.build.POLL_S = 3, 0.1
    SqlShards.lease_s = LEASE_S
    index = SharedIndex(home / "index", space="fake-1", dimension=16)
    told = Told(home, json.loads(sys.argv[4]), index)
    report = index_library(
        library,
        embedder=FakeEmbedder(),
        index=index,
        catalogue=SqlCatalogue(connect(url), SqlRightsLog()),
        render=no_midi,
        prune=True,
        workers=0,
        on=date(2026, 6, 1),
        progress=told,
        join=True,
    )
    index.close()
    sys.stdout.write(json.dumps(report.to_json()))


if __name__ == "__main__":
    main()
