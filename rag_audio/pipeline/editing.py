"""How a file is edited: open, guard, plan, paint, guard, mark, log, deliver."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from rag_audio.audio import analysis, writing
from rag_audio.audio.dsp import fade_edges
from rag_audio.domain import (
    Audio,
    AudioAs,
    Channel,
    ConditioningPlan,
    Edit,
    GenerationRequest,
    GenerationResult,
    InheritedSource,
    Key,
    Reference,
    Rights,
)
from rag_audio.domain.clearance import Clearance
from rag_audio.domain.ports import DiffusionInput, Progress, StopAsked
from rag_audio.errors import InvalidInput, RequestRefused
from rag_audio.generation.drum_patterns import continued
from rag_audio.generation.inpainting import Grid, paint
from rag_audio.generation.replay import claims_on
from rag_audio.pipeline.delivery import OnCommit, OnStage, deliver
from rag_audio.pipeline.edit_orders import STRENGTHS, VARY, Order, canvas_of
from rag_audio.pipeline.edit_source import EditSource, open_source, require_rights, sources_in
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.pipeline.renderer import Renderer, Take
from rag_audio.provenance.ledger.commitments import ERASED

_CLEAR_TEMPO = 0.3
_MEASURED_S = 30.0
_MP3_HZ = 48_000


class Editor:
    """Edits sound on the home of a pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.home = pipeline, pipeline.home

    def edit(
        self,
        file: Path,
        prompt: str,
        order: Order,
        out: Path,
        *,
        on_stage: OnStage | None = None,
        stop_asked: StopAsked | None = None,
        on_commit: OnCommit | None = None,
        accepted: ConditioningPlan | None = None,
        **fields: Any,
    ) -> tuple[GenerationResult, ...]:
        """Make, mark, log and write one output per variation.

        Args:
            prompt: what the new part should be like; empty: the words of the output it is.
            on_commit: is given the outputs in the transaction that logs them all.
            accepted: the plan that :meth:`plan` made of the same edit and that was shown: it is
                made, under the present rights and guardrails, or nothing is.
            fields: further fields of :class:`GenerationRequest`. References are used only where
                some are asked for (``k``, ``references`` or ``artist``).

        Raises:
            RequestRefused, OutputRefused, Cancelled: nothing was written.
            InvalidInput: the file or the order cannot be used so.
        """
        say = on_stage or (lambda stage, done, total: None)
        writing.check_writable(out)
        _ = self.home.signer
        say("retrieve", 0, 1)
        clearance = self.pipeline.clearance(fields.get("territory"))
        source, request, plan = self._planned(file, prompt, order, out, fields, clearance, accepted)
        generator = self.home.generator(request.model)
        say("retrieve", 1, 1)
        renderer = self.pipeline.renderer(clearance, generator)
        takes = []
        for i in range(plan.variations):
            told = partial(_told, say, i, plan.variations)
            told(0, plan.steps)
            made = self._make(plan, plan.seed + i, source, order, renderer, told, stop_asked)
            takes.append(Take(made, plan.seed + i, plan, renderer.inspect(made, plan)))

        def clear(made: ConditioningPlan) -> tuple[ConditioningPlan, date]:
            again = self.pipeline.clearance(request.territory)
            require_rights(source, again.rights, request.audio_rights, self.home.disclosure)
            return self.pipeline.gate.still_clear(made, request, (), again), again.moment

        return deliver(
            self.home, request, takes, clear, generator.info, out, say, source.opened, on_commit
        )

    def plan(
        self, file: Path, prompt: str, order: Order, out: Path, **fields: Any
    ) -> ConditioningPlan:
        """What :meth:`edit` would give to the model; nothing is made.

        Args:
            out: whose ending says which format it would have.

        Raises:
            RequestRefused, InvalidInput: as :meth:`edit`.
        """
        clearance = self.pipeline.clearance(fields.get("territory"))
        return self._planned(file, prompt, order, out, fields, clearance)[-1]

    def _planned(
        self,
        file: Path,
        prompt: str,
        order: Order,
        out: Path,
        fields: dict[str, Any],
        clearance: Clearance,
        accepted: ConditioningPlan | None = None,
    ) -> tuple[EditSource, GenerationRequest, ConditioningPlan]:
        """The opened file, the request as guardrails leave it, and the plan."""
        rights, stated = clearance.rights, fields.get("audio_rights")
        source = open_source(file, self.home, self.pipeline.gate.inspector(rights))
        require_rights(source, rights, stated, self.home.disclosure)
        _check_fits(source.audio, out)
        order.made(source.audio.duration_s)
        request, notes = self._request(source, prompt, order, fields)
        if accepted is not None:
            request = replace(
                request,
                prompt=accepted.prompt,
                negative_prompt=accepted.negative_prompt,
                artist=accepted.artist,
            )
            return source, request, self._renewed(accepted, request, source, order, clearance)
        request, plan = self._plan(request, source, order, clearance)
        return source, request, replace(plan, notes=(*notes, *plan.notes))

    def _renewed(
        self,
        accepted: ConditioningPlan,
        request: GenerationRequest,
        source: EditSource,
        order: Order,
        clearance: Clearance,
    ) -> ConditioningPlan:
        """A plan that was shown, where the edited sound is still known as what it was then."""
        plan = self.pipeline.renewed(request, accepted, clearance, shown=True)
        own = replace(plan, edit=None, references=plan.references[: plan.own_references])
        again = _with_inherited(own, source, order, clearance.rights, request.audio_rights)
        if (again.edit, again.references) != (plan.edit, plan.references):
            raise RequestRefused(
                "refused: the edited sound, or what is known of its sources, changed since the "
                "plan was made",
                hint="make a new plan",
            )
        return again

    def _request(
        self, source: EditSource, prompt: str, order: Order, fields: dict[str, Any]
    ) -> tuple[GenerationRequest, tuple[str, ...]]:
        """The request that an edit stands for, and notes of what was measured for it."""
        older = {} if source.parent is None else source.parent.record.plan
        words = prompt.strip() or str(older.get("prompt", ""))
        if not words or words == ERASED:
            raise InvalidInput("the new part has no prompt", hint="say it in the prompt")
        if fields.get("enforce"):
            raise InvalidInput(
                "tempo and key cannot be enforced in an edit: it keeps the rest of the file",
                hint="leave enforce out; rag-audio generate --enforce makes a piece anew",
            )
        notes: list[str] = []
        given = dict(fields)
        if given.get("bpm") is None:
            given["bpm"] = older.get("bpm") or _tempo(source.audio, notes)
        if given.get("time_signature") is None:
            given["time_signature"] = source.time_signature
        if given.get("key") is None and older.get("key"):
            given["key"] = Key.parse(str(older["key"]))
        wants = given.get("references") or given.get("artist") is not None
        if given.get("k") is None and not wants:
            given["k"] = 0
        if order.kind == VARY:
            given["channels"] = frozenset({Channel.PROMPT})
        duration_s = order.left_s + source.audio.duration_s + order.right_s
        given |= {"prompt": words, "audio": str(source.path), "duration_s": duration_s}
        given["audio_as"] = AudioAs.SEARCH
        return GenerationRequest(**given), tuple(notes)

    def _plan(
        self, request: GenerationRequest, source: EditSource, order: Order, clearance: Clearance
    ) -> tuple[GenerationRequest, ConditioningPlan]:
        planned = self.pipeline.planned(request, clearance, audio_is_known=True)
        request, plan = planned.request, planned.plan
        info = self.home.generator(request.model).info
        strength = plan.strength
        if not plan.seed_parts:
            usual = STRENGTHS.get(order.kind, info.default_strength)
            strength = usual if request.strength is None else request.strength
        # What a generation without references says of itself is not so of an edit.
        notes = tuple(note for note in plan.notes if not note.startswith("no licensed reference"))
        if request.time_signature is not None and plan.bpm is None:
            notes = (*notes, "bar lines are not followed: no tempo is known (--bpm)")
        plan = replace(plan, strength=strength, notes=notes)
        plan = _with_inherited(plan, source, order, clearance.rights, request.audio_rights)
        said = source.finding.notes(self.home.disclosure)
        return request, replace(plan, notes=(*plan.notes, *said))

    def _make(
        self,
        plan: ConditioningPlan,
        seed: int,
        source: EditSource,
        order: Order,
        renderer: Renderer,
        progress: Progress,
        stop_asked: StopAsked | None,
    ) -> Audio:
        grid = Grid(plan.bar_s, source.bar_line_s)
        canvas = canvas_of(order, source.audio, grid, _seed(plan, order, grid, renderer))
        batch = DiffusionInput.of(plan, (seed,))
        made = paint(canvas, batch, renderer.generator, progress, stop_asked).audio
        return fade_edges(made, start=order.left_s > 0, end=order.right_s > 0)


def _seed(plan: ConditioningPlan, order: Order, grid: Grid, renderer: Renderer) -> Audio | None:
    """The references' seed mix, on the bar lines of the edited sound."""
    ahead_s = order.ahead_s(grid)
    if ahead_s == 0.0 or any(part.start_s or part.end_s is not None for part in plan.seed_parts):
        return renderer.seed_audio(plan)
    until_s = plan.duration_s + ahead_s
    parts = tuple(
        replace(part, hits_s=continued(part.hits_s, plan.bar_s, plan.duration_s, until_s))
        for part in plan.seed_parts
    )
    made = renderer.seed_audio(replace(plan, duration_s=until_s, seed_parts=parts))
    if made is None:
        return None
    return Audio(made.samples[:, round(ahead_s * made.sample_rate) :], made.sample_rate)


def _check_fits(heard: Audio, out: Path) -> None:
    """An edit has the file's rate and channels: MP3 holds two, and 48 kHz at most."""
    if out.suffix.lower() == ".mp3" and (heard.channels > 2 or heard.sample_rate > _MP3_HZ):
        raise InvalidInput(
            f"{out.name} cannot hold {heard.channels} channels at {heard.sample_rate} Hz",
            hint="an edit keeps those of its file, which WAV and FLAC hold",
        )


def _told(say: OnStage, number: int, count: int, done: int, total: int) -> None:
    say("generate", number * total + done, count * total)


def _tempo(heard: Audio, notes: list[str]) -> float | None:
    """The sound's tempo, where it is clear."""
    frames = round(_MEASURED_S * heard.sample_rate)
    found = analysis.analyse(Audio(heard.samples[:, :frames], heard.sample_rate))
    if found.bpm is None or found.bpm_confidence < _CLEAR_TEMPO:
        return None
    notes.append(f"tempo of the file, as measured: {found.bpm:.1f} bpm")
    return found.bpm


def _with_inherited(
    plan: ConditioningPlan, source: EditSource, order: Order, rights: Rights, stated: str | None
) -> ConditioningPlan:
    """The plan of an edit: with what went into the edited sound among its references."""
    references: list[Reference] = list(plan.references)
    inherited = []
    for reference, used in sources_in(source, rights):
        same = [i for i, one in enumerate(references) if one.segment == reference.segment]
        if not same:
            same = [len(references)]
            references.append(replace(reference, rank=len(references) + 1))
        inherited.append(InheritedSource(same[0], used))
    licenses, held_by = claims_on([reference.stem for reference in references], rights)
    duration_s = source.audio.duration_s
    edit = Edit(
        kind=order.kind,
        parent=None if source.parent is None else source.parent.record.output,
        ancestors=source.ancestors,
        source_sha256=source.finding.sha256,
        source_rights=stated if source.is_foreign else None,
        regions=order.made(duration_s),
        kept=order.kept(duration_s, 1.0 if plan.seed_parts else plan.strength),
        inherited=tuple(inherited),
        bar_line_s=source.bar_line_s + order.left_s,
    )
    return replace(
        plan, references=tuple(references), licenses=licenses, held_by=held_by, edit=edit
    )
