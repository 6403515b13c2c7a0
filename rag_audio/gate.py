"""Rights on the way to an output: read once before the search, and anew once before delivery, since
what was allowed a minute ago may have ended or been revoked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

from rag_audio import audio as sound
from rag_audio import conditioning, foreign, guardrails, midi, sourcing
from rag_audio.clearance import Clearance
from rag_audio.domain import (
    Audio,
    AudioAs,
    Channel,
    ConditioningPlan,
    GenerationRequest,
    Rights,
    Stem,
)
from rag_audio.errors import RequestRefused
from rag_audio.foreign import ForeignFinding
from rag_audio.foreign_sound import Neighbours
from rag_audio.home import Home
from rag_audio.provenance import content
from rag_audio.refusals import most_curable
from rag_audio.scores import Score


class RightsGate:
    """Reads the rights, and asks them at each step; what is read is handed down, never read again.

    Args:
        now: the present moment, UTC.
    """

    def __init__(self, home: Home, now: Callable[[], date | datetime]) -> None:
        self._home, self._now = home, now

    def read(self, territory: str | None) -> Clearance:
        """What may be used now, for ``territory`` or the configured one."""
        return self._read(territory, None)

    def read_again(self, earlier: Clearance, request: GenerationRequest) -> Clearance:
        """The same anew, before delivery; stems are read again only for an artist's name."""
        return self._read(request.territory, None if request.artist else earlier.stems)

    def _read(self, territory: str | None, stems: tuple[Stem, ...] | None) -> Clearance:
        found = self._home.catalogue.clearance(
            territory or self._home.territory, self._now(), stems=stems
        )
        self._home.cache.renew(found.rights.revocations)
        return found

    def rights(self, territory: str | None) -> Rights:
        """Licenses and revocations alone, as :meth:`read`."""
        found = self._home.catalogue.rights(territory or self._home.territory, self._now())
        self._home.cache.renew(found.revocations)
        return found

    def policy(self, clearance: Clearance) -> guardrails.Policy:
        """Whose style may be asked for."""
        names, actions = self._home.protected_names, self._home.guard_actions
        return guardrails.make_policy(
            clearance.stems, clearance.rights, names, actions, clearance.withheld
        )

    def require_stem(self, stem: Stem, rights: Rights, what: str) -> None:
        """Let a stem be used for anything at all.

        Args:
            what: it is to be, for the message.

        Raises:
            RequestRefused: no license of any library that holds its bytes opens a channel.
        """
        copies = self._home.catalogue.copies(stem.id) or [stem]
        uses = conditioning.USE_OF.values()
        found = [rights.why_not_any(copy, uses) for copy in copies]
        known = [why for why in found if why is not None]
        best = most_curable(known)
        if best is not None and len(known) == len(found):
            raise RequestRefused(
                f"refused: {stem.path} may not be {what}: {best.reason}",
                hint=best.cure,
                reasons=list(dict.fromkeys(why.reason for why in known)),
            )

    def inspect(self, request: GenerationRequest, rights: Rights) -> tuple[ForeignFinding, ...]:
        """Look into the files that the request brings, and let them in or not.

        Raises:
            RequestRefused: one holds something that may not be used.
            InvalidInput: nothing is known of the audio, and nobody stated by what right it is used.
        """
        files = [Path(name) for name in (request.audio, request.midi) if name is not None]
        if not files:
            return ()
        inspector = self.inspector(rights)
        findings = tuple(inspector.inspect(path) for path in files)
        as_melody = request.audio_as is AudioAs.MELODY
        self._require_foreign(findings, request, rights, as_melody=as_melody)
        return findings

    def inspector(self, rights: Rights) -> foreign.Inspector:
        """Looks into foreign files; lets nothing in by itself."""
        home, reader = self._home, self._home.reader
        return foreign.Inspector(
            rights,
            catalogue=home.catalogue,
            landmarks=home.landmarks,
            ledger=home.ledger,
            neighbours=Neighbours(lambda: home.embedder, lambda: home.index),
            mark_in=lambda heard: home.watermarker.detect(heard).mark,
            load=home.player.play,
            render=self._rendered,
            hear=lambda path: reader.hear(path).audio,
            score=reader.score,
            do_not_train=self._do_not_train,
            by_content=lambda heard: [
                (fit.output, *fit.span_s)
                for fit in content.outputs_of(self._home.fingerprints, heard, self._master)
            ],
            disclosure=self._home.disclosure,
        )

    def _master(self, output: int) -> Audio | None:
        path = self._home.masters / f"{output}.wav"
        return sound.load(path, max_duration_s=None) if path.is_file() else None

    def still_clear(
        self,
        plan: ConditioningPlan,
        request: GenerationRequest,
        findings: tuple[ForeignFinding, ...],
        clearance: Clearance,
    ) -> ConditioningPlan:
        """The plan with the licenses as they stand in ``clearance``.

        Raises:
            RequestRefused: something in it may not be used any more.
        """
        as_melody = plan.melody is not None
        self._require_foreign(findings, request, clearance.rights, as_melody=as_melody)
        self.require_style(plan, request, clearance)
        return conditioning.clear_plan(plan, clearance.rights)

    def require_style(
        self, plan: ConditioningPlan, request: GenerationRequest, clearance: Clearance
    ) -> None:
        """Let a plan pass whose artist may be asked for, and is a source of it.

        Raises:
            RequestRefused: the artist may not be asked for, or nothing by the artist would be used.
        """
        if request.artist is None:
            return
        artist = guardrails.require_artist(request.artist, self.policy(clearance))
        asked = replace(request, artist=artist)
        sourcing.require_source(plan, asked, clearance, self._home.index)

    def _require_foreign(
        self,
        findings: tuple[ForeignFinding, ...],
        request: GenerationRequest,
        rights: Rights,
        *,
        as_melody: bool,
    ) -> None:
        """A sound that is followed as a melody seeds the latents, whatever channels are open."""
        for finding in findings:
            is_sound = finding.path == request.audio
            foreign.require_rights(
                finding,
                rights,
                {Channel.INIT} if is_sound and as_melody else request.channels,
                stated=request.audio_rights,
                needs_statement=is_sound,
                disclosure=self._home.disclosure,
            )

    def _rendered(self, score: Score, window_s: float, most: int) -> tuple[Audio, ...]:
        return midi.excerpts(score, window_s, most, soundfont=self._home.soundfont)

    def _do_not_train(self, path: Path) -> str | None:
        reserved = self._home.reader.reservation(path)
        return None if reserved is None else "not for training or mining"
