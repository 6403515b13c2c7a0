"""The Python API: an object that indexes, searches, plans, generates and traces."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rag_audio.domain import (
    Audio,
    ConditioningPlan,
    GenerationRequest,
    GenerationResult,
    Reference,
    arguments,
    coercion,
    limits,
)
from rag_audio.domain.ports import SpaceState
from rag_audio.domain.stems import AnalysisScope, EngineName, Refresh
from rag_audio.errors import InvalidInput
from rag_audio.generation.replay import request_of
from rag_audio.home import SPOOL, Home
from rag_audio.pipeline.delivery import OnStage
from rag_audio.pipeline.edit_orders import EXTEND, INPAINT, VARY, Order
from rag_audio.pipeline.editing import Editor
from rag_audio.pipeline.pipeline import Pipeline
from rag_audio.retrieval.references import ReferenceQuery
from rag_audio.settings import Settings, read_settings

if TYPE_CHECKING:
    from indexer.build import IndexProgress, IndexReport
    from indexer.reembedding import ReembeddingReport
    from rag_audio.domain.ports import Embedder, Progress
    from rag_audio.domain.signing import Signer
    from rag_audio.provenance.counterfactual import CausalInfluence, Method
    from rag_audio.provenance.trace.findings import TraceResult
    from rag_audio.retrieval.profiles import ArtistProfile


class Workspace(AbstractContextManager["Workspace"]):
    """The Python API: what ``rag_audio.open(home)`` gives.

    Use it in a ``with`` statement, which lets go of index and database at its end.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = Home(settings)
        self.pipeline = Pipeline(self.home)

    def index(
        self,
        library: str | Path,
        *,
        prune: bool = False,
        workers: int = 1,
        progress: IndexProgress | None = None,
        refresh: str | None = None,
        building: Progress | None = None,
        analysis: str = "full",
        engine: str = "local",
        join: bool = False,
    ) -> IndexReport:
        """Bring the index up to date with a licensed library (``library.toml``, ``stems.csv``).

        Args:
            library: folder, or a URL such as ``s3://bucket/prefix``.
            refresh: ``analysis`` measures unchanged files anew, too, that a release with other
                measurements indexed; nothing is embedded again.
            building: is told of segments that are built into what searches go through, where that
                is done here.
            analysis: ``full`` estimates tempo, key and sample type of sound where nobody declared
                them; ``none`` estimates none of them.
            engine: ``local`` measures and embeds in ``workers`` processes, ``ray`` on the Ray
                cluster of ``RAY_ADDRESS``, or on one that it starts here.
            join: work with another process that indexes this library.
        """
        from indexer.build import index_library
        from rag_audio.audio import midi
        from rag_audio.storage.library_files import open_library
        from rag_audio.storage.shared_index import SharedIndex

        place = coercion.file_name("library", library)
        processes = coercion.whole("workers", workers)
        limits.WORKERS.check("workers", processes)
        if refresh is not None:
            coercion.one_of("refresh", refresh, Refresh)
        scope = coercion.one_of("analysis", analysis, AnalysisScope)
        engine_name = coercion.one_of("engine", engine, EngineName)
        is_spread = engine_name is EngineName.RAY or not _has_gpu(self.settings)
        report = index_library(
            open_library(place, self.home.copy_room),
            embedder=self.home.embedder,
            index=self.home.index,
            catalogue=self.home.catalogue,
            render=partial(midi.render, soundfont=self.home.soundfont),
            prune=prune,
            workers=processes,
            progress=progress,
            spool=self.home.folder / SPOOL,
            refresh=refresh is not None,
            analysis=scope,
            engine=engine_name,
            # One process feeds a graphics card better than several.
            make_embedder=self.home.embedder_maker() if is_spread else None,
            join=join,
        )
        if isinstance(self.home.index, SharedIndex):
            self.home.index.build(building)
        return report

    def embed_anew(
        self,
        embedder: str | Path | Embedder,
        *,
        switch: bool = False,
        incomplete: bool = False,
        workers: int = 1,
        progress: IndexProgress | None = None,
        building: Progress | None = None,
    ) -> ReembeddingReport:
        """Embed all stems with another embedder, beside the index in use, which stays as it is.

        It goes on where a run that was ended has stopped.

        Args:
            embedder: directory, plugin or hub id, or the embedder itself.
            switch: let searches of processes that start from now on use it; what the home has no
                setting for follows by itself.
            incomplete: switch although stems could not be embedded.
            building: is told how many segments are built in when all are embedded.

        Raises:
            InvalidInput: the index in use is of this embedder.
            LibraryError: it is not switched, since stems could not be embedded.
        """
        from indexer.reembedding import Reembedding
        from rag_audio.audio import midi

        processes = coercion.whole("workers", workers)
        limits.WORKERS.check("workers", processes)
        source = _place_of(embedder) if isinstance(embedder, str | Path) else None
        other = self.home.load_embedder(source) if source else cast("Embedder", embedder)
        spaces, old = self.home.spaces, self.home.index
        if other.space == old.space:
            raise InvalidInput(
                f"the index is of embedder {other.name} already (space {other.space})",
                hint="name another one",
            )
        new = spaces.open_space(other.space, other.dimension)
        try:
            task = Reembedding(
                old,
                new,
                other,
                self.home.catalogue,
                partial(midi.render, soundfont=self.home.soundfont),
                processes,
                self.home.folder / SPOOL,
                progress,
                building,
            )
            report = task.fill()
            if switch:
                set_ = self.settings.embedder
                before = _place_of(set_) if set_ else None
                report = report.then(task.switch(spaces, source, before, incomplete=incomplete))
        finally:
            new.close()
        return report

    def switch_back(self) -> tuple[str, list[str]]:
        """Let searches use the embedding space that was in use before the last switch.

        Returns:
            Its id, and lines for people.

        Raises:
            InvalidInput: there is none.
        """
        from indexer.reembedding import switch_back

        spaces = self.home.spaces
        states = {one.state: one.space for one in spaces.spaces(counted=False)}
        if SpaceState.PREVIOUS not in states:
            raise InvalidInput(
                "no embedding space was in use before this one",
                hint="rag-audio index --space EMBEDDER --switch makes one and switches to it",
            )
        old, new = states[SpaceState.CURRENT], states[SpaceState.PREVIOUS]
        return new, switch_back(self.home.catalogue, spaces, old, new)

    def search(
        self,
        text: str = "",
        *,
        audio: str | Path | Audio | None = None,
        midi: str | Path | None = None,
        like: str | Iterable[str] = (),
        territory: str | None = None,
        **filters: Any,
    ) -> tuple[Reference, ...]:
        """Licensed segments nearest to words, a sound, a MIDI file, stems, or a mix of them.

        Args:
            like: stem ids or prefixes.
            filters: further fields of :class:`.ReferenceQuery`.
        """
        given = arguments.filters(ReferenceQuery, filters)
        territory = arguments.optional_text("territory", territory)
        prefixes = arguments.any_texts("like", like)
        # Whatever is wrong with it is told before anything is opened.
        query = ReferenceQuery(**{**given, "text": text, "like": prefixes or ("any",)})
        if isinstance(audio, Audio):
            sound: Audio | None = audio
        else:
            names = [
                None if value is None else coercion.file_name(name, value)
                for name, value in (("audio", audio), ("midi", midi))
            ]
            sound = self.pipeline.query_audio(*names)
        stems = tuple(self.home.catalogue.stem(prefix).id for prefix in prefixes)
        if query.artist is not None:
            given["artist"] = self.pipeline.artist_named(query.artist)
        query = ReferenceQuery(**{**given, "text": text, "audio": sound, "like": stems})
        return self.pipeline.search(query, territory)

    def plan(self, prompt: str | GenerationRequest, **fields: Any) -> ConditioningPlan:
        """What would be given to the model; ``fields`` are those of ``GenerationRequest``.

        A request may be given in place of its prompt; further fields replace those of the request.
        """
        return self.pipeline.plan(arguments.request(prompt, fields))

    def generate(
        self,
        prompt: str | GenerationRequest,
        out: str | Path,
        *,
        on_stage: OnStage | None = None,
        **fields: Any,
    ) -> tuple[GenerationResult, ...]:
        """Generate into ``out``; one result per variation. ``prompt`` and ``fields`` as above."""
        target = arguments.output(out)
        return self.pipeline.generate(arguments.request(prompt, fields), target, on_stage)

    def renew(
        self, plan: ConditioningPlan, *, territory: str | None = None, model: str | None = None
    ) -> tuple[GenerationRequest, ConditioningPlan]:
        """An older plan, checked against the present rights and guardrails, and its request.

        Raises:
            RequestRefused: they do not allow it (any more).
            InvalidInput: the plan contradicts itself, the catalogue or the model.
        """
        request = replace(request_of(_plan(plan), territory), model=model)
        return request, self.pipeline.renewed(request, plan, self.pipeline.clearance(territory))

    def replay(
        self,
        plan: ConditioningPlan,
        out: str | Path,
        *,
        territory: str | None = None,
        model: str | None = None,
        subtype: str | None = None,
        on_stage: OnStage | None = None,
    ) -> tuple[GenerationResult, ...]:
        """Generate from an older plan into ``out``; raises as :meth:`renew`."""
        request = replace(request_of(_plan(plan), territory), model=model, subtype=subtype)
        target = arguments.output(out)
        return self.pipeline.generate(request, target, on_stage, older=plan)

    def inpaint(
        self,
        file: str | Path,
        prompt: str,
        out: str | Path,
        *,
        regions: Iterable[tuple[float, float]],
        on_stage: OnStage | None = None,
        **fields: Any,
    ) -> tuple[GenerationResult, ...]:
        """Replace regions (start, end in seconds) of a file; the rest stays as it is.

        Args:
            fields: further fields of ``GenerationRequest``; foreign files need ``audio_rights``.
        """
        order = Order(INPAINT, arguments.regions(regions))
        return self._edit(file, prompt, order, out, on_stage, fields)

    def extend(
        self,
        file: str | Path,
        prompt: str,
        out: str | Path,
        *,
        left_s: float = 0.0,
        right_s: float = 0.0,
        on_stage: OnStage | None = None,
        **fields: Any,
    ) -> tuple[GenerationResult, ...]:
        """Go on from a file, to the left, to the right or both; ``fields`` as for ``inpaint``."""
        sides = coercion.number("left_s", left_s), coercion.number("right_s", right_s)
        order = Order(EXTEND, (), *sides)
        return self._edit(file, prompt, order, out, on_stage, fields)

    def vary(
        self,
        file: str | Path,
        out: str | Path,
        *,
        prompt: str = "",
        on_stage: OnStage | None = None,
        **fields: Any,
    ) -> tuple[GenerationResult, ...]:
        """Make a file anew from its own sound, at a ``strength``; ``fields`` as for ``inpaint``."""
        return self._edit(file, prompt, Order(VARY), out, on_stage, fields)

    def _edit(
        self,
        file: str | Path,
        prompt: str,
        order: Order,
        out: str | Path,
        on_stage: OnStage | None,
        fields: dict[str, Any],
    ) -> tuple[GenerationResult, ...]:
        source, target = arguments.path("file", file), arguments.output(out)
        checked = arguments.of_edit(prompt, fields)
        return Editor(self.pipeline).edit(
            source, prompt, order, target, on_stage=on_stage, **checked
        )

    def artist(self, name: str, *, territory: str | None = None) -> ArtistProfile:
        """What is typical of an artist, from the stems that are licensed for style now.

        Raises:
            RequestRefused: no artist licensed for style has that name.
        """
        coercion.text("name", name)
        return self.pipeline.artist_profile(name, arguments.optional_text("territory", territory))

    def trace(self, path: str | Path) -> TraceResult:
        """What went into the audio at ``path``."""
        return self.pipeline.trace(arguments.path("path", path))

    def influence(
        self, output: int, method: Method = "fast", *, progress: Progress | None = None
    ) -> CausalInfluence:
        """Measure what each source did to an output, and append it to the ledger."""
        number = coercion.whole("output", output)
        if method not in ("fast", "exact"):
            raise coercion.refused("method", method, "fast or exact")
        return self.pipeline.influence(number, method, progress)

    def close(self) -> None:
        """Close the index and the database."""
        self.home.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def _place_of(embedder: str | Path) -> str:
    """A directory by its absolute path, so that it is found from everywhere; else as it is."""
    place = Path(embedder).expanduser()
    return str(place.absolute()) if place.is_dir() else str(embedder)


def _plan(value: object) -> ConditioningPlan:
    if not isinstance(value, ConditioningPlan):
        raise coercion.refused("plan", value, "a ConditioningPlan")
    return value


def open_workspace(
    home: str | Path | None = None, *, signer: Signer | None = None, **overrides: Any
) -> Workspace:
    """A workspace on ``home`` (None: ``RAG_AUDIO_HOME``); ``overrides`` are fields of Settings.

    Args:
        signer: signs outputs in place of what the settings say, such as
            :meth:`rag_audio.provenance.credentials.signers.C2paSigner.from_callback`.
    """
    place = None if home is None else arguments.path("home", home)
    workspace = Workspace(read_settings(home=place, **overrides))
    if signer is not None:
        workspace.home.signer = signer
    return workspace


def _has_gpu(settings: Settings) -> bool:
    """Whether the embedder runs on a graphics card; PyTorch is not loaded to find out."""
    if settings.device != "auto":
        return settings.device != "cpu"
    return Path("/dev/nvidia0").exists()
