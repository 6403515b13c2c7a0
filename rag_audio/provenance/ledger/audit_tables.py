"""Checking the tables beside the log: each row is compared with what the log says."""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, column, select, table, text

from rag_audio.domain.json_documents import finite, source_json
from rag_audio.domain.record import Fault
from rag_audio.errors import LedgerError
from rag_audio.provenance.ledger import audit_rights
from rag_audio.provenance.ledger.audit_pages import (
    LoggedOutput,
    OutputsCheck,
    PagedCheck,
    checked,
    find_logged,
    logged_outputs,
    page_after,
)
from rag_audio.provenance.ledger.commitments import OWNER_AT, unseal, without_texts
from rag_audio.provenance.ledger.key_register import key_faults, register_faults
from rag_audio.provenance.ledger.tables import entries, is_output, raw_bytes
from rag_audio.provenance.ledger.tables import outputs as listed_outputs
from rag_audio.provenance.trace.fingerprint import HASHES, Fingerprint, Numbers
from rag_audio.provenance.trace.fingerprint_store import (
    SAMPLED,
    hash_counts,
    posting_columns,
    prints,
    to_index,
)
from rag_audio.provenance.trace.output_landmarks import GRID

# The owners of outputs, and what finished jobs say of outputs.
#
# The record of an output commits to its owner (:mod:`.commitments`), or says that it has none.
# Records from before that say nothing; for those the job that made them is asked, where it is
# still there.

_OWNERS = table("output_owners", column("output"), column("owner"))
_JOBS = table("jobs", *map(column, ("id", "seq", "owner", "result")))
_OF_PLAN = (
    *("prompt", "enriched_prompt", "negative_prompt", "strength", "steps", "guidance"),
    *("bpm", "duration_s", "notes"),
)
"""What the result of a job has of its plan, under the same name."""


class OwnerCheck(OutputsCheck):
    """Owners of outputs that are not those of their records."""

    def _faults(self, db: Connection, outputs: list[LoggedOutput]) -> Iterator[Fault]:
        owners = _owners(db, [one.output for one in outputs])
        listed = _listed_owners(db, outputs[0].seq, outputs[-1].seq) if outputs else {}
        for one in outputs:
            what = _owner_fault(one, owners)
            if not what and one.seq in listed and listed[one.seq] != owners.get(one.output):
                what = "is not the one that the table of outputs has"
            if what:
                yield _fault(one, what)


def unlogged_owner_faults(db: Connection) -> Iterator[Fault]:
    """Owners of outputs that are not logged."""
    yield from _not_logged(db, _OWNERS.c.output, "owner")


def _owner_fault(one: LoggedOutput, owners: Mapping[int, Any]) -> str:
    """What is wrong with the owner of an output; empty: nothing."""
    if "owner" not in one.document:
        return ""
    committed = OWNER_AT in one.part("commitments")
    if committed and one.output not in owners:
        return "is missing"
    if not committed and one.output in owners:
        return "is there, and its record says that it has none"
    if committed and one.texts.get(OWNER_AT, owners[one.output]) != owners[one.output]:
        return "is not the one that its record commits to"
    return ""


class JobCheck(PagedCheck):
    """Finished jobs that contradict the log, and owners of outputs who are not those of the job."""

    def _page(self, db: Connection) -> Generator[Fault, None, int | None]:
        finished = select(_JOBS).where(_JOBS.c.result.is_not(None))
        jobs = page_after(db, finished, _JOBS.c.seq, self.after)
        results = [(job, _result(job.result)) for job in jobs]
        made = [(job, result, take) for job, result in results if result for take in _takes(result)]
        numbers = [take["output"] for _, _, take in made]
        logged, owners = find_logged(db, numbers), _owners(db, numbers)
        for job, result in results:
            if result is None:
                yield Fault(0, f"the result of the job {job.id} cannot be read")
        for job, result, take in made:
            one = logged.get(take["output"])
            if one is None:
                what = f"the job {job.id} made output {take['output']}, which is not in the log"
                yield Fault(0, what)
                continue
            if owners.get(one.output) != job.owner:
                yield _fault(one, f"is not the one that its job {job.id} was done for")
            for name in _differences(one, result, take):
                yield Fault(one.seq, f"the job {job.id} has another {name} of output {one.output}")
        return jobs[-1].seq if jobs else None


def _not_logged(db: Connection, column: ColumnElement[Any], what: str) -> Iterator[Fault]:
    """Rows of a table about outputs that the log does not know."""
    logged = select(entries.c.seq).where(is_output, entries.c.output == column)
    for output in db.execute(select(column).where(~logged.exists())).scalars():
        yield Fault(
            0, f"the {what} of output {output} is stored, but that output is not in the log"
        )


def _owners(db: Connection, outputs: Sequence[int]) -> dict[int, Any]:
    rows = db.execute(select(_OWNERS).where(_OWNERS.c.output.in_(outputs)))
    return {row.output: row.owner for row in rows}


def _listed_owners(db: Connection, first: int, last: int) -> dict[int, Any]:
    """What the table of outputs says of entries."""
    wanted = select(listed_outputs.c.seq, listed_outputs.c.owner)
    rows = db.execute(wanted.where(listed_outputs.c.seq.between(first, last)))
    return {row.seq: row.owner for row in rows}


def _result(text: object) -> Mapping[str, Any] | None:
    """The result of a job; None where it is not a JSON object with outputs that have numbers."""
    try:
        found = json.loads(str(text))
        return found if all(isinstance(one["output"], int) for one in _takes(found)) else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _takes(result: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = result.get("outputs", ())
    return found


def _differences(
    one: LoggedOutput, result: Mapping[str, Any], take: Mapping[str, Any]
) -> Iterator[str]:
    """What a job says otherwise than the record of its output: the service answers with it.

    Args:
        result: of the job; it holds the plan and the sources of its first take. take: what it says
            of this output. Names that an older version did not write are not compared.
    """
    for name in ("pcm_sha256", "files"):
        if name in take and take[name] != one.document.get(name):
            yield name
    if take is not _takes(result)[0]:
        return
    for name in ("model", "model_id", "untrained"):
        if name in result and result[name] != one.document.get(name):
            yield name
    texts: dict[str, str] = {}
    plan = without_texts(result.get("plan"), "/plan", texts)
    if plan is not None and (plan != one.document.get("plan") or _other_texts(texts, one)):
        yield "plan"
    for name in _OF_PLAN:
        if plan is not None and name in result and result[name] != result["plan"].get(name):
            yield name
    if "references" in result and not _same_sources(result["references"], one):
        yield "list of sources"


def _other_texts(texts: Mapping[str, str], one: LoggedOutput) -> bool:
    """Whether a text of the plan is another one than the record's; erased ones are not known."""
    return any(one.texts.get(at, text) != text for at, text in texts.items())


def _same_sources(named: Any, one: LoggedOutput) -> bool:
    try:
        record, _ = unseal(one.document, None)
        sources = [finite(source_json(source)) for source in record.sources]
        return not sources or (
            len(sources) == len(named)
            and all(
                source.get(name, value) == value
                for source, reference in zip(sources, named, strict=True)
                for name, value in reference.items()
            )
        )
    except (LedgerError, TypeError, AttributeError):
        return False


def _fault(one: LoggedOutput, what: str) -> Fault:
    return Fault(one.seq, f"the owner of output {one.output} {what}")


# Fingerprints and their inverted index, compared with the records of the log.
#
# A record names the hash of its output's fingerprint, so each row of ``fingerprints`` is
# recomputed. The inverted index ``output_postings`` must hold the landmarks that follow from each
# row, and nothing else; of outputs that wait in ``fingerprints_to_index``, nothing. It is read
# once, in the order of its key, and summed up per output: every verification draws random keys by
# which a row becomes a 64-bit number, and an output's sum, modulo 2^64, must be that of its
# landmarks. Sums do not depend on the order; since the keys are drawn after, two different sets of
# rows have the same sum with a probability of about 2^-64, whoever chose them.

_ROWS_AT_ONCE = 100_000
_NAMED = 20
"""Of so many outputs faults in the index are listed one by one."""
_SLACK_S = 0.1
"""A record that does not name the sound's duration has that of its plan."""
_READ = "SELECT hash, output, place FROM output_postings"
_IN_ORDER = f"ORDER BY hash, output, place LIMIT {_ROWS_AT_ONCE}"
_FIRST = text(f"{_READ} {_IN_ORDER}")
_NEXT = text(f"{_READ} WHERE (hash, output, place) > (:hash, :output, :place) {_IN_ORDER}")


class _FingerprintAudit:
    """Compares fingerprints, and their index, with the records of the log."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        stored = db.execute(select(prints.c.output).order_by(prints.c.output)).scalars()
        self._outputs = np.fromiter((n for n in stored if _is_int(n)), dtype=np.int64)
        self._seqs = np.zeros(self._outputs.size, dtype=np.int64)
        """Entry of each output; 0: its rows cannot be judged, and that was told already."""
        draw = np.random.default_rng(secrets.randbits(256))
        self._keys = draw.integers(0, 2**64, 3, dtype=np.uint64)
        self._waiting = set(db.execute(select(to_index.c.output)).scalars())
        self._common = np.zeros(GRID.hashes, dtype=np.int64)
        self._sums = np.zeros(self._outputs.size, dtype=np.uint64)
        self._counts = np.zeros(self._outputs.size, dtype=np.int64)

    def row_faults(self, outputs: Sequence[LoggedOutput]) -> Iterator[Fault]:
        """What is wrong with the rows of ``fingerprints`` of these outputs."""
        wanted = select(prints).where(prints.c.output.in_([one.output for one in outputs]))
        rows = {row["output"]: row for row in self._db.execute(wanted).mappings()}
        for one in outputs:
            said, row = one.part("checks").get("fingerprint"), rows.get(one.output)
            if not isinstance(said, Mapping):
                if row is not None:
                    yield _fingerprint_fault(one, "is kept, and its record names none")
            elif row is None:
                yield _fingerprint_fault(one, "is missing")
            else:
                yield from self._row_faults(one, said, row)

    def index_faults(self) -> Iterator[Fault]:
        """What is wrong with the index, after the rows of all outputs."""
        odd, unknown = self._take_off_postings()
        if odd:
            yield Fault(0, f"{odd} rows of the index of fingerprints are of no landmark")
        has_rows = "the index of fingerprints has rows of"
        for output in sorted(unknown)[:_NAMED]:
            yield Fault(0, f"{has_rows} output {output}, which has none")
        if len(unknown) > _NAMED:
            yield Fault(0, f"{has_rows} {len(unknown)} outputs that have none")
        miscounted = self._miscounted()
        if miscounted:
            yield Fault(0, f"{miscounted} counts of the index of fingerprints are not those of it")
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
        for hashes, outputs, places, others in self._postings():
            odd += others
            sampled = hashes[outputs % SAMPLED == 1]
            self._common += np.bincount(sampled, minlength=self._common.size)
            at = np.searchsorted(self._outputs, outputs)
            known = np.zeros(outputs.size, dtype=bool)
            inside = at < self._outputs.size
            known[inside] = self._outputs[at[inside]] == outputs[inside]
            if not known.all():
                unknown.update(np.unique(outputs[~known]).tolist())
                at, hashes, places = at[known], hashes[known], places[known]
            np.subtract.at(self._sums, at, self._numbers(hashes, places))
            np.subtract.at(self._counts, at, 1)
        return odd, unknown

    def _row_faults(
        self, one: LoggedOutput, said: Mapping[str, Any], row: Mapping[Any, Any]
    ) -> Iterator[Fault]:
        found = _unpack(row, said.get("landmarks"))
        if found is None:
            yield _fingerprint_fault(one, "is damaged: its landmarks cannot be read")
            return
        if found.sha256 != said.get("sha256"):
            yield _fingerprint_fault(one, "is not the one that its record names")
        if row["sha256"] != found.sha256:
            yield _fingerprint_fault(one, "has a hash that is not that of its landmarks")
        if not _fits(row["duration_s"], said, one.part("plan")):
            yield _fingerprint_fault(
                one,
                f"says that the sound lasts {row['duration_s']!r} s, and the record another time",
            )
        hashes = np.unique(found.hashes)
        if hashes.size and not 0 <= hashes[0] <= hashes[-1] < HASHES:
            yield _fingerprint_fault(one, f"has landmarks outside of 0…{HASHES - 1}")
            return
        at = int(np.searchsorted(self._outputs, one.output))
        self._seqs[at] = one.seq
        if one.output not in self._waiting:
            kept = Fingerprint(found.hashes, found.times_ms, row["duration_s"])
            there, _, places = posting_columns(one.output, kept)
            self._sums[at] = self._numbers(there, places).sum(dtype=np.uint64)
            self._counts[at] = there.size

    def _numbers(self, hashes: Numbers, places: Numbers) -> NDArray[np.uint64]:
        """``[N]``: a number for each row, by the keys of this verification."""
        first, second, third = self._keys
        mixed = hashes.astype(np.uint64) * (first | np.uint64(1)) ^ (
            places.astype(np.uint64) + second
        )
        # The finaliser of MurmurHash3 (A. Appleby, 2011) spreads every bit over all.
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(factor) ^ third
        return np.asarray(mixed ^ (mixed >> np.uint64(33)))

    def _miscounted(self) -> int:
        """How many counts of hashes are not those of the index."""
        rows = self._db.execute(select(hash_counts.c.hash, hash_counts.c.count)).all()
        wrong, counts = 0, self._common.copy()
        for hash_, count in rows:
            if not (_is_int(hash_) and _is_int(count) and 0 <= hash_ < counts.size):
                wrong += 1
            else:
                counts[hash_] -= count
        return wrong + int(np.count_nonzero(counts))

    def _postings(self) -> Iterator[tuple[Numbers, Numbers, Numbers, int]]:
        """The index in pieces: hashes, outputs, places, how many rows hold something else."""
        rows = self._db.execute(_FIRST).all()
        while rows:
            hashes, outputs, places = _columns(rows)
            right = (hashes >= 0) & (hashes < GRID.hashes)
            odd = len(rows) - int(right.sum())
            yield hashes[right], outputs[right], places[right], odd
            last = dict(zip(("hash", "output", "place"), rows[-1], strict=True))
            rows = self._db.execute(_NEXT, last).all() if len(rows) == _ROWS_AT_ONCE else []


def fingerprint_faults(db: Connection, after: int = 0) -> Iterator[Fault]:
    """Fingerprints that are not those of the records, and an index that is not theirs.

    Args:
        after: only rows of outputs that were logged after this entry, and not the index.
    """
    audit = _FingerprintAudit(db)
    for outputs in logged_outputs(db, after):
        yield from audit.row_faults(outputs)
    if not after:
        yield from _not_logged(db, prints.c.output, "fingerprint")
        yield from _not_logged(db, to_index.c.output, "request to index the fingerprint")
        yield from audit.index_faults()


def _columns(rows: Sequence[tuple[Any, ...]]) -> NDArray[np.int64]:
    """``[3, N]`` of rows; those that do not hold three numbers are left out."""
    if set(map(type, chain.from_iterable(rows))) != {int}:
        rows = [row for row in rows if all(map(_is_int, row))]
    flat = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=3 * len(rows))
    return flat.reshape(-1, 3).T


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


def _fingerprint_fault(one: LoggedOutput, what: str) -> Fault:
    return Fault(one.seq, f"the fingerprint of output {one.output} {what}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class Whole(PagedCheck):
    """A check that needs one transaction: it compares what changes together."""

    def __init__(self, check: Callable[[Connection], Iterator[Fault]]) -> None:
        super().__init__()
        self._check = check

    def _page(self, db: Connection) -> Generator[Fault, None, int | None]:
        yield from self._check(db)
        return None


@dataclass(frozen=True)
class TableCheck:
    """A check of tables beside the log.

    Attributes:
        tables: those that it reads. begin: the check, from an entry of the log on where it goes by
            entries.
    """

    name: str
    tables: frozenset[str]
    begin: Callable[[int], PagedCheck]


def _whole(name: str, tables: str, check: Callable[[Connection], Iterator[Fault]]) -> TableCheck:
    return TableCheck(name, frozenset(tables.split()), lambda _after: Whole(check))


def _fingerprints(after: int) -> PagedCheck:
    return Whole(partial(fingerprint_faults, after=after))


CHECKS: tuple[TableCheck, ...] = (
    TableCheck(
        "fingerprints",
        frozenset({"fingerprints", "output_postings", "output_hash_counts"})
        | {"fingerprints_to_index"},
        _fingerprints,
    ),
    TableCheck("owners", frozenset({"output_owners"}), OwnerCheck),
    _whole("unlogged owners", "output_owners", unlogged_owner_faults),
    TableCheck("jobs", frozenset({"output_owners", "jobs"}), lambda _after: JobCheck()),
    TableCheck("licenses", frozenset(), audit_rights.LicenseCheck),
    _whole("api keys", "api_keys", key_faults),
    _whole("libraries", "libraries licenses files withheld_files", audit_rights.library_faults),
    _whole("conflicts", "conflicts files withheld_files", audit_rights.conflict_faults),
    _whole(
        "stems",
        "stems stem_tags stem_groups catalogue_epoch files conflicts revocations",
        audit_rights.stem_faults,
    ),
    _whole("revocations", "revocations", audit_rights.revocation_faults),
    _whole("keys", "key_fingerprints", register_faults),
)


def table_faults(db: Connection, unreadable: Collection[str] = ()) -> Iterator[Fault]:
    """Rows beside the log that are not as it has them, that it lacks, or that are missing; and
    licenses in records that are not those that were sealed; found in one transaction.

    A check that meets a cell which cannot be read ends with a fault that says so, and the others go
    on.

    Args:
        unreadable: tables that are missing or lack columns: what reads them is left out.
    """
    for one in CHECKS:
        if one.tables.isdisjoint(unreadable):
            yield from checked(db, one.tables, one.begin(0).all_of(db))
