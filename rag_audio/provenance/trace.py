"""From a piece of audio back to what went into it, whatever is left of it.

Witnesses are heard in this order: the hash of the file and of its samples, a signed manifest, the
watermark, the fingerprint. A manifest and a mark can be moved to another recording; so what they
say is compared with what the sound itself is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import file_digest
from pathlib import Path
from typing import Protocol

from rag_audio import audio as _audio
from rag_audio.domain import Audio, Rights
from rag_audio.errors import LedgerTampered, UnreadableFile
from rag_audio.ports import Detection, Ledger, LedgerEntry, Watermarker
from rag_audio.provenance.findings import (
    Evidence,
    LicenseNow,
    TracedSource,
    TraceResult,
    traced_source,
)
from rag_audio.provenance.fingerprint import (
    Fingerprint,
    Match,
    Peaks,
    Query,
    find_peaks,
    match,
    windows,
)
from rag_audio.signing import Credentials, CredentialState

__all__ = ["LicenseNow", "TraceResult", "TracedSource", "trace"]

ACCEPTED_SHARE = 0.35
"""Share of agreeing landmarks that names an output; ``benchmarks/bench_fingerprint.py``."""
ACCEPTED_LANDMARKS = 25
_SAME_SHARE = 0.1
_SAME_DISTANCE = 0.7
_JUDGED_S, _JUDGED_LANDMARKS = 2.5, 60
_COPY_SHARE = 0.6
_RIVAL = 0.8
_TEMPOS = (1.0, 0.98, 1.02, 0.96, 1.04, 0.94, 1.06)
_SEMITONES = (0.0, -0.5, 0.5, -1.0, 1.0, -1.5, 1.5, -2.0, 2.0)


class Fingerprints(Protocol):
    """Where fingerprints of outputs are kept: :class:`.fingerprint_store.SqlFingerprints`."""

    def get(self, output: int) -> Fingerprint | None: ...
    def find(self, queries: Sequence[Query]) -> list[Match]: ...
    def count(self) -> int: ...


_Named = tuple[Evidence, LedgerEntry]
ReadManifest = Callable[[Path], Credentials | None]
"""Reads the content credentials of a file; None when it has none."""


def _load(path: Path) -> Audio:
    """What there is of a sound file: a copy that breaks off can still be traced."""
    return _audio.load(path, max_duration_s=None, allow_truncated=True)


def _no_master(output: int) -> Audio | None:
    return None


def trace(
    path: Path,
    *,
    ledger: Ledger,
    watermarker: Watermarker,
    rights: Rights,
    fingerprints: Fingerprints | None = None,
    read_manifest: ReadManifest | None = None,
    master: Callable[[int], Audio | None] = _no_master,
    load: Callable[[Path], Audio] = _load,
) -> TraceResult:
    """Find out what went into an audio file.

    A trace that finds nothing is an answer, not an error.

    Args:
        rights: as they stand now; says what has become of the licenses.
        fingerprints: of the ledger's outputs; None: marks are believed as they stand.
        read_manifest: None: content credentials are not read.
        master: the unmarked sound of an output, where it is still kept.
        load: reads the file.

    Raises:
        UnreadableFile: the file cannot be read as audio.
        LedgerTampered: a fingerprint is not the one that the ledger's record vouches for.
    """
    search = _Search(ledger, rights, fingerprints, master)
    entry = ledger.find_pcm(_file_sha256(path))
    if entry is not None:
        return search.known(entry, "hash", 1.0, "This very file is in the ledger.")
    heard = load(path)
    entry = ledger.find_pcm(_audio.pcm_sha256(heard))
    if entry is not None:
        return search.known(entry, "hash", 1.0, "These very samples are in the ledger.")
    claim = None if read_manifest is None else read_manifest(path)
    return search.run(heard, claim, watermarker.detect(heard))


class _Search:
    """One trace past the hashes."""

    def __init__(
        self,
        ledger: Ledger,
        rights: Rights,
        fingerprints: Fingerprints | None,
        master: Callable[[int], Audio | None],
    ) -> None:
        self.ledger, self.rights, self.master = ledger, rights, master
        self.fingerprints = fingerprints
        self.evidence: list[Evidence] = []

    def run(self, heard: Audio, claim: Credentials | None, detection: Detection) -> TraceResult:
        """Hear all witnesses; the first that names an output, and is not contradicted, counts."""
        if claim is not None:
            self.evidence.append(self._manifest_says(claim))
        self.evidence.append(_mark_says(detection))
        named = [
            (witness, entry)
            for witness in self.evidence
            if witness.output is not None
            and witness.confidence > 0
            and (entry := self.ledger.find(witness.output)) is not None
        ]
        peaks = find_peaks(heard)
        for witness, entry in named:
            if self._is_same(peaks, heard, entry, detection) is not False:
                return self._agreed(witness, entry)
        content = self._by_content(peaks)
        for witness, entry in named:
            if content is not None and content.output == entry.record.output:
                return self._agreed(witness, entry)
        if named:
            return self._transplanted(*named[0], content)
        return self._nothing() if content is None else self._contradicted(content)

    def _agreed(self, witness: Evidence, entry: LedgerEntry) -> TraceResult:
        return self._contradicted(self.known(entry, witness.by, witness.confidence, witness.says))

    def _contradicted(self, found: TraceResult) -> TraceResult:
        """The result, transplanted where a manifest or a mark names another output."""
        others = [w for w in self.evidence if w.output not in (None, found.output)]
        if not others:
            return found
        said = " ".join(f"But the {w.by} disagrees: {w.says}" for w in others)
        return replace(found, transplanted=True, explanation=f"{found.explanation} {said}")

    def _manifest_says(self, claim: Credentials) -> Evidence:
        """A manifest counts when it is trusted, and the very one that the ledger knows."""
        if claim.output is None:
            return Evidence(
                "manifest", None, 0.0, "The content credentials name no output of ours."
            )
        said = f"The content credentials, signed by {claim.signer or 'somebody'}, say output "
        said += f"{claim.output}"
        if claim.state is not CredentialState.TRUSTED:
            wrong = "; ".join(claim.errors) or claim.state.value
            return Evidence("manifest", claim.output, 0.0, f"{said}, but do not count: {wrong}.")
        entry = self.ledger.find(claim.output)
        known = {} if entry is None else entry.record.signature
        if known.get("manifest", claim.label) != claim.label:
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
        )

    def known(self, entry: LedgerEntry, by: str, confidence: float, said: str) -> TraceResult:
        """The result that an entry gives."""
        record = entry.record
        events = self.ledger.events("influence", record.output)
        causal = events[-1].document if events else None
        measured = {item.get("reference"): item for item in (causal or {}).get("sources", [])}
        if by == "hash":
            self.evidence.append(Evidence("hash", record.output, 1.0, said))
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

    def _is_same(
        self, peaks: Peaks, heard: Audio, entry: LedgerEntry, detection: Detection
    ) -> bool | None:
        """Whether the sound is that of an output; None when that cannot be told."""
        kept = self._kept(entry)
        if kept is None or peaks.duration_s < _JUDGED_S:
            return None
        enough = False
        tempo, semitones = detection.tempo, detection.semitones
        # Whichever way round the detector counts.
        undone = {(t, p) for t in (tempo, 1.0 / tempo) for p in (semitones, -semitones)}
        changes = {(1.0, 0.0)} | undone
        for change in sorted(changes):
            for query in windows(peaks, *change):
                enough = enough or query.times_s.size >= _JUDGED_LANDMARKS
                fit = match(query, entry.record.output, kept.hashes, kept.times_ms, kept.duration_s)
                if fit.share >= _SAME_SHARE and fit.agreeing >= ACCEPTED_LANDMARKS // 2:
                    return True
        if not enough:
            return None
        # A second opinion, by another feature, before anything is called transplanted.
        whole = self.master(entry.record.output)
        if whole is not None:
            from rag_audio.similarity import copy_distance

            return copy_distance(whole, heard) < _SAME_DISTANCE
        return False

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

    def _by_content(self, peaks: Peaks) -> TraceResult | None:
        """The output that the sound is, as it stands or at another tempo or pitch."""
        if self.fingerprints is None or peaks.times_s.size == 0 or not self.fingerprints.count():
            return None
        fits = fits_of(self.fingerprints, peaks)
        for fit in fits:
            entry = self.ledger.find(fit.output)
            if entry is None:
                continue
            self._kept(entry)
            rivals = [f for f in fits if f is not fit and f.share >= _RIVAL * fit.share]
            said = _fingerprint_says(fit, rivals)
            confidence = min(1.0, (fit.share - _SAME_SHARE) / (_COPY_SHARE - _SAME_SHARE))
            if rivals:
                confidence *= 0.5
            others = tuple(rival.output for rival in rivals)
            self.evidence.append(Evidence("fingerprint", fit.output, confidence, said, others))
            return self.known(entry, "fingerprint", confidence, said)
        self.evidence.append(
            Evidence("fingerprint", None, 0.0, "The sound is not that of any output.")
        )
        return None

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


def fits_of(fingerprints: Fingerprints, peaks: Peaks) -> list[Match]:
    """Outputs that a sound is by its content, as it stands or at another tempo or pitch, best
    first; only matches that are good enough to name an output."""
    if peaks.times_s.size == 0 or not fingerprints.count():
        return []
    matches = fingerprints.find(windows(peaks))
    if not any(accepted(fit) for fit in matches):
        matches = at_other_speeds(fingerprints, peaks)
    return [fit for fit in matches if accepted(fit)]


def output_of(fingerprints: Fingerprints, heard: Audio) -> int | None:
    """Number of the output that a sound is by its content, whatever became of its mark."""
    fits = fits_of(fingerprints, find_peaks(heard))
    return fits[0].output if fits else None


def at_other_speeds(fingerprints: Fingerprints, peaks: Peaks) -> list[Match]:
    """Good matches of a sound whose tempo (±6 %) or pitch (±2 semitones) was changed, best first.

    One piece of the sound is tried at each of 62 combinations.
    """
    best: list[Match] = []
    for semitones in _SEMITONES:
        for tempo in _TEMPOS:
            if (tempo, semitones) != (1.0, 0.0):
                found = fingerprints.find(windows(peaks, tempo, semitones)[:1])
                best += [fit for fit in found if accepted(fit)]
    return sorted(best, key=lambda fit: -fit.share)


def _mark_says(detection: Detection) -> Evidence:
    mark, confidence = detection.mark, detection.confidence
    if mark is None:
        return Evidence("watermark", None, 0.0, "No watermark of this key was found.")
    if mark.by_hand:
        said = f"The mark {mark.payload} was embedded by hand; it is no ledger number."
        return Evidence("watermark", None, confidence, said)
    said = f"The watermark says output {mark.payload}."
    return Evidence("watermark", mark.payload, confidence, said)


def accepted(fit: Match) -> bool:
    """Whether a match is good enough to name its output."""
    return fit.share >= ACCEPTED_SHARE and fit.agreeing >= ACCEPTED_LANDMARKS


def _fingerprint_says(fit: Match, rivals: Sequence[Match]) -> str:
    said = (
        f"The sound is output {fit.output} from {max(0.0, fit.offset_s):.1f} s on: "
        f"{fit.agreeing} landmarks agree ({100 * fit.share:.0f} %)."
    )
    if (fit.tempo, fit.semitones) != (1.0, 0.0):
        said += f" Its tempo was changed by ×{fit.tempo:.2f}, its pitch by {fit.semitones:+.1f}."
    if rivals:
        numbers = ", ".join(str(rival.output) for rival in rivals)
        said += f" Nearly as well fits output {numbers}."
    return said


def _file_sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableFile(f"{str(path)!r} cannot be read: {error.strerror}") from error
