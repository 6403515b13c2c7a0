"""From a finished take to a delivered file: mark, write, hash, log, and only then rename."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from rag_audio.audio import pcm, writing
from rag_audio.audio.reading import load
from rag_audio.domain import (
    AttributionRecord,
    Audio,
    ConditioningPlan,
    GenerationRequest,
    GenerationResult,
    unmet_promises,
)
from rag_audio.domain.credits import credit_lines, file_tags
from rag_audio.domain.plans import plan_from_json
from rag_audio.domain.ports import Mark, ModelInfo
from rag_audio.domain.signing import (
    ClaimedOutput,
    OpenedFile,
    Signature,
    Signer,
    put_in_place,
    sidecar_of,
)
from rag_audio.errors import BackendUnavailable, InvalidInput, LedgerError, OutputRefused
from rag_audio.generation.take_selection import unmet_line
from rag_audio.guardrails.output import likeness
from rag_audio.home import Home
from rag_audio.provenance.ledger.records import FinishedOutput, MadeWith, make_record, signed
from rag_audio.provenance.trace.fingerprint import Fingerprint, make_fingerprint
from rag_audio.storage.files import file_sha256

if TYPE_CHECKING:
    from sqlalchemy import Connection


class OnCommit(Protocol):
    """What is to be written with the ledger's entries of finished outputs, or not at all."""

    @property
    def owner(self) -> str:
        """Id of the API key that the outputs are made for; empty: none was needed."""
        ...

    def prepare(self, results: Sequence[GenerationResult]) -> None:
        """Is given the outputs, whose files have their names, before the transaction begins."""
        ...

    def write(self, db: Connection) -> None:
        """Writes in the transaction that logs the outputs; an error undoes the entries too."""
        ...


@dataclass(frozen=True, eq=False)
class Parcel:
    """A finished output that the ledger does not know yet: everything of it is on the disk.

    Attributes:
        part: the file under its temporary name, in the folder of ``target``.
        master: the unmarked sound.
    """

    target: Path
    part: Path
    master: Path
    sound: Audio
    plan: ConditioningPlan
    record: AttributionRecord
    signature: Signature
    fingerprint: Fingerprint


class Delivery:
    """Gives out the takes of one plan.

    Args:
        info: of the model that made them.
        opened: the file that they are edits of.
    """

    def __init__(
        self,
        home: Home,
        request: GenerationRequest,
        plan: ConditioningPlan,
        info: ModelInfo,
        opened: OpenedFile | None = None,
    ) -> None:
        self.home, self.request, self.plan, self._opened = home, request, plan, opened
        self._made = MadeWith(
            info, home.embedder.space, home.index.name, home.watermarker.name, home.device
        )

    def pack(
        self, take: Audio, seed: int, target: Path, checks: Mapping[str, Any] | None = None
    ) -> Parcel:
        """Mark, sign and write under a temporary name; :func:`hand_over` does the rest.

        Args:
            checks: what the output gate measured, for the record.
        """
        take, plan = self._fitted(take, target)
        number = self.home.ledger.next_output_id()
        marked = self.home.watermarker.embed(take, Mark(number))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(
                f"cannot make the folder {target.parent}: {error.strerror or error}"
            ) from error
        part = target.with_name(f".{target.stem}.{number}.part{target.suffix}")
        master = self._new_master(number)
        try:
            marks = map(unmet_line, unmet_promises(checks or {}))
            tags = file_tags(number, plan.licenses, marks)
            writing.save(marked or take, part, subtype=self.request.subtype, tags=tags)
            writing.save(take, master, subtype="FLOAT")
            master.chmod(0o600)
            signature = self.home.signer.sign(part, self._claim(number, take, marked))
            fingerprint = make_fingerprint(marked or take)
            similar = likeness(take, plan.references, self.home.embedder, self.home.index)
            kept = {
                "sha256": fingerprint.sha256,
                "landmarks": len(fingerprint.hashes),
                "duration_s": fingerprint.duration_s,
            }
            output = FinishedOutput(
                number, take, marked, part, target.name, seed, similar,
                {**(checks or {}), "fingerprint": kept},
            )  # fmt: skip
            record = signed(make_record(self.request, plan, output, self._made), target, signature)
        except BaseException:
            _remove(part, master)
            raise
        return Parcel(target, part, master, marked or take, plan, record, signature, fingerprint)

    def _fitted(self, take: Audio, target: Path) -> tuple[Audio, ConditioningPlan]:
        """The take as its file can hold it, and the plan, with a note where it was lowered.

        What the model makes stays below full scale; an edit keeps the level of the edited sound.
        """
        take, excess = pcm.fit(take, target, self.request.subtype)
        if not excess:
            return take, self.plan
        note = (
            f"lowered by {excess.peak_db:.2f} dB, so that the file does not clip the {excess}; "
            "a .wav of floats (subtype 32f) keeps the level"
        )
        return take, replace(self.plan, notes=(*self.plan.notes, note))

    def _new_master(self, number: int) -> Path:
        """An empty file for the unmarked sound, so that no other one is ever written over.

        Raises:
            LedgerError: there is a master of this number, so it was used before.
            InvalidInput: it cannot be made.
        """
        master = self.home.masters / f"{number}.wav"
        try:
            self.home.masters.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(master, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError as error:
            raise LedgerError(
                f"{master} is there already: output {number} was used before",
                hint="the database is older than the home: restore both from one backup",
            ) from error
        except OSError as error:
            raise InvalidInput(f"cannot make {master}: {error.strerror or error}") from error
        return master

    def _claim(self, number: int, take: Audio, marked: Audio | None) -> ClaimedOutput:
        name = None if marked is None else self.home.watermarker.name
        lines = credit_lines(self.plan.licenses)
        return ClaimedOutput(
            number, self.plan, self._made.info, name, take.duration_s, lines, self._opened
        )


def hand_over(
    home: Home, parcels: Sequence[Parcel], on_commit: OnCommit | None = None
) -> tuple[GenerationResult, ...]:
    """Log all outputs of a request in one transaction, and give their files their names.

    Args:
        on_commit: of a caller who keeps the outputs in a folder where nobody looks for them until
            they are logged: the files have their names before that.

    Raises:
        BackendUnavailable: with ``on_commit`` the files stay, since nobody knows whether a commit
            that broke off took place; without it they are removed.
        RagAudioError: nothing was logged or given out.
    """
    with _uninterrupted():
        return _hand_over(home, parcels, on_commit)


def _hand_over(
    home: Home, parcels: Sequence[Parcel], on_commit: OnCommit | None
) -> tuple[GenerationResult, ...]:
    done: tuple[GenerationResult, ...] = ()

    def within(db: Connection) -> None:
        # With the entries: a fingerprint without one would name an output that never was.
        for parcel in parcels:
            home.fingerprints.put_in(db, parcel.record.output, parcel.fingerprint)
        if on_commit is not None:
            on_commit.write(db)

    try:
        if on_commit is not None:
            done = tuple(_put_in_place(parcel) for parcel in parcels)
            on_commit.prepare(done)
        owner = None if on_commit is None else on_commit.owner
        home.ledger.append_many([parcel.record for parcel in parcels], within, owner)
    except BaseException as error:
        if on_commit is None or not isinstance(error, BackendUnavailable):
            for parcel in parcels:
                _remove(parcel.part, parcel.master)
                if on_commit is not None:
                    _remove(parcel.target)
        raise
    return done or tuple(_put_in_place(parcel) for parcel in parcels)


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


def _put_in_place(parcel: Parcel) -> GenerationResult:
    files = put_in_place(parcel.part, parcel.target, parcel.signature)
    return GenerationResult(parcel.sound, files, parcel.plan, parcel.record)


@contextmanager
def packing() -> Iterator[list[Parcel]]:
    """Collects the parcels of a request; when the block raises, their files are removed."""
    parcels: list[Parcel] = []
    try:
        yield parcels
    except BaseException:
        for parcel in parcels:
            _remove(parcel.part, parcel.master)
        raise


def name_of(out: Path, i: int, count: int) -> Path:
    """The file of take ``i`` (from 0) of ``count``: ``out``, or ``out`` with a number."""
    return out if count == 1 else out.with_name(f"{out.stem}-{i + 1}{out.suffix}")


def _remove(*files: Path) -> None:
    for file in files:
        file.unlink(missing_ok=True)
        sidecar_of(file).unlink(missing_ok=True)


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
    marks = map(unmet_line, unmet_promises(record.checks))
    part = target.with_name(f".{target.stem}.{secrets.token_hex(8)}.part{target.suffix}")
    try:
        tags = file_tags(record.output, plan.licenses, marks)
        writing.save(sound, part, tags=tags, bitrate_kbps=bitrate_kbps)
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
        return put_in_place(part, target, signer.sign(part, claim))
    finally:
        part.unlink(missing_ok=True)
        sidecar_of(part).unlink(missing_ok=True)


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
