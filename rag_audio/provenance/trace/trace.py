"""From a piece of audio back to what went into it, whatever is left of it.

Witnesses are heard in this order: the hash of the file and of its samples, a signed manifest, the
watermark, the fingerprint. A manifest and a mark can be moved to another recording; so what they
say is compared with what the sound itself is, from where to where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rag_audio.audio.reading import IdentifiedAudio, hear
from rag_audio.audio.sections import SoundInSections, in_sections
from rag_audio.domain import Audio, Rights
from rag_audio.domain.ports import Detection, Watermarker
from rag_audio.domain.record import LedgerEntry
from rag_audio.domain.signing import Credentials, CredentialState
from rag_audio.errors import LedgerTampered, UnreadableFile
from rag_audio.provenance.ledger.ledger import SqlLedger
from rag_audio.provenance.trace.alignment import align, peaks_of
from rag_audio.provenance.trace.content_matching import (
    Fit,
    Hearing,
    Recogniser,
    hearings,
    turned_round,
)
from rag_audio.provenance.trace.findings import (
    Evidence,
    InFile,
    TraceResult,
    traced_source,
)
from rag_audio.provenance.trace.fingerprint import (
    Fingerprint,
    PeakSet,
    match,
    pieces,
    windows,
)
from rag_audio.provenance.trace.section_results import SectionTrace, merged
from rag_audio.provenance.trace.time_ranges import (
    JUDGED_LANDMARKS,
    SAME_LANDMARKS,
    SAME_SHARE,
    SHORTEST_S,
    UNCHANGED,
    Change,
    Placer,
    StretchKind,
    TimeRange,
    compare,
    in_words,
    is_changed,
    undone,
)
from rag_audio.storage.files import file_sha256

if TYPE_CHECKING:
    from rag_audio.provenance.ledger.ledger import SqlLedger
    from rag_audio.provenance.trace.fingerprint_store import SqlFingerprints

_RIVAL = 0.8
_FAINT_Z = 5.5
"""From which on an output may lie under other sound; others reach it rarely."""

_Named = tuple[Evidence, LedgerEntry]
ReadManifest = Callable[[Path], Credentials | None]
"""Reads the content credentials of a file; None when it has none."""


def _hear(path: Path) -> IdentifiedAudio:
    """What there is of a sound file: a copy that breaks off can still be traced."""
    return hear(path, max_duration_s=None)


def _no_master(output: int) -> Audio | None:
    return None


def trace(
    path: Path,
    *,
    ledger: SqlLedger,
    watermarker: Watermarker,
    rights: Rights,
    fingerprints: SqlFingerprints | None = None,
    read_manifest: ReadManifest | None = None,
    master: Callable[[int], Audio | None] = _no_master,
    hear: Callable[[Path], IdentifiedAudio] = _hear,
    sections: Callable[[Path], SoundInSections | None] = in_sections,
) -> TraceResult:
    """Find out what went into an audio file.

    A trace that finds nothing is an answer, not an error. A file that is too long for memory is
    traced section by section, each as a file of its own; a manifest speaks for all of it.

    Args:
        rights: as they stand now; says what has become of the licenses.
        fingerprints: of the ledger's outputs; None: marks are believed as they stand.
        read_manifest: None: content credentials are not read.
        master: the unmarked sound of an output, where it is still kept.
        hear: reads the file's sound.
        sections: gives that of a file which is too long for that, None of others.

    Raises:
        UnreadableFile: the file cannot be read as audio.
        LedgerTampered: a fingerprint is not the one that the ledger's record vouches for.
    """

    def begin() -> _Search:
        return _Search(ledger, rights, fingerprints, master, watermarker)

    search = begin()
    try:
        entry = ledger.find_pcm(file_sha256(path))
    except OSError as error:
        raise UnreadableFile(f"{str(path)!r} cannot be read: {error.strerror}") from error
    claim = None if read_manifest is None else read_manifest(path)
    said = "This very file is in the ledger."
    long = sections(path)
    if long is not None:
        pcm_sha256, duration_s, notices = long.pcm_sha256, long.duration_s, long.notices
    else:
        heard = hear(path)
        pcm_sha256, duration_s = heard.pcm_sha256, heard.audio.duration_s
        notices = heard.notices
    if entry is None:
        entry = ledger.find_pcm(pcm_sha256)
        said = "These very samples are in the ledger."
    if entry is not None:
        found = search.by_hash(entry, duration_s, claim, said)
    elif long is None:
        found = search.run(heard.audio, claim)
    else:
        traced = [
            SectionTrace.of(section, begin().run(section.audio, None, in_time=False))
            for section in long.sections()
        ]
        found = search.over_all(merged(traced), claim)
    return replace(found, notices=notices)


class _Search:
    """One trace."""

    def __init__(
        self,
        ledger: SqlLedger,
        rights: Rights,
        fingerprints: SqlFingerprints | None,
        master: Callable[[int], Audio | None],
        watermarker: Watermarker,
    ) -> None:
        self.ledger, self.rights = ledger, rights
        self.fingerprints, self.watermarker = fingerprints, watermarker
        master = cache(master)
        self.recogniser = None if fingerprints is None else Recogniser(fingerprints, master)
        self.placer = Placer(self.recogniser, watermarker, master, self._is_known)
        self.evidence: list[Evidence] = []
        self._in_time = True
        self._stranger: Evidence | None = None
        """What a manifest says that somebody unknown signed: told of, and contradicts nothing."""
        self._also: set[int] = set()
        """Outputs that the sound is as well as the one that it is most like: an edit of an output
        holds that one's sound, and a file may hold two."""

    def by_hash(
        self, entry: LedgerEntry, duration_s: float, claim: Credentials | None, said: str
    ) -> TraceResult:
        """An output whose file or samples are known; its manifest may still be somebody else's."""
        number = entry.record.output
        self.evidence.append(Evidence("hash", number, 1.0, said))
        self._hear_manifest(claim)
        found = self.known(entry, "hash", 1.0, said)
        whole = (TimeRange(0.0, duration_s, number),)
        return self._contradicted(replace(found, checked=True, ranges=whole))

    def over_all(self, found: TraceResult, claim: Credentials | None) -> TraceResult:
        """What was found in the sections of a file, beside what its manifest says."""
        self._hear_manifest(claim)
        manifest = tuple(self.evidence)
        self.evidence += found.evidence
        in_it = {one.output for one in found.ranges} | {one.output for one in found.outputs}
        for witness, entry in self._named()[: len(manifest)]:
            if witness not in manifest:
                continue
            if entry.record.output in in_it:
                said = f"{witness.says} {found.explanation}"
                by = self.known(entry, witness.by, witness.confidence, said)
                found = replace(
                    by,
                    checked=True,
                    transplanted=found.transplanted,
                    ranges=found.ranges,
                    outputs=found.outputs,
                )
            elif not found.found and self._kept(entry) is None:
                found = self._unchecked(witness, entry, None)
            elif found.found or (claim is not None and not claim.is_copy):
                found = self._transplanted(witness, entry, found if found.found else None)
        ignored = [f"But {w.says[0].lower()}{w.says[1:]}" for w in manifest if w.confidence == 0]
        said = " ".join([found.explanation, *ignored])
        return replace(found, explanation=said, evidence=tuple(self.evidence))

    def run(self, heard: Audio, claim: Credentials | None, *, in_time: bool = True) -> TraceResult:
        """Hear all witnesses; the first that names an output, and is not contradicted, counts.

        Args:
            in_time: say in words what is from where to where.
        """
        self._in_time = in_time
        self._hear_manifest(claim)
        detection = self.watermarker.detect(heard)
        self.evidence.append(_mark_says(detection))
        sounds = hearings(heard)
        for witness, entry in self._named():
            for sound in sounds:
                changed = self._by_landmarks(sound.peaks, entry, detection)
                if changed is not None:
                    one = Hearing(heard if sound is sounds[0] else sound.audio, sound.peaks)
                    return self._agreed(witness, entry, one, changed)
        content, fits = self._by_content(sounds)
        if content is None:
            whole = Hearing(heard, sounds[0].peaks)
            return self._by_masters(self._named(), whole, sounds, detection, claim)
        found_in = self._heard_in(fits[0], sounds, heard)
        for witness, entry in self._named():
            change = self._is_heard(entry, found_in, fits, detection)
            if change is not None:
                self._also.add(entry.record.output)
                return self._agreed(witness, entry, found_in, change)
        content = self._placed(content, found_in, fits[0].change)
        named = self._named()
        return self._transplanted(*named[0], content) if named else self._contradicted(content)

    def _is_heard(
        self, entry: LedgerEntry, sound: Hearing, fits: Sequence[Fit], detection: Detection
    ) -> Change | None:
        """How an output that a witness names was changed, where it is among those that the sound
        is; None: it is not. An edit of that output, or a near twin, may be more like the sound."""
        way = fits[0].hearing.runs_backwards
        for fit in fits:
            if fit.output == entry.record.output and fit.hearing.runs_backwards == way:
                return fit.change
        return self._by_landmarks(sound.peaks, entry, detection)

    def _named(self) -> list[_Named]:
        """The witnesses before the fingerprint that name an output of the ledger."""
        return [
            (witness, entry)
            for witness in self.evidence
            if witness.by != "fingerprint"
            and witness.output is not None
            and witness.confidence > 0
            and (entry := self.ledger.find(witness.output)) is not None
        ]

    def _heard_in(self, fit: Fit, sounds: Sequence[Hearing], heard: Audio) -> Hearing:
        """The sound in which an output was found; one that runs backwards is turned round, and
        then a mark can be read in it."""
        first = any(fit.hearing is one for one in (sounds[0], sounds[0].reversed))
        if not fit.hearing.runs_backwards:
            return Hearing(heard if first else fit.hearing.audio, fit.hearing.peaks)
        audio = turned_round(heard) if first else fit.hearing.audio
        self.evidence.append(_mark_says(self.watermarker.detect(audio), "Played backwards: "))
        return Hearing(audio, fit.hearing.peaks, runs_backwards=True)

    def _by_masters(
        self,
        named: list[_Named],
        whole: Hearing,
        sounds: Sequence[Hearing],
        detection: Detection,
        claim: Credentials | None,
    ) -> TraceResult:
        """The result where landmarks name no output: a sound that lies over it may hide them.

        Outputs of one model share some waveform, so it is asked only of sound that is no other one.
        """
        undecided: list[_Named] = []
        for witness, entry in list(named):
            same = self._is_in_master(sounds, entry, detection)
            if same:
                return self._agreed(witness, entry, whole, UNCHANGED)
            if same is None and witness.by == "manifest" and claim is not None and claim.is_copy:
                # Anybody whose signer is trusted may sign a file as a copy of another one.
                named.remove((witness, entry))
            elif same is None:
                undecided.append((witness, entry))
        if undecided:
            return self._unchecked(*undecided[0], whole.peaks)
        return self._transplanted(*named[0], None) if named else self._nothing()

    def _agreed(
        self, witness: Evidence, entry: LedgerEntry, sound: Hearing, change: Change
    ) -> TraceResult:
        """What a witness says, who names the output that the sound is."""
        found = self.known(entry, witness.by, witness.confidence, witness.says)
        placed = self._placed(replace(found, checked=True), sound, change)
        return self._contradicted(placed)

    def _unchecked(
        self, witness: Evidence, entry: LedgerEntry, peaks: PeakSet | None
    ) -> TraceResult:
        """What a witness says, where the sound can neither confirm nor contradict it.

        Args:
            peaks: of the sound; None: of long sound.
        """
        by = witness.by
        if self._kept(entry) is None:
            why = "no fingerprint of that output is kept, so the sound cannot be compared with it"
        elif peaks is not None and _is_short(peaks):
            why = (
                f"this is too little sound ({peaks.duration_s:.1f} s) to tell whether the {by} was "
                "moved here from another recording"
            )
        else:
            why = (
                f"the sound is not clearly that of output {entry.record.output}: other sound may "
                f"lie over it, its speed or pitch may be changed, or the {by} was moved here"
            )
        said = f"{witness.says} Not checked: {why}."
        return self._contradicted(self.known(entry, by, witness.confidence, said))

    def _contradicted(self, found: TraceResult) -> TraceResult:
        """The result, transplanted where a manifest or a mark names another output.

        A manifest that does not count is reported, whatever it names.
        """
        others = [
            w
            for w in self.evidence
            if w.output not in (None, found.output)
            and w is not self._stranger
            and not (w.by == "fingerprint" and found.output in self._also)
        ]
        said = [found.explanation]
        said += [f"But the {w.by} disagrees: {w.says}" for w in others]
        said += [
            f"But {w.says[0].lower()}{w.says[1:]}"
            for w in self.evidence
            if w.by == "manifest" and w.confidence == 0 and w not in others
        ]
        outputs = found.outputs
        if found.checked and not (outputs or others or found.transplanted):
            outputs = self._in_file((TimeRange(0.0, 0.0, found.output),))
        return replace(
            found,
            transplanted=found.transplanted or bool(others),
            explanation=" ".join(said),
            outputs=outputs,
        )

    def _placed(self, found: TraceResult, sound: Hearing, change: Change) -> TraceResult:
        """The result with what the file is from where to where."""
        entry = None if found.output is None else self.ledger.find(found.output)
        kept = None if entry is None else self._kept(entry)
        if entry is None or kept is None:
            return found
        ranges = self.placer.place(entry.record.output, kept, sound, change)
        said = in_words(ranges, entry.record.output) if self._in_time else ""
        return replace(
            found,
            ranges=ranges,
            outputs=self._in_file(ranges),
            transplanted=found.transplanted or any(one.transplanted for one in ranges),
            explanation=f"{found.explanation} {said}".strip(),
        )

    def _in_file(self, ranges: Sequence[TimeRange]) -> tuple[InFile, ...]:
        """Every output whose sound is in the file, in the order of time, with its sources."""
        numbers = dict.fromkeys(one.output for one in ranges if one.output is not None)
        entries = [entry for n in numbers if (entry := self.ledger.find(n)) is not None]
        return tuple(
            InFile(
                entry.record.output,
                tuple(traced_source(one, self.rights, None) for one in entry.record.sources),
            )
            for entry in entries
        )

    def _is_known(self, output: int) -> bool:
        return self.ledger.find(output) is not None

    def _hear_manifest(self, claim: Credentials | None) -> None:
        if claim is not None:
            self.evidence.append(self._manifest_says(claim))
            if claim.state is CredentialState.UNTRUSTED:
                self._stranger = self.evidence[-1]

    def _manifest_says(self, claim: Credentials) -> Evidence:
        """A manifest counts when it is trusted, and the very one that the ledger knows."""
        said = f"The content credentials, signed by {claim.signer or 'somebody'},"
        if claim.output is None:
            return Evidence("manifest", None, 0.0, f"{said} name no output of ours.")
        said += f" say output {claim.output}"
        if claim.state is not CredentialState.TRUSTED:
            wrong = "; ".join(claim.errors) or claim.state.value
            return Evidence("manifest", claim.output, 0.0, f"{said}, but do not count: {wrong}.")
        entry = self.ledger.find(claim.output)
        known = {} if entry is None else entry.record.signature
        # A copy in another format has a manifest of its own, and holds the one that is known.
        labels = {claim.label, *(one.label for one in claim.parents if claim.is_copy)}
        if known.get("manifest", claim.label) not in labels:
            wrong = "they are not the ones that the ledger knows"
            return Evidence("manifest", claim.output, 0.0, f"{said}, but do not count: {wrong}.")
        return Evidence("manifest", claim.output, 1.0, f"{said}.")

    def _transplanted(
        self, witness: Evidence, entry: LedgerEntry, content: TraceResult | None
    ) -> TraceResult:
        said = f"{witness.says} But the sound is not that of output {witness.output}"
        if content is not None:
            said = f"{said}: it is output {content.output}. {content.explanation}"
            return replace(content, transplanted=True, explanation=said)
        known = self.known(entry, witness.by, witness.confidence, "")
        return replace(
            known,
            transplanted=True,
            explanation=f"{said}, nor of any other: it was moved here from that output. The "
            "sources of that output did not go into this sound.",
            sources=(),
            model_share=None,
            checked=True,
        )

    def known(self, entry: LedgerEntry, by: str, confidence: float, said: str) -> TraceResult:
        """The result that an entry gives."""
        record = entry.record
        *_, newest = (None, *self.ledger.each_event("influence", record.output))
        causal = newest.document if newest else None
        measured = {item.get("reference"): item for item in (causal or {}).get("sources", [])}
        return TraceResult(
            found=True,
            by=by,
            confidence=confidence,
            explanation=said,
            output=record.output,
            created=record.created.isoformat(),
            model=record.model,
            sources=tuple(
                traced_source(source, self.rights, measured.get(i))
                for i, source in enumerate(record.sources)
            ),
            model_share=dict(record.model_share),
            proof=self.ledger.inclusion(entry.seq).to_json(),
            evidence=tuple(self.evidence),
            record=record,
            causal=causal,
            ancestors=tuple((record.plan.get("edit") or {}).get("ancestors", ())),
        )

    def _by_landmarks(
        self, peaks: PeakSet, entry: LedgerEntry, detection: Detection
    ) -> Change | None:
        """How an output was changed that a sound is by its landmarks; None: they do not show it."""
        kept = self._kept(entry)
        if kept is None:
            return None
        changes = undone(detection.tempo, detection.semitones) - {UNCHANGED}
        for change in (UNCHANGED, *sorted(changes)):
            for query in windows(peaks, *change):
                fit = match(query, kept)
                if fit.share >= SAME_SHARE and fit.agreeing >= SAME_LANDMARKS:
                    return change
        # The windows are spread over a long sound, and may miss an output in it.
        same = any(one.kind is StretchKind.SAME for one in compare(peaks, kept))
        return UNCHANGED if same else None

    def _is_in_master(
        self, sounds: Sequence[Hearing], entry: LedgerEntry, detection: Detection
    ) -> bool | None:
        """Whether a sound is an output after all, whose landmarks it lacks; None: cannot be told.

        That it is not takes enough sound, at the speed and pitch of the output, and none of it
        where the output's would be.
        """
        kept = self._kept(entry)
        if kept is None:
            return None
        output = entry.record.output
        told = [self.placer.is_in_master(output, sound.audio) for sound in sounds]
        if any(told):
            return True
        if self.placer.keeps_master(output):
            return None if None in told else False
        if is_changed(detection) or _is_short(sounds[0].peaks):
            return None
        return None if any(_is_faint(kept, sound.peaks) for sound in sounds) else False

    def _kept(self, entry: LedgerEntry) -> Fingerprint | None:
        """An output's fingerprint, if it is the one that the record vouches for."""
        if self.fingerprints is None:
            return None
        kept = self.fingerprints.get(entry.record.output)
        vouched = entry.record.checks.get("fingerprint", {}).get("sha256")
        if kept is not None and vouched is not None and kept.sha256 != vouched:
            raise LedgerTampered(
                f"the fingerprint of output {entry.record.output} is not the one in its record",
                hint="rag-audio ledger verify",
            )
        return kept

    def _by_content(self, sounds: Sequence[Hearing]) -> tuple[TraceResult | None, list[Fit]]:
        """The output that the sound is, unchanged or changed; and all that it may be, that one
        first."""
        prints = self.fingerprints
        if self.recogniser is None or prints is None or not prints.count():
            return None, []
        if not any(sound.peaks.times_s.size for sound in sounds):
            return None, []
        fits = self.recogniser.fits(sounds)
        for fit in fits:
            entry = self.ledger.find(fit.output)
            if entry is None:
                continue
            self._kept(entry)
            least = _RIVAL * fit.at.exact
            rivals = [f for f in fits if f is not fit and f.at.exact >= least]
            said = _fingerprint_says(fit, rivals)
            confidence = fit.confidence * (0.5 if rivals else 1.0)
            others = tuple(rival.output for rival in rivals)
            self.evidence.append(Evidence("fingerprint", fit.output, confidence, said, others))
            found = replace(self.known(entry, "fingerprint", confidence, said), checked=True)
            return found, [fit, *(other for other in fits if other is not fit)]
        self.evidence.append(
            Evidence("fingerprint", None, 0.0, "The sound is not that of any output.")
        )
        return None, []

    def _nothing(self) -> TraceResult:
        """What is said when nobody names an output of this ledger."""
        mark = next(witness for witness in self.evidence if witness.by == "watermark")
        if mark.output is not None:
            said = f"The mark says output {mark.output}, which this ledger does not know."
        else:
            said = " ".join(witness.says for witness in self.evidence)
        return TraceResult(
            False, None, mark.confidence, said, mark.output, evidence=tuple(self.evidence)
        )


def _is_short(peaks: PeakSet) -> bool:
    """Whether there is too little of a sound to say that it is not an output's."""
    fullest = max((query.times_s.size for query in windows(peaks)), default=0)
    return peaks.duration_s < SHORTEST_S or fullest < JUDGED_LANDMARKS


def _is_faint(kept: Fingerprint, peaks: PeakSet) -> bool:
    """Whether some peaks of an output stand out in a sound that is not clearly its own."""
    found = (align(peaks_of(kept), piece) for _, piece in pieces(peaks))
    return any(at is not None and at.z >= _FAINT_Z for at in found)


def _mark_says(detection: Detection, before: str = "") -> Evidence:
    mark, confidence = detection.mark, detection.confidence
    if mark is None:
        said = f"{before}No watermark of this key was found."
        return Evidence("watermark", None, 0.0, said)
    if mark.by_hand:
        said = f"{before}The mark {mark.payload} was embedded by hand; it is no ledger number."
        return Evidence("watermark", None, confidence, said)
    said = f"{before}The watermark says output {mark.payload}."
    return Evidence("watermark", mark.payload, confidence, said)


def _fingerprint_says(fit: Fit, rivals: Sequence[Fit]) -> str:
    at = fit.at
    said = (
        f"The sound is output {fit.output} from {max(0.0, at.offset_s):.1f} s on: "
        f"{at.shared} of {at.possible} peaks agree, {at.exact} of them exactly."
    )
    if fit.coherence is not None:
        said += f" Its coherence with the master is {fit.coherence:.2f}."
    if fit.hearing.runs_backwards:
        said += " It runs backwards."
    tempo, semitones = fit.change
    if (tempo, semitones) != UNCHANGED:
        said += f" Its tempo was changed by ×{tempo:.2f}, its pitch by {semitones:+.1f}."
    if rivals:
        numbers = ", ".join(str(rival.output) for rival in rivals)
        said += f" Nearly as well fits output {numbers}."
    return said
