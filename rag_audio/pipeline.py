"""The main path, top to bottom: guard, retrieve, plan, generate, guard, mark, log, give out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Protocol

import numpy as np
import structlog

from rag_audio import (
    audio,
    conditioning,
    following,
    guarding,
    guardrails,
    midi,
    names,
    retrieval,
    sourcing,
)
from rag_audio.controls import named_window
from rag_audio.delivery import Delivery, TakeOver, hand_over, name_of, packing
from rag_audio.disclosure import Disclosure, renamed
from rag_audio.domain import (
    Audio,
    ConditioningPlan,
    GenerationRequest,
    GenerationResult,
    Layer,
    Reference,
    Rights,
    Segment,
    Stem,
    StemKind,
)
from rag_audio.errors import InvalidInput, LibraryError, RequestRefused
from rag_audio.foreign import ForeignFinding
from rag_audio.foreign_sound import StoredLandmarks
from rag_audio.gate import RightsGate
from rag_audio.keeping import SoundCache
from rag_audio.measuring import measure_output
from rag_audio.ports import (
    Catalogue,
    Embedder,
    Generator,
    Ledger,
    Progress,
    StemIndex,
    StopAsked,
    Watermarker,
)
from rag_audio.profiles import (
    ArtistProfile,
    licensed_stems,
    make_profile,
    typical_words,
    wanted_tempo_and_key,
)
from rag_audio.provenance import trace
from rag_audio.provenance.causal import CausalInfluence, Method
from rag_audio.provenance.fingerprint_store import SqlFingerprints
from rag_audio.provenance.license_audit import CLEARED, now
from rag_audio.reading import Reader
from rag_audio.retrieval import QUERY_WINDOWS, ReferenceQuery
from rag_audio.signing import Credentials, Signer
from rag_audio.takes import Studio

log = structlog.get_logger("rag_audio.pipeline")

OnStage = Callable[[str, int, int], None]
"""Called with (stage, done, total); stages: retrieve, generate, write."""

DEFAULT_REFERENCES = 3
_SHORTEST_WINDOW_S = 1.0
NO_LICENSE_SIMILARITY = 0.5


class Parts(Protocol):
    """What the main path works with; each part is made when it is first asked for."""

    @property
    def embedder(self) -> Embedder: ...
    @property
    def index(self) -> StemIndex: ...
    @property
    def catalogue(self) -> Catalogue: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def fingerprints(self) -> SqlFingerprints: ...
    @property
    def landmarks(self) -> StoredLandmarks: ...
    def credentials_of(self, path: Path) -> Credentials | None: ...
    @property
    def signer(self) -> Signer: ...
    @property
    def watermarker(self) -> Watermarker: ...
    @property
    def kept(self) -> SoundCache: ...
    @property
    def soundfont(self) -> Path: ...
    @property
    def masters(self) -> Path: ...
    @property
    def territory(self) -> str | None: ...
    @property
    def protected_names(self) -> guardrails.Roster: ...
    @property
    def guard_actions(self) -> Mapping[str, guardrails.Action]: ...
    @property
    def device(self) -> str: ...
    @property
    def retries(self) -> int: ...
    @property
    def disclosure(self) -> Disclosure: ...
    @property
    def reader(self) -> Reader: ...
    def generator(self, model: str | None) -> Generator: ...


class Pipeline:
    """Index aside, everything the product does; holds no state but its parts."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.gate = RightsGate(parts, self._load_segment, lambda: _today())

    def rights(self, territory: str | None = None) -> Rights:
        """Licenses and revocations as they stand now, for ``territory`` or the configured one."""
        return self.gate.rights(territory)

    def policy(self, territory: str | None = None) -> guardrails.Policy:
        """Whose style may be asked for, now."""
        return self.gate.policy(territory)

    def artist_named(self, name: str) -> str:
        """An artist of the library, as the library writes the name.

        Raises:
            InvalidInput: no indexed stem has such an artist, or several are written so.
        """
        known = {stem.artist for stem in self.parts.catalogue.stems() if stem.artist}
        found = names.resolve(name, known)
        if found is not None:
            return found
        policy = self.policy()
        barred = names.resolve(name, policy.unlicensed)
        why = None if barred is None else policy.why_not(barred)
        said = "" if why is None else f": {why.reason}"
        raise InvalidInput(
            f"no indexed stem is by {barred or name!r}{said}",
            hint="rag-audio artists lists who there is" if why is None else why.cure,
        )

    def artist_profile(self, name: str, territory: str | None = None) -> ArtistProfile:
        """What is typical of an artist, from the stems that are licensed for style now.

        Raises:
            RequestRefused: nobody licensed for style has that name.
        """
        artist = guardrails.require_artist(name, self.policy(territory))
        return self._profile(artist, self.rights(territory))

    def _profile(self, artist: str, rights: Rights) -> ArtistProfile:
        return make_profile(artist, self.parts.catalogue.stems(), rights, self.parts.index)

    def search(self, query: ReferenceQuery, territory: str | None = None) -> tuple[Reference, ...]:
        """Licensed segments nearest to the query, one per stem, best first.

        Raises:
            RequestRefused: a stem to resemble may not be used itself.
        """
        for stem in query.like:
            self.gate.require_stem(self.parts.catalogue.stem(stem), territory, "resembled")
        return retrieval.find_references(
            query,
            rights=self.rights(territory),
            embedder=self.parts.embedder,
            index=self.parts.index,
        )

    def why_nothing(self, artist: str | None, territory: str | None = None) -> list[str]:
        """Why a search that found nothing could find nothing, see :mod:`.sourcing`."""
        stems = self.parts.catalogue.stems()
        return sourcing.why_nothing(stems, self.rights(territory), self.parts.index, artist)

    def plan(self, request: GenerationRequest) -> ConditioningPlan:
        """What :meth:`generate` would give to the model.

        Raises:
            RequestRefused: guardrails or rights do not allow it.
        """
        return self._planned(request)[0]

    def _planned(
        self, request: GenerationRequest
    ) -> tuple[ConditioningPlan, tuple[ForeignFinding, ...]]:
        """The plan, and what is known of the files that the request brings."""
        plan, findings, _ = self.plan_words(request)
        return plan, findings

    def plan_words(
        self, request: GenerationRequest, *, audio_is_known: bool = False
    ) -> tuple[ConditioningPlan, tuple[ForeignFinding, ...], GenerationRequest]:
        """The plan, what is known of the request's files, and the request as guardrails leave it.

        Args:
            audio_is_known: the request's audio was let in already.

        Raises:
            RequestRefused: guardrails or rights do not allow it.
        """
        policy = self.policy(request.territory)
        request, guarded = guarding.guard_request(request, policy, self.parts.ledger)
        brought = replace(request, audio=None, audio_as=None) if audio_is_known else request
        findings = self.gate.inspect(brought)
        rights = self.rights(request.territory)
        melody, heard = following.melody_of(brought, findings, rights, self._brought)
        # Who hums wants to sound like something else: the words find that, not the hum.
        sought = request if melody is None else replace(request, audio=None, audio_as=None)
        references = self.find_references(sought, rights)
        generator = self.parts.generator(request.model)
        plan = conditioning.make_plan(
            request,
            references,
            rights=self.gate.require_references(references, request),
            info=generator.info,
            count_tokens=generator.count_tokens,
            seed=secrets.randbits(31) if request.seed is None else request.seed,
            is_clean=guarding.phrase_filter(policy),
            typical=typical_words(self._styled(request, self.rights(request.territory))),
            brought=melody,
        )
        self.gate.require_source(plan, request)
        guarding.guard_text(plan.enriched_prompt, policy, self.parts.ledger, "enriched")
        told = self.parts.disclosure
        said = tuple(note for finding in findings for note in finding.notes(told))
        plan = replace(plan, notes=(*guarded, *heard, *plan.notes, *said))
        return plan, findings, request

    def _styled(self, request: GenerationRequest, rights: Rights) -> tuple[Stem, ...]:
        """The stems of the artist whose style is asked for; none where nobody's is."""
        if request.artist is None:
            return ()
        return licensed_stems(request.artist, self.parts.catalogue.stems(), rights)

    def generate(
        self,
        request: GenerationRequest,
        out: Path,
        on_stage: OnStage | None = None,
        stop_asked: StopAsked | None = None,
        older: ConditioningPlan | None = None,
        take_over: TakeOver | None = None,
        accepted: ConditioningPlan | None = None,
    ) -> tuple[GenerationResult, ...]:
        """Make, mark, log and write one output per variation.

        Args:
            out: where it goes; the ending chooses the format. With several variations the name
                gets ``-1``, ``-2``, … Nothing stands there before the ledger holds the record.
            older: a plan to make in place of a new one, held against today's rights; ``request``
                is then the one of :func:`rag_audio.conditioning.request_of`.
            take_over: is given the outputs in the transaction that logs them all.
            accepted: the plan that :meth:`plan` made of ``request`` and that was shown: it is made,
                under the rights, the guardrails and with the model of now, or nothing is.

        Raises:
            RequestRefused, OutputRefused, Cancelled: nothing was written.
        """
        say = on_stage or (lambda stage, done, total: None)
        audio.check_writable(out, request.subtype)
        # Keys that do not fit are told of before any work is done.
        _ = (self.parts.signer, self.parts.watermarker)
        say("retrieve", 0, 1)
        asked = request
        if accepted is not None:
            asked = replace(request, artist=accepted.artist)  # guardrails may have named one
            plan, findings = self._taken_up(asked, accepted)
        elif older is None:
            plan, findings = self._planned(request)
        else:
            plan, findings = self.renew(request, older), ()
        say("retrieve", 1, 1)
        generator = self.parts.generator(request.model)
        studio = self.studio(request, generator)
        cleared = now()
        plan = self.gate.still_clear(plan, asked, findings)
        takes = studio.make(plan, partial(say, "generate"), stop_asked)
        with packing() as parcels:
            for i, take in enumerate(takes):
                say("write", i, len(takes))
                self.gate.still_clear(take.plan, asked, findings)
                delivery = Delivery(self.parts, request, take.plan, generator.info)
                target = name_of(out, i, len(takes))
                checks = {**take.checks(), CLEARED: cleared}
                parcels.append(delivery.pack(take.audio, take.seed, target, checks))
        results = hand_over(self.parts, parcels, take_over)
        say("write", len(takes), len(takes))
        return results

    def studio(self, request: GenerationRequest, generator: Generator) -> Studio:
        """Where takes of a request are made and inspected."""
        self.parts.kept.keep_in_step(generator)
        limits = self._similarity_limits(request.territory)
        load = self._load_segment
        told = self.parts.disclosure
        return Studio(self.parts, limits, load, generator, load, self.parts.kept, told)

    def _taken_up(
        self, request: GenerationRequest, accepted: ConditioningPlan
    ) -> tuple[ConditioningPlan, tuple[ForeignFinding, ...]]:
        """A plan that was shown, and what is known now of the files that the request brings."""
        findings = self.gate.inspect(request)
        following.require_as_planned(accepted, request, findings, self.parts.disclosure)
        return self.renew(request, accepted, shown=True), findings

    def renew(
        self, request: GenerationRequest, older: ConditioningPlan, *, shown: bool = False
    ) -> ConditioningPlan:
        """An older plan, by the stems, licenses and guardrails of now.

        Args:
            shown: it was made here and shown, see :func:`rag_audio.conditioning.renew_plan`.

        Raises:
            RequestRefused: guardrails or rights do not allow it (any more).
            InvalidInput: it contradicts itself, the catalogue or the model; or a source of a plan
                that was shown is described otherwise now.
        """
        policy = self.policy(request.territory)
        for text, rules in (
            (older.prompt, policy),
            (older.negative_prompt, policy.describing()),
            (older.enriched_prompt, policy),
        ):
            decision = guarding.guard_text(text, rules, self.parts.ledger, "plan")
            if decision.action is not guardrails.Action.ALLOW:
                raise RequestRefused(
                    f"refused: the plan's words would be rewritten now: {decision.reason}",
                    hint="make a new plan",
                    matches=decision.matches,
                )
        generator = self.parts.generator(request.model)
        renewed = conditioning.renew_plan(
            older,
            copies=self.parts.catalogue.copies,
            withheld=self.parts.catalogue.withheld_copies,
            rights=self.rights(request.territory),
            info=generator.info,
            count_tokens=generator.count_tokens,
            shown=shown,
        )
        self.gate.require_style(renewed, request)
        return renewed

    def trace(self, path: Path) -> trace.TraceResult:
        """What went into the audio at ``path``."""
        return trace.trace(
            path,
            ledger=self.parts.ledger,
            watermarker=self.parts.watermarker,
            rights=self.rights(),
            fingerprints=self.parts.fingerprints,
            read_manifest=self.parts.credentials_of,
            master=self.master,
            hear=partial(self.parts.reader.hear, max_duration_s=None, allow_truncated=True),
        )

    def influence(
        self,
        output: int,
        method: Method = "fast",
        progress: Progress | None = None,
        stop_asked: StopAsked | None = None,
    ) -> CausalInfluence:
        """Measure what each source did to an output of the ledger; see :mod:`.measuring`."""
        return measure_output(
            output,
            parts=self.parts,
            rights=self.rights(),
            load=self._load_segment,
            render=self._load_segment,
            method=method,
            progress=progress,
            stop_asked=stop_asked,
        )

    def master(self, output: int) -> Audio | None:
        """The unmarked sound of an output, where it is still kept."""
        path = self.parts.masters / f"{output}.wav"
        return audio.load(path, max_duration_s=None) if path.is_file() else None

    def hear(self, reference: Reference, sample_rate: int = 44100) -> Audio:
        """The sound of a reference's segment, as the library has it."""
        return self._load_segment(reference.segment, sample_rate)

    def render(self, segment: Segment, sample_rate: int = 44100) -> Audio:
        """The sound of a segment, as the library has it."""
        return self._load_segment(segment, sample_rate)

    def query_audio(self, path: str | None, midi_path: str | None) -> Audio | None:
        """The sound of a query: an audio file, or a MIDI file rendered; None when neither."""
        if path is not None and midi_path is not None:
            raise InvalidInput("give audio or MIDI to search by, not both")
        if path is not None:
            return self._brought(Path(path))
        if midi_path is not None:
            return self._played(Path(midi_path))
        return None

    def _brought(self, path: Path) -> Audio:
        """The sound of a file that the request brings."""
        return self.parts.reader.hear(path).audio

    def _played(self, path: Path) -> Audio:
        """A score as a search hears it: all of it, or the windows that a search looks at."""
        score, window_s = self.parts.reader.score(path), self.parts.embedder.window_s
        played = midi.excerpts(score, window_s, QUERY_WINDOWS, soundfont=self.parts.soundfont)
        rate = played[0].sample_rate
        return Audio(np.concatenate([one.samples for one in played], axis=1), rate)

    def find_references(self, request: GenerationRequest, rights: Rights) -> tuple[Reference, ...]:
        """The named references, then the nearest others up to ``k``."""
        wanted = tuple(conditioning.USE_OF[channel] for channel in sorted(request.channels))
        stems = (self.parts.catalogue.stem(prefix) for prefix in request.named)
        named = tuple({stem.id: stem for stem in stems}.values())
        excluded = tuple(self.parts.catalogue.stem(prefix).id for prefix in request.exclude)
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
        wanted_bpm, wanted_key = wanted_tempo_and_key(request, self._styled(request, rights))
        query = ReferenceQuery(
            text=request.prompt,
            audio=self.query_audio(request.audio, request.midi),
            artist=request.artist,
            exclude=excluded,
            uses=frozenset(wanted),
            style=request.artist is not None,
            wanted_bpm=wanted_bpm,
            wanted_key=wanted_key,
        )
        windows = self._named_windows(request)
        chosen: list[Reference] = []
        for stem in named:
            if stem.id in windows:
                chosen.append(Reference(windows[stem.id], 1.0, 1))
                continue
            found = self._search(
                replace(query, artist=None, style=False, stems=(stem.id,), k=1),
                rights,
            )
            # A stem without a word or sound in common with the prompt is still what was asked for.
            chosen.extend(found or self._first_segment(stem, rights))
        k = request.k if request.k is not None else (0 if named else DEFAULT_REFERENCES)
        if k > len(chosen):
            others = (*excluded, *(stem.id for stem in named))
            chosen.extend(self._search(replace(query, exclude=others, k=k - len(chosen)), rights))
        return tuple(replace(found, rank=i + 1) for i, found in enumerate(chosen))

    def _named_windows(self, request: GenerationRequest) -> dict[str, Segment]:
        """The parts of stems that the request names."""
        windows: dict[str, Segment] = {}
        for reference in request.references:
            prefix, window = named_window(reference)
            if window is None:
                continue
            stem = self.parts.catalogue.stem(prefix)
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

    def _search(self, query: ReferenceQuery, rights: Rights) -> tuple[Reference, ...]:
        return retrieval.find_references(
            query, rights=rights, embedder=self.parts.embedder, index=self.parts.index
        )

    def _first_segment(self, stem: Stem, rights: Rights) -> tuple[Reference, ...]:
        """The first segment of a stem, as the library has it that was found, not another one."""
        points = [
            point
            for point in self.parts.index.find_stem(stem.id)
            if point.segment.stem.library == stem.library and rights.holds_for(point.segment.stem)
        ]
        if not points:
            raise LibraryError(
                f"stem {stem.id[:12]} is in the catalogue and not in the index",
                hint="run rag-audio index on its library again",
            )
        return (Reference(points[0].segment, 0.0, 1),)

    def _load_segment(
        self,
        segment: Segment,
        sample_rate: int,
        tempo_ratio: float = 1.0,
        semitones: int = 0,
        instruments: tuple[str, ...] = (),
        layer: Layer | None = None,
    ) -> Audio:
        """The segment's sound; the file must still be the one that was indexed and licensed.

        The last four say how a score is played; a recording stays as it is.
        """
        path = Path(self.parts.catalogue.file_of(segment.stem))
        if not self.parts.disclosure.knows(segment.stem.library):
            return self._load_hidden(path, segment, sample_rate)
        return self._load_known(
            path, segment, sample_rate, tempo_ratio, semitones, instruments, layer
        )

    def _load_hidden(self, path: Path, segment: Segment, sample_rate: int) -> Audio:
        """A segment that an output is held against and its maker may not know of."""
        try:
            return self._load_known(path, segment, sample_rate)
        except LibraryError as error:
            log.error("a stem that outputs are held against cannot be read", file=str(path))
            raise LibraryError(
                "the output cannot be checked now", hint="tell the operator of this service"
            ) from error

    def _load_known(
        self,
        path: Path,
        segment: Segment,
        sample_rate: int,
        tempo_ratio: float = 1.0,
        semitones: int = 0,
        instruments: tuple[str, ...] = (),
        layer: Layer | None = None,
    ) -> Audio:
        name = self.parts.disclosure.file_of(segment.stem, path)
        try:
            with path.open("rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise LibraryError(
                f"{name} cannot be read: {error.strerror}", hint="index the library again"
            ) from error
        if digest != segment.stem.id:
            raise LibraryError(
                f"{name} changed since it was indexed", hint="run rag-audio index on its library"
            )
        try:
            return self._heard(
                path, segment, sample_rate, tempo_ratio, semitones, instruments, layer
            )
        except LibraryError as error:
            raise renamed(error, path, name) from error

    def _heard(
        self,
        path: Path,
        segment: Segment,
        sample_rate: int,
        tempo_ratio: float,
        semitones: int,
        instruments: tuple[str, ...],
        layer: Layer | None,
    ) -> Audio:
        where = (segment.stem.id, segment.start_s, segment.duration_s)
        if segment.stem.kind is StemKind.AUDIO:
            return self.parts.kept.of(
                (*where, sample_rate),
                lambda: audio.load(
                    path,
                    sample_rate=sample_rate,
                    start_s=segment.start_s,
                    duration_s=segment.duration_s,
                ),
            )
        return self.parts.kept.of(
            (*where, sample_rate, tempo_ratio, semitones, instruments, layer, self.parts.soundfont),
            lambda: midi.render(
                path,
                soundfont=self.parts.soundfont,
                sample_rate=sample_rate,
                start_s=segment.start_s,
                duration_s=segment.duration_s,
                tempo_ratio=tempo_ratio,
                semitones=semitones,
                instruments=instruments,
                layer=layer,
            ),
        )

    def _similarity_limits(self, territory: str | None) -> dict[str, float]:
        """How near a copy may be, by license: of all there are, also of those that grant nothing.

        A stem whose license is no longer in the catalogue may not be resembled at all closely. A
        stem that several licenses claim has a limit by its id: the smallest of theirs.
        """
        rights = self.rights(territory)
        found = {key: granted.max_similarity for key, granted in rights.licenses.items()}
        for stem in self.parts.catalogue.stems():
            found.setdefault(stem.license_key, NO_LICENSE_SIMILARITY)
        for id_, conflict in rights.conflicts.items():
            keys = conflict.outcome.licenses
            found[id_] = min(found.get(key, NO_LICENSE_SIMILARITY) for key in keys)
        return found


def _today() -> datetime:
    """This moment, UTC: a license may begin or end within a day."""
    return datetime.now(UTC)
