"""The main path, top to bottom: guard, retrieve, plan, generate, guard, mark, log, deliver."""

from __future__ import annotations

import secrets
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag_audio import guardrails
from rag_audio.audio import midi, writing
from rag_audio.audio.dsp import spread_windows
from rag_audio.domain import (
    USE_OF,
    Audio,
    Channel,
    ConditioningPlan,
    GenerationRequest,
    GenerationResult,
    Reference,
    Rights,
    Segment,
    Stem,
    StemKind,
    names,
)
from rag_audio.domain.clearance import Clearance
from rag_audio.domain.controls import named_window
from rag_audio.domain.plan import plan_from_json
from rag_audio.domain.ports import Generator, Progress, ReadsText, StopAsked
from rag_audio.domain.record import LedgerEntry
from rag_audio.errors import InvalidInput, LibraryError, RequestRefused
from rag_audio.generation import legibility
from rag_audio.generation.asked_instruments import instruments_asked_for
from rag_audio.generation.legibility import CanRead
from rag_audio.generation.melody_request import melody_of, require_as_planned
from rag_audio.generation.passages import passage_of
from rag_audio.generation.planning import make_plan
from rag_audio.generation.replay import renew_plan
from rag_audio.guardrails import output as guarding
from rag_audio.home import Home
from rag_audio.pipeline import rights_gate
from rag_audio.pipeline.delivery import OnCommit, OnStage, deliver
from rag_audio.pipeline.narrowing import narrowed
from rag_audio.pipeline.renderer import Renderer
from rag_audio.pipeline.rights_gate import RightsGate
from rag_audio.provenance.counterfactual import CausalInfluence, Method, measure
from rag_audio.provenance.trace import trace
from rag_audio.provenance.trace.findings import TraceResult
from rag_audio.retrieval import profiles
from rag_audio.retrieval import references as retrieval
from rag_audio.retrieval.fit import fit_notes
from rag_audio.retrieval.one_request import RequestIndex
from rag_audio.retrieval.recognition import ForeignFinding
from rag_audio.retrieval.references import QUERY_WINDOWS, ReferenceQuery

SOUNDING_POOL = 4
"""So many times more references are found that may sound than will."""
_SHORTEST_WINDOW_S = 1.0


@dataclass(frozen=True, eq=False)
class Planned:
    """A plan and what it was made from.

    Attributes:
        request: as guardrails left it. findings: what is known of the files that it brings.
    """

    request: GenerationRequest
    plan: ConditioningPlan
    findings: tuple[ForeignFinding, ...]


class Pipeline:
    """Index aside, everything the product does; holds no state but its home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.gate = RightsGate(home)

    def rights(self, territory: str | None = None) -> Rights:
        """Licenses and revocations as they stand now, for ``territory`` or the configured one."""
        found = self.home.catalogue.rights(territory or self.home.territory, _today())
        self.home.cache.renew(found.revocations)
        return found

    def clearance(self, territory: str | None = None) -> Clearance:
        """What may be used now, for ``territory`` or the configured one."""
        found = self.home.catalogue.clearance(territory or self.home.territory, _today())
        self.home.cache.renew(found.rights.revocations)
        return found

    def policy(self, territory: str | None = None) -> guardrails.Policy:
        """Whose style may be asked for, now."""
        return self.gate.policy(self.clearance(territory))

    def artist_named(self, name: str) -> str:
        """An artist of the library, as the library writes the name.

        Raises:
            InvalidInput: no indexed stem has such an artist, or several are written so.
        """
        clearance = self.clearance()
        found = names.resolve(name, clearance.holdings.artists)
        if found is not None:
            return found
        policy = self.gate.policy(clearance)
        barred = names.resolve(name, policy.unlicensed)
        why = None if barred is None else policy.why_not(barred)
        said = "" if why is None else f": {why.reason}"
        raise InvalidInput(
            f"no indexed stem is by {barred or name!r}{said}",
            hint="rag-audio artists lists who there is" if why is None else why.cure,
        )

    def artist_profile(self, name: str, territory: str | None = None) -> profiles.ArtistProfile:
        """What is typical of an artist, from the stems that are licensed for style now.

        Raises:
            RequestRefused: no artist licensed for style has that name.
        """
        clearance = self.clearance(territory)
        artist = guardrails.require_artist(name, self.gate.policy(clearance))
        return profiles.make_profile(
            artist, clearance.stems_by(artist), clearance.rights, self.home.index
        )

    def search(self, query: ReferenceQuery, territory: str | None = None) -> tuple[Reference, ...]:
        """Licensed segments nearest to the query, one per stem, best first.

        Raises:
            RequestRefused: a stem to resemble may not be used itself.
            InvalidInput: a library or license is not known.
        """
        rights = self.rights(territory)
        for stem in query.like:
            self.gate.require_resembled(self.home.catalogue.stem(stem), rights)
        return self._search(self._narrowed(query, rights), rights)

    def search_notes(
        self, found: Sequence[Reference], artist: str | None, territory: str | None = None
    ) -> list[str]:
        """What is to be said of an answer: that nothing in it fits, or why there is nothing in it.

        Args:
            artist: the only one who was looked for.
        """
        if found:
            return list(fit_notes(found))
        return rights_gate.why_nothing(self.clearance(territory), self.home.index, artist)

    def _narrowed(self, query: ReferenceQuery, rights: Rights) -> ReferenceQuery:
        if not query.libraries and not query.licenses:
            return query
        return narrowed(query, self.home.catalogue.libraries(), rights)

    def plan(self, request: GenerationRequest) -> ConditioningPlan:
        """What :meth:`generate` would give to the model.

        Raises:
            RequestRefused: guardrails or rights do not allow it.
        """
        return self.planned(request, self.clearance(request.territory)).plan

    def planned(
        self, request: GenerationRequest, clearance: Clearance, *, audio_is_known: bool = False
    ) -> Planned:
        """The plan under a clearance, with what it was made from.

        Args:
            audio_is_known: the request's audio was accepted already.

        Raises:
            RequestRefused: guardrails or rights do not allow it.
        """
        policy, rights = self.gate.policy(clearance), clearance.rights
        request, guarded = guarding.guard_request(request, policy, self.home.ledger)
        brought = replace(request, audio=None, audio_as=None) if audio_is_known else request
        findings = self.gate.inspect(brought, rights)
        melody, heard = melody_of(brought, findings, rights, self._brought)
        # A hummed melody is not to sound like the hum: references are found by the words alone.
        sought = request if melody is None else replace(request, audio=None, audio_as=None)
        own = _styled(request, clearance)
        references, sounding = self.find_references(sought, clearance, own)
        generator = self.home.generator(request.model)
        plan = make_plan(
            request,
            references,
            rights=rights,
            info=generator.info,
            count_tokens=generator.count_tokens,
            seed=secrets.randbits(31) if request.seed is None else request.seed,
            is_clean=guarding.phrase_filter(policy),
            can_read=_reader(generator),
            typical=profiles.typical_words(own),
            brought=melody,
            read_drums=self.home.player.drum_notes,
            sounding=sounding,
            listen=self.home.listener.listen,
        )
        rights_gate.require_source(plan, request, clearance, self.home.index)
        guarding.guard_text(plan.enriched_prompt, policy, self.home.ledger, "enriched")
        told = self.home.disclosure
        said = tuple(note for finding in findings for note in finding.notes(told))
        of_search = self._search_notes(request, (*references, *sounding))
        plan = replace(plan, notes=(*guarded, *heard, *plan.notes, *of_search, *said))
        return Planned(request, plan, findings)

    def _search_notes(
        self, request: GenerationRequest, references: Sequence[Reference]
    ) -> tuple[str, ...]:
        """Notes on the words that the search cannot read, and on references that do not fit."""
        found = [one for one in references if not one.stem.id.startswith(request.named)]
        if not found:
            return ()
        embedder = self.home.embedder
        unread = legibility.search_notes(embedder.name, request.prompt, _reader(embedder))
        return (*unread, *fit_notes(found))

    def generate(
        self,
        request: GenerationRequest,
        out: Path,
        on_stage: OnStage | None = None,
        stop_asked: StopAsked | None = None,
        older: ConditioningPlan | None = None,
        on_commit: OnCommit | None = None,
        accepted: ConditioningPlan | None = None,
    ) -> tuple[GenerationResult, ...]:
        """Make, mark, log and write one output per variation.

        Args:
            out: where it goes; the ending chooses the format. With several variations the name
                gets ``-1``, ``-2``, … Nothing stands there before the ledger holds the record.
            older: a plan to make in place of a new one, checked against the present rights;
                ``request`` is then that of :func:`rag_audio.generation.replay.request_of`.
            on_commit: is given the outputs in the transaction that logs them all.
            accepted: the plan that :meth:`plan` made of ``request`` and that was shown: it is made,
                under the present rights, guardrails and model, or nothing is.

        Raises:
            RequestRefused, OutputRefused, Cancelled: nothing was written.
        """
        say = on_stage or (lambda stage, done, total: None)
        writing.check_writable(out, request.subtype)
        # Keys that do not fit are refused before any work is done.
        _ = (self.home.signer, self.home.watermarker)
        say("retrieve", 0, 1)
        clearance = self.clearance(request.territory)
        asked, findings = request, tuple[ForeignFinding, ...]()
        if accepted is not None:
            asked = replace(request, artist=accepted.artist)  # guardrails may have named one
            findings = self.gate.inspect(asked, clearance.rights)
            require_as_planned(accepted, asked, findings, self.home.disclosure)
            plan = self.renewed(asked, accepted, clearance, shown=True)
        elif older is None:
            planned = self.planned(request, clearance)
            plan, findings = planned.plan, planned.findings
        else:
            plan = self.renewed(request, older, clearance)
        say("retrieve", 1, 1)
        generator = self.home.generator(request.model)
        takes = self.renderer(clearance, generator).make(plan, partial(say, "generate"), stop_asked)

        def clear(made: ConditioningPlan) -> tuple[ConditioningPlan, date]:
            again = self.clearance(request.territory)
            return self.gate.still_clear(made, asked, findings, again), again.moment

        return deliver(self.home, request, takes, clear, generator.info, out, say, None, on_commit)

    def renderer(self, clearance: Clearance, generator: Generator) -> Renderer:
        """What makes and inspects the takes of a request."""
        self.home.cache.keep_in_step(generator)
        return Renderer(self.home, generator, clearance.limits)

    def renewed(
        self,
        request: GenerationRequest,
        older: ConditioningPlan,
        clearance: Clearance,
        *,
        shown: bool = False,
    ) -> ConditioningPlan:
        """An older plan with the present stems, checked by the guardrails and a clearance.

        Args:
            shown: it was made here and shown, see :func:`.renew_plan`.

        Raises:
            RequestRefused: guardrails or rights do not allow it (any more).
            InvalidInput: it contradicts itself, the catalogue or the model; or a source of a plan
                that was shown is described otherwise now.
        """
        policy = self.gate.policy(clearance)
        for text, rules in (
            (older.prompt, policy),
            (older.negative_prompt, policy.describing()),
            (older.enriched_prompt, policy),
        ):
            decision = guarding.guard_text(text, rules, self.home.ledger, "plan")
            if decision.action is not guardrails.Action.ALLOW:
                raise RequestRefused(
                    f"refused: the plan's words would be rewritten now: {decision.reason}",
                    hint="make a new plan",
                    matches=decision.matches,
                )
        generator = self.home.generator(request.model)
        renewed = renew_plan(
            older,
            copies=self.home.catalogue.copies,
            withheld=self.home.catalogue.withheld_copies,
            rights=clearance.rights,
            info=generator.info,
            count_tokens=generator.count_tokens,
            shown=shown,
        )
        self.gate.require_style(renewed, request, clearance)
        return renewed

    def trace(self, path: Path) -> TraceResult:
        """What went into the audio at ``path``."""
        return trace.trace(
            path,
            ledger=self.home.ledger,
            watermarker=self.home.watermarker,
            rights=self.rights(),
            fingerprints=self.home.fingerprints,
            read_manifest=self.home.credentials_of,
            master=self.home.master,
            hear=partial(self.home.reader.hear, max_duration_s=None, warns=False),
            sections=self.home.reader.sections,
        )

    def influence(
        self,
        output: int,
        method: Method = "fast",
        progress: Progress | None = None,
        stop_asked: StopAsked | None = None,
    ) -> CausalInfluence:
        """Measure what each source did to an output of the ledger, and log that.

        Raises:
            InvalidInput: the ledger has no such output, its texts were erased, another model made
                it, or exact values would take too many runs.
            RequestRefused: a source may not be used any more: the runs use it again.
        """
        home = self.home
        entry = home.ledger.find(output)
        if entry is None:
            raise InvalidInput(f"the ledger has no output {output}", hint="rag-audio outputs")
        plan = _measurable_plan(entry)
        _require_measurable(plan, self.rights())
        generator = home.generator(entry.record.request.get("model"))
        info = generator.info
        if info.id != entry.record.model_id:
            raise InvalidInput(
                f"output {output} was made by {entry.record.model} ({entry.record.model_id[:12]}), "
                f"and {info.name} ({info.id[:12]}) is loaded",
                hint="set RAG_AUDIO_MODEL to the checkpoint that made it",
            )
        if plan.duration_s > info.max_duration_s:
            raise InvalidInput(
                f"output {output} lasts {plan.duration_s:g} s; influence is measured up to "
                f"{info.max_duration_s:g} s with {info.name}"
            )
        measured = measure(
            plan,
            entry.record.seed,
            generator=generator,
            embedder=home.embedder,
            make_seed=Renderer(home, generator, {}).seed_audio,
            method=method,
            progress=progress,
            stop_asked=stop_asked,
        )
        document = {"output": output, "embedder_id": home.embedder.space, **measured.to_json()}
        home.ledger.append_event("influence", document)
        return measured

    def query_audio(
        self, path: str | None, midi_path: str | None, *, warns: bool = True
    ) -> Audio | None:
        """The sound of a query: an audio file, or a MIDI file rendered; None when neither.

        Args:
            warns: log what is odd in the file; else whoever asks has to tell it.
        """
        if path is not None and midi_path is not None:
            raise InvalidInput("give audio or MIDI to search by, not both")
        if path is not None:
            return self.home.reader.hear(Path(path), warns=warns).audio
        return None if midi_path is None else self._played(Path(midi_path), warns=warns)

    def _brought(self, path: Path) -> Audio:
        """The sound of a file that the request brings; the plan tells what is odd in it."""
        return self.home.reader.hear(path, warns=False).audio

    def _played(self, path: Path, *, warns: bool) -> Audio:
        """A score as a search hears it: all of it, or the windows that a search looks at."""
        score = self.home.reader.score(path, warns=warns)
        window_s = self.home.embedder.window_s
        played = midi.excerpts(score, window_s, QUERY_WINDOWS, soundfont=self.home.soundfont)
        rate = played[0].sample_rate
        return Audio(np.concatenate([one.samples for one in played], axis=1), rate)

    def find_references(
        self, request: GenerationRequest, clearance: Clearance, own: Sequence[Stem]
    ) -> tuple[tuple[Reference, ...], tuple[Reference, ...]]:
        """References that may speak, and others that may sound.

        Args:
            own: stems of the artist whose style is asked for; empty without one.

        Returns:
            The named ones, then the nearest others up to ``k`` that may give words; and four times
            as many of those nearest that may seed the sound, of which a plan takes what fits.
        """
        rights = clearance.rights
        wanted = tuple(USE_OF[channel] for channel in sorted(request.channels))
        stems = (clearance.stem(prefix) for prefix in request.named)
        named = tuple({stem.id: stem for stem in stems}.values())
        excluded = tuple(clearance.stem(prefix).id for prefix in request.exclude)
        for stem in named:
            if stem.id in excluded:
                raise InvalidInput(f"stem {stem.id[:12]} is both a reference and excluded")
            why = rights.why_not_any(stem, wanted)
            if why is not None:
                raise RequestRefused(
                    f"refused: {stem.path} may not be a reference: {why.reason}",
                    hint=why.cure,
                    reasons=[str(rights.refusal(stem, use)) for use in wanted],
                )
        wanted_bpm, wanted_key = profiles.wanted_tempo_and_key(request, own)
        query = ReferenceQuery(
            text=request.prompt,
            vectors=self._query_vectors(request),
            artist=request.artist,
            exclude=excluded,
            uses=frozenset(wanted),
            style=request.artist is not None,
            libraries=request.libraries,
            licenses=request.licenses,
            prefers_music=True,
            wanted_bpm=wanted_bpm,
            wanted_key=wanted_key,
        )
        query = self._narrowed(query, rights)
        index = RequestIndex(self.home.index)
        windows = _named_windows(request, clearance)
        chosen: list[Reference] = []
        for stem in named:
            if stem.id in windows:
                chosen.append(Reference(windows[stem.id], 1.0, 1))
                continue
            found = self._search(
                replace(
                    query,
                    artist=None,
                    style=False,
                    libraries=(),
                    licenses=(),
                    stems=(stem.id,),
                    k=1,
                ),
                rights,
                index,
            )
            # A stem without a word or sound in common with the prompt is still what was asked for.
            chosen.extend(found or self._first_segment(stem, rights))
        named_ones = tuple(replace(found, rank=i + 1) for i, found in enumerate(chosen))
        k = request.wanted_references - len(chosen)
        if k <= 0:
            return named_ones, ()
        others = (*excluded, *(stem.id for stem in named))
        query = replace(query, exclude=others)
        channels = request.channels - ({Channel.INIT} if request.strength == 1.0 else set())
        sounding, speaking = (
            self._search(replace(query, uses=frozenset({USE_OF[channel]}), k=n), rights, index)
            if channel in channels
            else ()
            for channel, n in ((Channel.INIT, SOUNDING_POOL * k), (Channel.PROMPT, k))
        )
        ranked = (replace(one, rank=len(chosen) + one.rank) for one in speaking)
        asked = instruments_asked_for(request)
        clear = request.key is not None
        moved = (self._in_its_passage(one, asked, clear) for one in sounding)
        return (*named_ones, *ranked), tuple(moved)

    def _in_its_passage(self, found: Reference, asked: Set[str], clear: bool) -> Reference:
        """The reference where the asked instruments play, and where a key is asked for in a clear
        one, if it is a score that can be read."""
        if not (asked or clear) or found.stem.kind is not StemKind.MIDI:
            return found
        try:
            score = self.home.player.score(found.stem)
        except LibraryError:  # who makes its sound is told why
            return found
        return replace(found, segment=passage_of(found.segment, score, asked, clear=clear))

    def _query_vectors(self, request: GenerationRequest) -> tuple[NDArray[np.float32], ...]:
        """Of the sound or score to search by, embedded once for all searches; none without one."""
        audio = self.query_audio(request.audio, request.midi, warns=False)
        if audio is None:
            return ()
        embedder = self.home.embedder
        windows = spread_windows(audio, embedder.window_s, QUERY_WINDOWS)
        return tuple(embedder.embed_audio(windows))

    def _search(
        self, query: ReferenceQuery, rights: Rights, index: RequestIndex | None = None
    ) -> tuple[Reference, ...]:
        """Args: index: as the request asks it, where it searches several times."""
        asked = self.home.index if index is None else index
        return retrieval.find_references(
            query, rights=rights, embedder=self.home.embedder, index=asked
        )

    def _first_segment(self, stem: Stem, rights: Rights) -> tuple[Reference, ...]:
        """The first segment of a stem, as the library has it that was found, not another one."""
        points = [
            point
            for point in self.home.index.find_stem(stem.id)
            if point.segment.stem.library == stem.library and rights.holds_for(point.segment.stem)
        ]
        if not points:
            raise LibraryError(
                f"stem {stem.id[:12]} is in the catalogue and not in the index",
                hint="run rag-audio index on its library again",
            )
        return (Reference(points[0].segment, 0.0, 1),)


def _today() -> datetime:
    """This moment, UTC: a license may begin or end within a day."""
    return datetime.now(UTC)


def _reader(model: object) -> CanRead:
    """What tells which words a model can read; one that does not tell is taken to read all."""
    return model.can_read if isinstance(model, ReadsText) else lambda text: True


def _styled(request: GenerationRequest, clearance: Clearance) -> tuple[Stem, ...]:
    """The stems of the artist whose style is asked for; none without one."""
    if request.artist is None:
        return ()
    return profiles.licensed_stems(
        request.artist, clearance.stems_by(request.artist), clearance.rights
    )


def _named_windows(request: GenerationRequest, clearance: Clearance) -> dict[str, Segment]:
    """The parts of stems that the request names."""
    windows: dict[str, Segment] = {}
    for reference in request.references:
        prefix, window = named_window(reference)
        if window is None:
            continue
        stem = clearance.stem(prefix)
        start_s, end_s = window[0], min(window[1] or stem.duration_s, stem.duration_s)
        if end_s - start_s < _SHORTEST_WINDOW_S:
            till = "its end" if window[1] is None else f"{window[1]:g} s"
            raise InvalidInput(
                f"the part of {stem.path} from {start_s:g} s to {till} has less than "
                f"{_SHORTEST_WINDOW_S:g} s: the stem lasts {stem.duration_s:.1f} s",
                hint="name a longer part of it",
            )
        segment = Segment(stem, start_s, end_s - start_s)
        if windows.setdefault(stem.id, segment) != segment:
            raise InvalidInput(
                f"two parts of {stem.path} are named as references",
                hint="name one part of a stem; --arrange says who plays when",
            )
    return windows


def _measurable_plan(entry: LedgerEntry) -> ConditioningPlan:
    """The plan of an output whose sources' influence can be measured."""
    output = entry.record.output
    if entry.erased:
        raise InvalidInput(
            f"the texts of output {output} were erased",
            hint="its plan can no longer be run, so its influence can no longer be measured",
        )
    plan = plan_from_json(entry.record.plan)
    if plan.edit is not None:
        raise InvalidInput(
            f"output {output} is an edit; what sources did in it cannot be measured",
            hint="measure the output that was edited: rag-audio trace names the ancestors",
        )
    return plan


def _require_measurable(plan: ConditioningPlan, rights: Rights) -> None:
    seeding = {part.reference for part in plan.seed_parts}
    for i, reference in enumerate(plan.references):
        for channel in plan.channels:
            if channel.value == "init" and i not in seeding:
                continue
            why = rights.why_not(reference.stem, USE_OF[channel])
            if why is not None:
                raise RequestRefused(
                    f"refused: measuring would use {reference.stem.path} again: {why.reason}",
                    hint=f"what was measured before is in: rag-audio trace FILE; {why.cure}",
                    reasons=[why.reason],
                )
