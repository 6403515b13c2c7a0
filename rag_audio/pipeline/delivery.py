"""From a finished take to a delivered file: mark, write, hash, log, and only then rename."""

from __future__ import annotations

import logging
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from rag_audio.audio import writing
from rag_audio.audio.reading import load
from rag_audio.domain import (
    AttributionRecord,
    Audio,
    ConditioningPlan,
    GenerationRequest,
    GenerationResult,
)
from rag_audio.domain.credits import credit_lines
from rag_audio.domain.plan import plan_from_json
from rag_audio.domain.ports import Mark, ModelInfo
from rag_audio.domain.signing import (
    ClaimedOutput,
    OpenedFile,
    Signature,
    Signer,
    put_in_place,
    sidecar_of,
)
from rag_audio.errors import (
    BackendError,
    BackendUnavailable,
    InvalidInput,
    LedgerError,
    OutputRefused,
)
from rag_audio.guardrails.embedding_similarity import likeness
from rag_audio.home import Home, master_key
from rag_audio.pipeline.file_metadata import (
    copied_metadata,
    edited_metadata,
    edited_subtype,
    output_metadata,
)
from rag_audio.pipeline.renderer import Take
from rag_audio.provenance.ledger.audit_rights import CLEARED
from rag_audio.provenance.ledger.records import FinishedOutput, MadeWith, make_record, signed
from rag_audio.provenance.trace.fingerprint import Fingerprint, make_fingerprint
from rag_audio.storage.blobs import BlobExists
from rag_audio.storage.files import file_sha256

if TYPE_CHECKING:
    from sqlalchemy import Connection

_log = logging.getLogger("rag_audio.files")
OnStage = Callable[[str, int, int], None]
"""Called with (stage, done, total); stages: retrieve, generate, write."""

Clear = Callable[[ConditioningPlan], tuple[ConditioningPlan, date]]
"""The plan with the licenses of now, and when they were read; raises RequestRefused."""


class OnCommit(Protocol):
    """What is to be written with the ledger's entries of finished outputs, or not at all."""

    @property
    def owner(self) -> str:
        """Id of the API key that the outputs are made for; empty: none was needed."""

    def prepare(self, results: Sequence[GenerationResult]) -> None:
        """Is given the outputs, whose files have their names, before the transaction begins."""

    def write(self, db: Connection) -> None:
        """Writes in the transaction that logs the outputs; an error undoes the entries too."""


@dataclass(frozen=True, eq=False)
class StagedOutput:
    """A finished output that the ledger does not know yet; its files are on the disk.

    Attributes:
        part: the file under its temporary name, in the folder of ``target``.
        master: key of the unmarked sound.
    """

    target: Path
    part: Path
    master: str
    sound: Audio
    plan: ConditioningPlan
    record: AttributionRecord
    signature: Signature
    fingerprint: Fingerprint

    def put_in_place(self) -> GenerationResult:
        """Give the files their names."""
        files = put_in_place(self.part, self.target, self.signature)
        return GenerationResult(self.sound, files, self.plan, self.record)


def deliver(
    home: Home,
    request: GenerationRequest,
    takes: Sequence[Take],
    clear: Clear,
    info: ModelInfo,
    out: Path,
    on_stage: OnStage,
    opened: OpenedFile | None = None,
    on_commit: OnCommit | None = None,
) -> tuple[GenerationResult, ...]:
    """Mark, sign, write and log the takes of a request: all of them, or none.

    Args:
        clear: checks the rights of each take's plan, directly before that take is staged.
        info: of the model that made them.
        out: the file; of several takes it gets ``-1``, ``-2``, … in its name.
        opened: the file that they are edits of.
        on_commit: as :func:`commit` takes it.
    """
    staged: list[StagedOutput] = []
    try:
        for i, take in enumerate(takes):
            on_stage("write", i, len(takes))
            target = out if len(takes) == 1 else out.with_name(f"{out.stem}-{i + 1}{out.suffix}")
            plan, cleared = clear(take.plan)
            now = replace(take, plan=plan)
            staged.append(stage(home, request, now, cleared, info, target, opened))
    except BaseException:
        for output in staged:
            _discard(home, output.part, output.master)
        raise
    results = commit(home, staged, on_commit)
    on_stage("write", len(takes), len(takes))
    return results


def stage(
    home: Home,
    request: GenerationRequest,
    take: Take,
    cleared: date,
    info: ModelInfo,
    target: Path,
    opened: OpenedFile | None = None,
) -> StagedOutput:
    """Mark, sign and write a take under a temporary name; :func:`commit` does the rest.

    What the model makes stays below full scale; an edit keeps the level of the edited sound, and
    is lowered, with a note in the plan, where its format cannot hold that. So does what the edited
    file had beside its sound; what is not carried over is a note too.

    Args:
        cleared: when the rights to the sources of the take's plan were last read, UTC.
        target: the file. Others as :func:`deliver`.
    """
    plan, checks = take.plan, {**take.checks(), CLEARED: cleared.isoformat()}
    subtype = request.subtype
    if opened is not None and subtype is None:
        subtype = edited_subtype(home.reader.subtype(opened.path), target)
    audio, excess = writing.fit(take.audio, target, subtype)
    if excess:
        note = (
            f"lowered by {excess.peak_db:.2f} dB, so that the file does not clip the {excess}; "
            "a .wav of floats (subtype 32f) keeps the level"
        )
        plan = replace(plan, notes=(*plan.notes, note))
    carried = None
    if opened is not None:
        beside = home.reader.metadata(opened.path)
        carried = edited_metadata(beside, plan, audio, target, subtype)
        if carried.lost:
            note = f"not carried over from the edited file: {', '.join(carried.lost)}"
            plan = replace(plan, notes=(*plan.notes, note))
    number = home.ledger.next_output_id()
    marker = home.watermarker
    marked = marker.embed(audio, Mark(number))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"cannot make the folder {target.parent}: {error.strerror or error}"
        ) from error
    part = target.with_name(f".{target.stem}.{number}.part{target.suffix}")
    master = master_key(number)
    if home.files.stat(master) is not None:
        raise _used_before(home, number)
    try:
        data = output_metadata(number, plan, checks, audio, target, carried)
        writing.save(marked or audio, part, subtype=subtype, metadata=data)
        name = None if marked is None else marker.name
        lines = credit_lines(plan.licenses)
        claim = ClaimedOutput(number, plan, info, name, audio.duration_s, lines, opened)
        with _uninterrupted():  # an exception in the library's callbacks would be lost in it
            signature = home.signer.sign(part, claim)
        fingerprint = make_fingerprint(marked or audio)
        similar = likeness(audio, plan.references, home.embedder, home.index)
        kept = {
            "sha256": fingerprint.sha256,
            "landmarks": len(fingerprint.hashes),
            "duration_s": fingerprint.duration_s,
        }
        output = FinishedOutput(
            number, audio, marked, part, target.name, take.seed, similar,
            {**checks, "fingerprint": kept},
        )  # fmt: skip
        made = MadeWith(info, home.embedder.space, home.index.name, marker.name, home.device)
        record = signed(make_record(request, plan, output, made), target, signature)
        _keep_master(home, number, audio)
    except BaseException:
        _remove(part)
        raise
    return StagedOutput(target, part, master, marked or audio, plan, record, signature, fingerprint)


def _keep_master(home: Home, number: int, audio: Audio) -> None:
    """Store the unmarked sound of an output, so that none is ever overwritten."""
    try:
        with home.files.writing(master_key(number), new=True) as draft:
            writing.save(audio, draft, subtype="FLOAT")
    except BlobExists as error:
        raise _used_before(home, number) from error


def _used_before(home: Home, number: int) -> LedgerError:
    return LedgerError(
        f"{home.files.place} holds {master_key(number)} already: output {number} was used before",
        hint="the database is older than the home: restore both from one backup",
    )


def commit(
    home: Home, staged: Sequence[StagedOutput], on_commit: OnCommit | None = None
) -> tuple[GenerationResult, ...]:
    """Log all outputs of a request in one transaction, and give their files their names.

    Args:
        on_commit: of a caller who keeps the outputs in a folder that is not read until they are
            logged: the files have their names before that.

    Raises:
        BackendUnavailable: with ``on_commit`` the files stay, since a commit that broke off may
            have taken place; without it they are removed.
        RagAudioError: nothing was logged or delivered.
    """
    done: tuple[GenerationResult, ...] = ()

    def within(db: Connection) -> None:
        # With the entries: a fingerprint without one would name an output that never was.
        for output in staged:
            home.fingerprints.put_in(db, output.record.output, output.fingerprint)
        if on_commit is not None:
            on_commit.write(db)

    with _uninterrupted():
        try:
            if on_commit is not None:
                done = tuple(output.put_in_place() for output in staged)
                on_commit.prepare(done)
            owner = None if on_commit is None else on_commit.owner
            home.ledger.append_many([output.record for output in staged], within, owner)
        except BaseException as error:
            if on_commit is None or not isinstance(error, BackendUnavailable):
                for output in staged:
                    _discard(home, output.part, output.master)
                    if on_commit is not None:
                        _remove(output.target)
            raise
        _index_fingerprints(home)
        return done or tuple(output.put_in_place() for output in staged)


def _index_fingerprints(home: Home) -> None:
    """Outside of the ledger's lock: it takes as long as everything else that is written."""
    with suppress(BackendUnavailable):  # the outputs are logged, and the next question does it
        home.fingerprints.index_new(most=1)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of the block: what is logged gets its file, and the reverse."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _number, frame: came.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        before(signal.SIGINT, came[0])


def _remove(*files: Path) -> None:
    for file in files:
        file.unlink(missing_ok=True)
        sidecar_of(file).unlink(missing_ok=True)


def _discard(home: Home, part: Path, master: str) -> None:
    """Remove what was staged. A master that stays, since its store is away, takes room only: its
    number is not given again."""
    _remove(part)
    try:
        home.files.delete(master)
    except BackendError as error:
        _log.warning("note: %s stays: %s", master, error.message)


# A delivered output in another format: with the same credits, mark and statements as the first.

_NO_WORDS: dict[str, Any] = {
    "prompt": "",
    "enriched_prompt": "",
    "spans": [],
    "negative_prompt": "",
    "notes": [],
}
"""Credentials quote no words, which may have been erased from the record."""


def write_copy(
    signer: Signer,
    record: AttributionRecord,
    file: Path,
    target: Path,
    *,
    bitrate_kbps: int | None = None,
) -> tuple[str, ...]:
    """Write a delivered file into another format, tagged and signed; the names of what is written.

    The sound is that of the file, mark included. Its content credentials say that the delivered
    file was opened and converted, and hold that file's own.

    Args:
        record: of the output.
        file: as it was delivered. target: its ending chooses the format.
        bitrate_kbps: of MP3; None: the format's own default.

    Raises:
        UnreadableFile: the file cannot be read.
        InvalidInput: the format cannot be written.
        OutputRefused: it is not the file that the ledger knows, or the copy cannot be signed.
            Nothing is written then.
    """
    digest = file_sha256(file)
    if digest not in record.files.values():
        raise OutputRefused(
            f"{file.name} is not copied: it is not output {record.output} as it was delivered",
            hint="copy the delivered file: one that was changed since is not signed as the output",
        )
    sound = load(file, max_duration_s=None)
    plan = plan_from_json({**record.plan, **_NO_WORDS})
    part = target.with_name(f".{target.stem}.{secrets.token_hex(8)}.part{target.suffix}")
    try:
        data = copied_metadata(file, sound, target)
        data = output_metadata(record.output, plan, record.checks, sound, target, data)
        writing.save(sound, part, metadata=data, bitrate_kbps=bitrate_kbps)
        claim = ClaimedOutput(
            record.output,
            plan,
            _model_of(record, sound.sample_rate, sound.channels),
            str(record.watermark["name"]) if "payload" in record.watermark else None,
            sound.duration_s,
            credit_lines(plan.licenses),
            OpenedFile(file, digest, record.output),
            converted=True,
            shares=([one.influence.used for one in record.sources], record.model_share),
        )
        with _uninterrupted():
            return put_in_place(part, target, signer.sign(part, claim))
    finally:
        _remove(part)


def _model_of(record: AttributionRecord, sample_rate: int, channels: int) -> ModelInfo:
    """The model as the record knows it: credentials name it, its weights and whether it was
    trained, and nothing else of it."""
    return ModelInfo(
        name=record.model,
        id=record.model_id,
        family="",
        sample_rate=sample_rate,
        channels=channels,
        max_duration_s=0.0,
        max_prompt_tokens=0,
        default_steps=0,
        default_guidance=0.0,
        default_strength=0.0,
        untrained=record.untrained,
    )
