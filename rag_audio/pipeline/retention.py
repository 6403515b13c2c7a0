"""How long unmarked masters are kept (``RAG_AUDIO_MASTERS_KEEP_DAYS``).

A master that is removed leaves an empty file of its name: a database that was put back from an
older copy would else give the number again, and two outputs would carry one mark.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from rag_audio.home import MASTERS, Home, output_of_master
from rag_audio.storage.blobs import BlobInfo, every

DAY_S = 86_400.0


@dataclass(frozen=True)
class KeptMasters:
    """The unmarked sounds of outputs.

    Attributes:
        kept: how many there are. size: their bytes.
        removed: of the outputs, those whose master is gone. old: of those that are kept, how many
            are older than the rule. in_use: of the old ones, those that jobs need.
    """

    kept: int = 0
    size: int = 0
    removed: int = 0
    old: int = 0
    in_use: int = 0


def masters_kept(
    home: Home,
    in_use: Collection[int] = (),
    *,
    remove: bool = False,
    stop_asked: Callable[[], bool] = lambda: False,
) -> KeptMasters:
    """Count the masters, and remove those that are older than the rule says.

    Args:
        in_use: outputs whose masters stay, however old.
        remove: apply the rule; without a rule nothing is removed.
        stop_asked: True ends it; the next call goes on.

    Raises:
        BackendUnavailable: the store of the files is away; some may be removed.
    """
    counts = dict.fromkeys(("kept", "size", "removed", "old", "in_use"), 0)
    for info in every(home.files, f"{MASTERS}/"):
        output = output_of_master(info.key)
        if output is None:
            continue
        if stop_asked():
            break
        old, used = _is_old(home, info), output in in_use
        if remove and old and not used:
            home.files.put(info.key, b"")
        if info.size == 0 or (remove and old and not used):
            counts["removed"] += 1
            continue
        counts["kept"] += 1
        counts["size"] += info.size
        counts["old"] += old
        counts["in_use"] += old and used
    return KeptMasters(**counts)


def _is_old(home: Home, master: BlobInfo) -> bool:
    days = home.settings.masters_keep_days
    return days is not None and master.size > 0 and master.modified < time.time() - days * DAY_S
