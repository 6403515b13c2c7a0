"""Rights, asked at every step of the way to an output: before the search, before the model, before
delivery. What was allowed a minute ago may have ended or been revoked since."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

from rag_audio import audio as sound
from rag_audio import conditioning, foreign, guardrails, midi, sourcing
from rag_audio.domain import (
    Audio,
    AudioAs,
    Channel,
    ConditioningPlan,
    GenerationRequest,
    Reference,
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
    """Asks the catalogue anew each time.

    Args:
        now: the present moment, UTC.
    """

    def __init__(self, home: Home, now: Callable[[], date | datetime]) -> None:
        self._home, self._now = home, now

    def rights(self, territory: str | None) -> Rights:
        """Licenses and revocations as they stand now, for ``territory`` or the configured one."""
        return self._home.catalogue.rights(territory or self._home.territory, self._now())

    def policy(self, territory: str | None) -> guardrails.Policy:
        """Whose style may be asked for, now."""
        stems = self._home.catalogue.stems()
        names, actions = self._home.protected_names, self._home.guard_actions
        withheld = self._home.catalogue.withheld_artists()
        return guardrails.make_policy(stems, self.rights(territory), names, actions, withheld)

    def require_stem(self, stem: Stem, territory: str | None, what: str) -> None:
        """Let a stem be used for anything at all.

        Args:
            what: it is to be, for the message.

        Raises:
            RequestRefused: no license of any library that holds its bytes opens a channel.
        """
        rights = self.rights(territory)
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

    def require_references(
        self, references: Iterable[Reference], request: GenerationRequest
    ) -> Rights:
        """The rights of now, once more after the search.

        Raises:
            RequestRefused: what the search found may not be used any more.
        """
        rights = self.rights(request.territory)
        uses = [conditioning.USE_OF[channel] for channel in sorted(request.channels)]
        for reference in references:
            stem = reference.stem
            why = rights.why_not_any(stem, uses)
            if why is not None:
                raise RequestRefused(
                    f"refused: {stem.title or stem.path} may not be a reference: {why.reason}",
                    hint=f"ask again: another reference will be found; or else {why.cure}",
                    reasons=[str(rights.refusal(stem, use)) for use in uses],
                )
        return rights

    def inspect(self, request: GenerationRequest) -> tuple[ForeignFinding, ...]:
        """Look into the files that the request brings, and let them in or not.

        Raises:
            RequestRefused: one holds something that may not be used.
            InvalidInput: nothing is known of the audio, and nobody stated by what right it is used.
        """
        files = [Path(name) for name in (request.audio, request.midi) if name is not None]
        if not files:
            return ()
        inspector = self.inspector(request.territory)
        findings = tuple(inspector.inspect(path) for path in files)
        as_melody = request.audio_as is AudioAs.MELODY
        self._require_foreign(findings, request, as_melody=as_melody)
        return findings

    def inspector(self, territory: str | None) -> foreign.Inspector:
        """Looks into foreign files; lets nothing in by itself."""
        home, reader = self._home, self._home.reader
        return foreign.Inspector(
            self.rights(territory),
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
    ) -> ConditioningPlan:
        """The plan with the licenses as they stand now.

        Raises:
            RequestRefused: something in it may not be used any more.
        """
        self._require_foreign(findings, request, as_melody=plan.melody is not None)
        self.require_style(plan, request)
        return conditioning.clear_plan(plan, self.rights(request.territory))

    def require_style(self, plan: ConditioningPlan, request: GenerationRequest) -> None:
        """Let a plan pass whose artist may be asked for, and is a source of it.

        Raises:
            RequestRefused: the artist may not be asked for, or nothing by the artist would be used.
        """
        if request.artist is None:
            return
        artist = guardrails.require_artist(request.artist, self.policy(request.territory))
        self.require_source(plan, replace(request, artist=artist))

    def require_source(self, plan: ConditioningPlan, request: GenerationRequest) -> None:
        """As :func:`rag_audio.sourcing.require_source`, by the rights of this moment."""
        if request.artist is not None:
            sourcing.require_source(
                plan,
                request,
                stems=self._home.catalogue.stems,
                rights=self.rights(request.territory),
                index=self._home.index,
            )

    def _require_foreign(
        self,
        findings: tuple[ForeignFinding, ...],
        request: GenerationRequest,
        *,
        as_melody: bool,
    ) -> None:
        """A sound that is followed as a melody seeds the latents, whatever channels are open."""
        for finding in findings:
            is_sound = finding.path == request.audio
            foreign.require_rights(
                finding,
                self.rights(request.territory),
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
