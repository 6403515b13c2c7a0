"""Recognise an output by its sound, with or without its mark.

First the sound is looked up unchanged; where that names nothing, as if it had been played
faster or slower, higher or lower, backwards, or been damaged. Outputs of the same references share
much, so what names an output is how *exactly* its peaks are met (:mod:`.alignment`), and for a
damaged sound, which meets few of them, how well it agrees with the unmarked master.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rag_audio.audio.channels import views
from rag_audio.domain import Audio
from rag_audio.provenance.trace.alignment import PeakAlignment, align, peaks_of
from rag_audio.provenance.trace.fingerprint import (
    PeakSet,
    backwards,
    coherence,
    find_peaks,
    pieces,
)
from rag_audio.provenance.trace.fingerprint_store import SqlFingerprints
from rag_audio.provenance.trace.output_landmarks import changed_candidates

# Triples of peaks that the sound shares with an output vote for a tempo, a pitch and a place,
# forwards and backwards: one question names the outputs that a piece of it may be at whatever speed
# or pitch (:mod:`.output_landmarks`). About how much higher it is, the votes say; the tempo and the
# place :mod:`.alignment` finds, for the best outputs alone.

EXACT_SHARE, CLOSE_SHARE = 0.55, 0.62
"""Share of exact, or of close, peaks that names an output; ``benchmarks/bench_fingerprint.py``."""
ACCEPTED_PEAKS = 25
LIKELY_Z, LIKELY_SHARE = 7.0, 0.25
"""From which on a sound is compared with the master of an output."""
COHERENT = 0.96
"""Coherence with the master that names an output, however few of its peaks are left."""

_TEMPOS = tuple(1.0 + 0.008 * step for step in range(-17, 18))
_COMPARED, _TRIED = 12, 12
_SAME_TEMPO, _SAME_SEMITONES = 0.002, 0.3
_MOST_SEARCHED = 4
_OTHER_SHARE, _COPY_SHARE = 0.2, 0.6
_LESS_SURE = 0.5

Masters = Callable[[int], Audio | None]
"""The unmarked sound of an output, where it is still kept."""


class Hearing:
    """One of the sounds that are to be heard in the channels of a file.

    Args:
        audio: one channel, or all where they all but agree.
        peaks: of its spectrogram; None: they are looked for.
        runs_backwards: it is the file's sound played backwards.
    """

    def __init__(
        self, audio: Audio, peaks: PeakSet | None = None, *, runs_backwards: bool = False
    ) -> None:
        self.audio, self.runs_backwards = audio, runs_backwards
        if peaks is not None:
            self.peaks = peaks

    @cached_property
    def peaks(self) -> PeakSet:
        """Of its spectrogram."""
        return find_peaks(self.audio)

    @cached_property
    def reversed(self) -> Hearing:
        """The same, played backwards."""
        turned, peaks = turned_round(self.audio), backwards(self.peaks)
        return Hearing(turned, peaks, runs_backwards=not self.runs_backwards)


def hearings(audio: Audio) -> list[Hearing]:
    """All that is to be heard in a sound: one for mono and what is all but mono."""
    return [Hearing(view) for view in views(audio)]


def turned_round(audio: Audio) -> Audio:
    """The sound played backwards."""
    return Audio(np.ascontiguousarray(audio.samples[:, ::-1]), audio.sample_rate)


@dataclass(frozen=True, eq=False)
class Fit:
    """An output that a sound is.

    Attributes:
        at: how its peaks lie over those of the output.
        hearing: in which of the file's sounds, and which way round, it was heard.
        coherence: with the master, 0…1; None: it was not needed.
        piece_s: duration of the piece of the sound that was laid over the output.
    """

    output: int
    at: PeakAlignment
    hearing: Hearing
    coherence: float | None = None
    piece_s: float = 0.0

    @property
    def span_s(self) -> tuple[float, float]:
        """The part of the output that the piece is, in seconds."""
        return self.at.offset_s, self.at.offset_s + self.piece_s * self.at.tempo

    @property
    def change(self) -> tuple[float, float]:
        """Tempo and semitones that the sound was changed by; 1 and 0 where that is no change."""
        plain = _is_plain(self.at)
        return (1.0, 0.0) if plain else (self.at.tempo, round(self.at.semitones, 2))

    @property
    def confidence(self) -> float:
        """0…1: 0 at the share of close peaks that other sounds reach, 1 at one of copies."""
        sure = (self.at.close_share - _OTHER_SHARE) / (_COPY_SHARE - _OTHER_SHARE)
        least = 0.0 if self.coherence is None else _LESS_SURE
        return float(np.clip(sure, least, 1.0))


class Recogniser:
    """Says which output a sound is.

    Args:
        master: of an output, where it is still kept. Without it, badly damaged sound is not named.
    """

    def __init__(
        self, fingerprints: SqlFingerprints, master: Masters = lambda output: None
    ) -> None:
        self._fingerprints, self._master = fingerprints, master

    def fits(self, heard: Sequence[Hearing], *, disguised: bool = True) -> list[Fit]:
        """The outputs that a sound is, best first; only what is good enough to name an output.

        Args:
            heard: what is to be heard in it.
            disguised: also at other tempos (±13 %) and pitches (±3.5 semitones), and backwards.
        """
        heard = [one for one in heard if one.peaks.times_s.size]
        if not heard or not self._fingerprints.any():
            return []
        for one in heard:
            found = self._unchanged(one)
            if found:
                return found
        return self._changed(heard) if disguised else []

    def _unchanged(self, heard: Hearing) -> list[Fit]:
        found: dict[int, Fit] = {}
        for start_s, piece in pieces(heard.peaks):
            alike = self._fingerprints.find(piece)[:_COMPARED]
            kept = self._fingerprints.load([one.output for one in alike])
            for output, print_ in kept.items():
                at = align(peaks_of(print_), piece)
                self._judge(output, at, heard, start_s, piece.duration_s, found)
        return _best_first(found)

    def _changed(self, heard: Sequence[Hearing]) -> list[Fit]:
        """At other tempos and pitches, and backwards: the fullest pieces of every hearing."""
        every = [(one, *piece) for one in heard for piece in pieces(one.peaks)]
        every.sort(key=lambda one: -one[2].times_s.size)
        found: dict[int, Fit] = {}
        for one, start_s, piece in every[:_MOST_SEARCHED]:
            tried = changed_candidates(self._fingerprints.sharing, piece)[:_TRIED]
            kept = self._fingerprints.load([candidate.output for candidate in tried])
            end_s = one.peaks.duration_s - start_s - piece.duration_s
            turned = backwards(piece)
            for candidate in tried:
                if candidate.output not in kept:
                    continue  # the index has rows of an output that has no fingerprint
                mine = peaks_of(kept[candidate.output])
                for sound, there, from_s in ((one, piece, start_s), (None, turned, end_s)):
                    at = align(mine, there, _TEMPOS, candidate.semitones, reach=0.5)
                    self._judge(
                        candidate.output,
                        at,
                        sound or one.reversed,
                        from_s,
                        piece.duration_s,
                        found,
                    )
        return _best_first(found)

    def _judge(
        self,
        output: int,
        at: PeakAlignment | None,
        heard: Hearing,
        start_s: float,
        piece_s: float,
        found: dict[int, Fit],
    ) -> None:
        """Keep a fit that names an output, and is better than what is known of it."""
        if at is None or (output in found and found[output].at.exact >= at.exact):
            return
        if is_exact(at):
            found[output] = Fit(output, at, heard, piece_s=piece_s)
        elif is_likely(at) and _is_plain(at):
            master = self._master(output)
            if master is not None:
                told = coherence(master, heard.audio, at.offset_s - start_s)
                if told >= COHERENT:
                    found[output] = Fit(output, at, heard, told, piece_s)


def outputs_of(
    fingerprints: SqlFingerprints, heard: Audio, master: Masters = lambda output: None
) -> list[Fit]:
    """The outputs that a sound is by its content, whatever became of its mark, best first."""
    return Recogniser(fingerprints, master).fits(hearings(heard))


def is_exact(at: PeakAlignment) -> bool:
    """Whether so many peaks lie so exactly where an output has them that the sound is that one."""
    share = at.exact_share >= EXACT_SHARE or at.close_share >= CLOSE_SHARE
    return share and at.shared >= ACCEPTED_PEAKS


def is_likely(at: PeakAlignment) -> bool:
    """Whether a sound may be a damaged output, or another output of the same references."""
    return at.z >= LIKELY_Z and at.share >= LIKELY_SHARE and at.shared >= ACCEPTED_PEAKS


def _is_plain(at: PeakAlignment) -> bool:
    """Whether a sound has the tempo and pitch of the output."""
    return abs(at.tempo - 1.0) < _SAME_TEMPO and abs(at.semitones) < _SAME_SEMITONES


def _best_first(found: dict[int, Fit]) -> list[Fit]:
    return sorted(found.values(), key=lambda fit: (-fit.at.exact, fit.output))
