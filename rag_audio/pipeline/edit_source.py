"""The sound that an edit begins with: whose it is, what is in it, and where it is unmarked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rag_audio.audio import channels
from rag_audio.audio.dsp import resample
from rag_audio.domain import (
    USE_OF,
    Audio,
    Channel,
    Reference,
    Rights,
    Segment,
)
from rag_audio.domain.disclosure import Disclosure
from rag_audio.domain.music import Signature
from rag_audio.domain.record import Ledger, LedgerEntry
from rag_audio.domain.signing import OpenedFile
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.home import Home
from rag_audio.retrieval import recognition
from rag_audio.retrieval.recognition import ForeignFinding

SAME_SOUND = 0.7
"""Correlation with the master above which a file is that output, as it stands or a part of it."""
_SLACK_S = 0.1
_SCORES = (".mid", ".midi")


@dataclass(frozen=True, eq=False)
class EditSource:
    """An opened file.

    Attributes:
        audio: to work on, at the file's rate, channels and length: of an output of ours the
            unmarked master, otherwise the file's own sound.
        parent: the ledger's entry of the output that it is.
        time_signature: of that output, or of a stem in the file, where it is known.
        bar_line_s: one of its bar lines, in seconds from its beginning; may lie before it.
    """

    path: Path
    audio: Audio
    finding: ForeignFinding
    parent: LedgerEntry | None
    time_signature: Signature | None = None
    bar_line_s: float = 0.0

    @property
    def is_foreign(self) -> bool:
        """Whether it is not known, or most of it is not, so that the user's statement counts."""
        return self.parent is None and not self.finding.is_mostly_stems

    @property
    def opened(self) -> OpenedFile:
        """The file as its credentials are to name it."""
        parent = None if self.parent is None else self.parent.record.output
        return OpenedFile(self.path, self.finding.sha256, parent)

    @property
    def ancestors(self) -> tuple[int, ...]:
        """The output that it is, that which this was edited from, and so on."""
        if self.parent is None:
            return ()
        older = (self.parent.record.plan.get("edit") or {}).get("ancestors", ())
        return (self.parent.record.output, *older)


def open_source(path: Path, home: Home, inspector: recognition.Inspector) -> EditSource:
    """Read and recognise a file.

    Raises:
        UnreadableFile: it is no sound file.
        InvalidInput: it is a score, or an output of ours whose master is not kept here, or was
            changed so much that it cannot be found in the master.
        RequestRefused: it is a stem that was revoked, or an output of another user.
    """
    disclosure, ledger = home.disclosure, home.ledger
    name = disclosure.file(path)
    if path.suffix.lower() in _SCORES:
        raise InvalidInput(
            f"{name} is a score, and edits change sound",
            hint="rag-audio generate --midi finds references like it",
        )
    heard = home.reader.hear(path, warns=False).audio
    finding = inspector.inspect(path)
    if finding.output is None:
        stems = (copy for one in finding.stems for copy in one.copies)
        metre = next((stem.time_signature for stem in stems if stem.time_signature), None)
        return EditSource(path, heard, finding, None, metre)
    made = disclosure.output(finding.output)
    if not disclosure.sees_output(finding.output):
        # Its unmarked sound and its words are its owner's, and an edit would begin with both.
        raise RequestRefused(
            f"refused: {name} is {made} that is not yours to edit",
            hint="its owner or an administrator can edit it",
        )
    entry = ledger.find(finding.output)
    kept = None if entry is None else home.master(finding.output)
    if entry is not None and kept is None and home.master_was_removed(finding.output):
        raise InvalidInput(
            f"{name} is {made}, whose unmarked master was removed after its time "
            "(RAG_AUDIO_MASTERS_KEEP_DAYS)",
            hint="edits begin with the sound from before the mark: generate it anew from its plan",
        )
    if entry is None or kept is None:
        raise InvalidInput(
            f"{name} is {made}, and its unmarked master is not in this home",
            hint="edit it where it was made: an edit begins with the sound from before the mark",
        )
    part, starts_s = in_master(kept, heard, name)
    edit = entry.record.plan.get("edit") or {}
    bar_line_s = float(edit.get("bar_line_s", 0.0)) - starts_s
    source = EditSource(path, part, finding, entry, bar_line_s=bar_line_s)
    return replace(source, time_signature=_asked_metre(source.ancestors, ledger))


def _asked_metre(outputs: tuple[int, ...], ledger: Ledger) -> Signature | None:
    """The time signature that an output was asked for with, else the newest one before it.

    Edits of earlier versions do not say that of what they edited.
    """
    for output in outputs:
        entry = ledger.find(output)
        controls = None if entry is None else entry.record.plan.get("controls")
        if controls and controls["time_signature"] is not None:
            beats, unit = controls["time_signature"]
            return int(beats), int(unit)
    return None


def in_master(master: Audio, heard: Audio, name: str) -> tuple[Audio, float]:
    """The part of the master that a file holds, at the file's rate, channels and length, and where
    in the master it starts, in seconds.

    Raises:
        InvalidInput: it is not found there.
    """
    from scipy.signal import correlate

    fit = channels.fitted(resample(master, heard.sample_rate), heard.channels)
    whole = fit.samples
    a, b = (channels.heard(one).samples[0].astype(np.float64) for one in (fit, heard))
    lags = correlate(a, b, mode="full", method="fft")
    first = int(np.argmax(lags)) - (b.size - 1)
    start, end = max(0, first), min(a.size, first + b.size)
    there, here = a[start:end], b[start - first : end - first]
    power = float(np.sqrt(np.sum(there**2) * np.sum(here**2)))
    alike = float(np.sum(there * here)) / power if power > 0 else 0.0
    outside = b.size - (end - start)
    if alike < SAME_SOUND or outside > _SLACK_S * heard.sample_rate:
        raise InvalidInput(
            f"{name} is an output of ours that was changed since: it cannot be found in its master",
            hint="edit the file as it was delivered, or a part of it",
        )
    part = np.pad(whole[:, start:end], ((0, 0), (start - first, first + b.size - end)))
    return Audio(np.ascontiguousarray(part), heard.sample_rate), first / heard.sample_rate


def require_rights(
    source: EditSource, rights: Rights, stated: str | None, disclosure: Disclosure
) -> None:
    """Let a sound be edited that may be used: its sound becomes part of the output.

    Raises:
        RequestRefused: a stem in it may not seed sound, or a source of the output that it is may
            not be used any more as it was used there.
        InvalidInput: nothing is known of it, and the user states nothing.
    """
    finding, parent = source.finding, source.parent
    if parent is not None:
        _require_sources(source, parent, rights, disclosure)
        known = {use.reference.stem.id for use in parent.record.sources}
        others = (one for one in finding.stems if not known & {stem.id for stem in one.copies})
        # Our own output carries a reservation addressed to others.
        finding = replace(
            finding, stems=tuple(others), sources=(), output=None, do_not_train=None, library="",
            withheld="",
        )  # fmt: skip
    recognition.require_rights(
        finding,
        rights,
        (Channel.INIT,),
        stated=stated,
        needs_statement=parent is None,
        disclosure=disclosure,
    )


def _require_sources(
    source: EditSource, parent: LedgerEntry, rights: Rights, disclosure: Disclosure
) -> None:
    """Check the sources of an output that is edited, as they were used in it."""
    found = [
        (
            f"{disclosure.stem(use.reference.stem)}: {disclosure.reason(use.reference.stem, why)}",
            disclosure.cure(use.reference.stem, why),
        )
        for use in parent.record.sources
        for channel in _channels(use.influence.used)
        if (why := rights.why_not(use.reference.stem, USE_OF[channel])) is not None
    ]
    if found:
        made, (reason, cure) = disclosure.output(parent.record.output), found[0]
        hint = "an edit uses the sources of what it edits again"
        raise RequestRefused(
            f"refused: {disclosure.file(source.path)} is {made}, made from {reason}",
            hint=f"{hint}; {cure}" if cure else hint,
            reasons=tuple(dict.fromkeys(reason for reason, _ in found)),
        )


def sources_in(
    source: EditSource, rights: Rights
) -> Iterator[tuple[Reference, dict[Channel, float]]]:
    """What went into the sound, each with its share of every channel."""
    found: set[str] = set()
    if source.parent is not None:
        for use in source.parent.record.sources:
            found.add(use.reference.stem.id)
            yield use.reference, dict(use.influence.used)
    others = [one for one in source.finding.stems if not found & {stem.id for stem in one.copies}]
    for one in others:
        stem = next(
            (copy for copy in one.copies if rights.refusal(copy, USE_OF[Channel.INIT]) is None),
            one.copies[0],
        )
        share = 1.0 / len(others) if source.parent is None else 0.0
        segment = Segment(stem, 0.0, stem.duration_s)
        yield Reference(segment, 1.0, 1), {Channel.PROMPT: 0.0, Channel.INIT: share}


def _channels(used: Mapping[Channel, float]) -> list[Channel]:
    """The channels that a source reached its output by; both, where it is not said."""
    return [channel for channel, share in used.items() if share > 0] or list(Channel)
