"""Fingerprints and their inverted index, held against the records of the log.

A record names the hash of its output's fingerprint, so each row of ``fingerprints`` is recomputed.
The inverted index ``fingerprint_postings`` must hold each output's different landmarks and nothing
else. It is read once, in the order of its key, and summed up per output: every verification draws
a random 64-bit number for each of the 2^19 hashes that landmarks have, and an output's sum, modulo
2^64, must be that of its row. Sums do not depend on the order; two different sets of hashes have
the same sum with a probability of 2^-64, whoever chose them, since the numbers are drawn after.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select, text

from rag_audio.ports import Fault
from rag_audio.provenance.fingerprint import HASHES, Fingerprint, Numbers
from rag_audio.provenance.fingerprint_store import prints
from rag_audio.provenance.logged import Logged
from rag_audio.provenance.tables import entries, is_output, raw_bytes

_ROWS_AT_ONCE = 100_000
_NAMED = 20
"""Of so many outputs faults in the index are told one by one."""
_SLACK_S = 0.1
"""A record that does not name the sound's duration has that of its plan."""
_READ = "SELECT hash, output FROM fingerprint_postings"
_IN_ORDER = f"ORDER BY hash, output LIMIT {_ROWS_AT_ONCE}"
_FIRST = text(f"{_READ} {_IN_ORDER}")
_NEXT = text(f"{_READ} WHERE (hash, output) > (:hash, :output) {_IN_ORDER}")


class FingerprintAudit:
    """A :class:`rag_audio.provenance.logged.SideAudit` of both tables."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        stored = db.execute(select(prints.c.output).order_by(prints.c.output)).scalars()
        self._outputs = np.fromiter((n for n in stored if _is_int(n)), dtype=np.int64)
        self._seqs = np.zeros(self._outputs.size, dtype=np.int64)
        """Entry of each output; 0: its rows cannot be judged, and that was told already."""
        draw = np.random.default_rng(secrets.randbits(128))
        self._numbers = draw.integers(0, 2**64, HASHES, dtype=np.uint64)
        self._sums = np.zeros(self._outputs.size, dtype=np.uint64)
        self._counts = np.zeros(self._outputs.size, dtype=np.int64)

    def of(self, outputs: Sequence[Logged]) -> Iterator[Fault]:
        """What is wrong with the rows of ``fingerprints`` of these outputs."""
        wanted = select(prints).where(prints.c.output.in_([one.output for one in outputs]))
        rows = {row["output"]: row for row in self._db.execute(wanted).mappings()}
        for one in outputs:
            said, row = one.part("checks").get("fingerprint"), rows.get(one.output)
            if not isinstance(said, Mapping):
                if row is not None:
                    yield _fault(one, "is kept, and its record names none")
            elif row is None:
                yield _fault(one, "is missing")
            else:
                yield from self._row_faults(one, said, row)

    def rest(self) -> Iterator[Fault]:
        """Rows of outputs that the log does not know, and what is wrong with the index."""
        logged = select(entries.c.seq).where(is_output, entries.c.output == prints.c.output)
        strays = select(prints.c.output).where(~logged.exists())
        for output in self._db.execute(strays).scalars():
            yield Fault(
                0,
                f"the fingerprint of output {output} is stored, but that output is not in the log",
            )
        odd, unknown = self._take_off_postings()
        if odd:
            yield Fault(0, f"{odd} rows of the index of fingerprints are of no landmark")
        has_rows = "the index of fingerprints has rows of"
        for output in sorted(unknown)[:_NAMED]:
            yield Fault(0, f"{has_rows} output {output}, which has none")
        if len(unknown) > _NAMED:
            yield Fault(0, f"{has_rows} {len(unknown)} outputs that have none")
        wrong = (self._sums != 0) | (self._counts != 0)
        for at in np.flatnonzero((self._seqs > 0) & wrong):
            what = "the index of fingerprints does not hold the landmarks of output"
            yield Fault(int(self._seqs[at]), f"{what} {self._outputs[at]}")

    def _take_off_postings(self) -> tuple[int, set[int]]:
        """Subtract the index from the sums: what is left of an output is wrong.

        Returns:
            How many rows do not hold a landmark's hash and a number, and the numbers of outputs
            that have no fingerprint.
        """
        odd, unknown = 0, set[int]()
        for hashes, outputs, others in self._postings():
            odd += others
            at = np.searchsorted(self._outputs, outputs)
            known = np.zeros(outputs.size, dtype=bool)
            inside = at < self._outputs.size
            known[inside] = self._outputs[at[inside]] == outputs[inside]
            if not known.all():
                unknown.update(np.unique(outputs[~known]).tolist())
                at, hashes = at[known], hashes[known]
            np.subtract.at(self._sums, at, self._numbers[hashes])
            np.subtract.at(self._counts, at, 1)
        return odd, unknown

    def _row_faults(
        self, one: Logged, said: Mapping[str, Any], row: Mapping[Any, Any]
    ) -> Iterator[Fault]:
        found = _unpack(row, said.get("landmarks"))
        if found is None:
            yield _fault(one, "is damaged: its landmarks cannot be read")
            return
        if found.sha256 != said.get("sha256"):
            yield _fault(one, "is not the one that its record names")
        if row["sha256"] != found.sha256:
            yield _fault(one, "has a hash that is not that of its landmarks")
        if not _fits(row["duration_s"], said, one.part("plan")):
            yield _fault(
                one,
                f"says that the sound lasts {row['duration_s']!r} s, and the record another time",
            )
        hashes = np.unique(found.hashes)
        if hashes.size and not 0 <= hashes[0] <= hashes[-1] < HASHES:
            yield _fault(one, f"has landmarks outside of 0…{HASHES - 1}")
            return
        at = int(np.searchsorted(self._outputs, one.output))
        self._seqs[at] = one.seq
        self._sums[at] = self._numbers[hashes].sum(dtype=np.uint64)
        self._counts[at] = hashes.size

    def _postings(self) -> Iterator[tuple[Numbers, Numbers, int]]:
        """The index in pieces: hashes, outputs, and how many rows hold something else."""
        rows = self._db.execute(_FIRST).all()
        while rows:
            hashes, outputs = _columns(rows)
            right = (hashes >= 0) & (hashes < HASHES)
            yield hashes[right], outputs[right], len(rows) - int(right.sum())
            last = {"hash": rows[-1][0], "output": rows[-1][1]}
            rows = self._db.execute(_NEXT, last).all() if len(rows) == _ROWS_AT_ONCE else []


def _columns(rows: Sequence[tuple[Any, ...]]) -> NDArray[np.int64]:
    """``[2, N]`` of rows; those that do not hold two numbers are left out."""
    if set(map(type, chain.from_iterable(rows))) != {int}:
        rows = [row for row in rows if all(map(_is_int, row))]
    flat = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=2 * len(rows))
    return flat.reshape(-1, 2).T


def _unpack(row: Mapping[Any, Any], landmarks: object) -> Fingerprint | None:
    """The fingerprint of a row; None where its bytes are not those of so many landmarks."""
    if not isinstance(landmarks, int) or landmarks < 0:
        return None
    stream, size = zlib.decompressobj(), 8 * landmarks
    try:
        values = stream.decompress(raw_bytes(row["landmarks"]), size + 1)
    except zlib.error:
        return None
    if len(values) != size or not stream.eof or stream.unused_data:
        return None
    hashes, times = np.frombuffer(values, dtype="<i4").astype(np.int64).reshape(2, -1)
    return Fingerprint(hashes, times, 0.0)


def _fits(duration_s: object, said: Mapping[str, Any], plan: Mapping[str, Any]) -> bool:
    """Whether a row's duration is that of the record."""
    if not isinstance(duration_s, float):
        return False
    if "duration_s" in said:
        return bool(duration_s == said["duration_s"])
    planned = plan.get("duration_s")
    return not isinstance(planned, (int, float)) or abs(duration_s - planned) <= _SLACK_S


def _fault(one: Logged, what: str) -> Fault:
    return Fault(one.seq, f"the fingerprint of output {one.output} {what}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
