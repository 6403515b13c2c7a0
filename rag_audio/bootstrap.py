"""Settings become a wired :class:`Workspace`. The only place that names backends.

Every part is made when it is first asked for, so that ``trace`` loads no model and ``library``
opens no index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rag_audio import arguments, limits
from rag_audio.conditioning import request_of
from rag_audio.disclosure import EVERYTHING, Disclosure
from rag_audio.domain import (
    Audio,
    ConditioningPlan,
    GenerationRequest,
    GenerationResult,
    Reference,
    values,
)
from rag_audio.editing import Editor, Order, extension, inpainting, variation
from rag_audio.errors import ConfigError
from rag_audio.keeping import SoundCache
from rag_audio.pipeline import OnStage, Pipeline
from rag_audio.resources import data_dir
from rag_audio.retrieval import ReferenceQuery
from rag_audio.settings import Settings, read_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from indexer.build import IndexProgress, IndexReport
    from rag_audio.guardrails import Action, Roster
    from rag_audio.ports import (
        Catalogue,
        Embedder,
        Generator,
        Ledger,
        Progress,
        StemIndex,
        Watermarker,
    )
    from rag_audio.profiles import ArtistProfile
    from rag_audio.provenance.causal import CausalInfluence, Method
    from rag_audio.provenance.fingerprint_store import SqlFingerprints
    from rag_audio.provenance.trace import TraceResult
    from rag_audio.reading import Reader
    from rag_audio.recognition.sql import SqlLandmarks
    from rag_audio.signing import Credentials, Signer


class HomeParts:
    """The parts of one home, each made once, when first asked for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._generators: dict[str, Generator] = {}

    @cached_property
    def home(self) -> Path:
        """The home folder, made private to its owner on first use."""
        try:
            self.settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"the home {self.settings.home} cannot be made: {error.strerror}",
                hint="set RAG_AUDIO_HOME or --home to a folder you may write to",
            ) from error
        return self.settings.home

    @cached_property
    def device(self) -> str:
        if self.settings.device != "auto":
            return self.settings.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @cached_property
    def embedder(self) -> Embedder:
        source = self.settings.embedder or data_dir("models") / "clap-mini"
        if self.settings.laion:
            from rag_audio.backends.clap_laion import LaionClapEmbedder

            return LaionClapEmbedder(source, device=self.device)
        from rag_audio.backends.clap import ClapEmbedder

        return ClapEmbedder(source, device=self.settings.device)

    @cached_property
    def index(self) -> StemIndex:
        space, dimension = self.embedder.space, self.embedder.dimension
        if self.settings.qdrant_url is not None:
            from rag_audio.backends.qdrant_server import ServerIndex

            secret = self.settings.qdrant_api_key
            return ServerIndex(
                space=space,
                dimension=dimension,
                url=self.settings.qdrant_url,
                api_key=secret.get_secret_value() if secret else None,
                prefer_grpc=self.settings.qdrant_grpc,
            )
        from rag_audio.backends.shared_index import SharedIndex

        return SharedIndex(self.home / "index", space=space, dimension=dimension)

    def remove_index(self) -> None:
        """Start the embedded index anew; a server's collections are left alone.

        Raises:
            ConfigError: the index is on a server.
            BackendUnavailable: another process holds it, or is indexing a library.
        """
        if self.settings.qdrant_url is not None:
            raise ConfigError(
                "only the embedded index can be rebuilt",
                hint="delete the collection on the server, then index again",
            )
        from rag_audio.backends.index_socket import is_served
        from rag_audio.backends.qdrant_edge import remove_index
        from rag_audio.backends.shared_index import SharedIndex

        mine = self.__dict__.get("index")
        if isinstance(mine, SharedIndex):
            mine.release()
        with ExitStack() as claimed:
            # A run that is in the middle of its library knows what it has written.
            for library in self.catalogue.libraries():
                claimed.enter_context(self.catalogue.claim(library.id))
            remove_index(self.home / "index", partial(is_served, self.home / "index"))

    @cached_property
    def database(self) -> Engine:
        from rag_audio.database import connect, sqlite_url
        from rag_audio.migrations import refuse_foreign

        secret = self.settings.database_url
        url = secret.get_secret_value() if secret else sqlite_url(self.home / "ledger.db")
        refuse_foreign(url)
        return connect(url)

    @cached_property
    def catalogue(self) -> Catalogue:
        from rag_audio.catalogue import SqlCatalogue
        from rag_audio.provenance.rights_log import SqlRightsLog

        return SqlCatalogue(self.database, SqlRightsLog())

    @cached_property
    def kept(self) -> SoundCache:
        """Sound made from stems, shared by all that works on this home in this process."""
        return SoundCache(lambda: tuple(self.catalogue.revocations()))

    @cached_property
    def ledger(self) -> Ledger:
        from rag_audio.provenance.ledger import SqlLedger

        def is_used(number: int) -> bool:
            return (self.masters / f"{number}.wav").exists()

        return SqlLedger(self.database, self.home / "keys" / "ledger.key", is_used)

    @cached_property
    def fingerprints(self) -> SqlFingerprints:
        from rag_audio.provenance.fingerprint_store import SqlFingerprints

        return SqlFingerprints(self.database)

    @cached_property
    def landmarks(self) -> SqlLandmarks:
        from rag_audio.recognition.sql import SqlLandmarks

        return SqlLandmarks(self.database)

    @cached_property
    def watermarker(self) -> Watermarker:
        from rag_audio.custody import watermark_keys
        from rag_audio.watermark import SpreadSpectrumWatermarker

        return SpreadSpectrumWatermarker(*watermark_keys(self.database, self.home / "keys"))

    @cached_property
    def signer(self) -> Signer:
        from rag_audio.provenance.signers import NoSigner, open_signer

        if self.settings.signing == "off":
            return NoSigner()
        return open_signer(
            self.home / "keys",
            chain=self.settings.signing_chain,
            key=self.settings.signing_key,
            timestamp_url=self.settings.timestamp_url,
            training=self.settings.training_mining,
            elsewhere=lambda: self.reader.signs_elsewhere,
        )

    @cached_property
    def reader(self) -> Reader:
        """Opens the files that requests bring: here they are those of whoever runs this."""
        from rag_audio.reading import OwnFiles

        return OwnFiles()

    def credentials_of(self, path: Path) -> Credentials | None:
        """The content credentials of a file, held against the roots known here; makes no key."""
        return self.reader.credentials(path, self.anchors)

    @property
    def anchors(self) -> str:
        """PEM of the certificates whose signers are trusted here; makes no key."""
        from rag_audio.provenance.signing_keys import anchors

        named = (self.settings.trust_anchors, self.settings.signing_chain)
        # Who signs nothing has no root of its own to add.
        own = self.signer.anchors if "signer" in self.__dict__ else ""
        given = [own] if own else []
        return anchors(self.home / "keys", [path for path in named if path is not None], given)

    @cached_property
    def soundfont(self) -> Path:
        chosen = self.settings.soundfont
        if chosen is not None and not chosen.is_file():
            raise ConfigError(f"the soundfont {chosen} does not exist", hint="RAG_AUDIO_SOUNDFONT")
        return chosen or data_dir("soundfont") / "rag-audio.sf2"

    @property
    def disclosure(self) -> Disclosure:
        """Whoever works on the home itself is told everything."""
        return EVERYTHING

    @property
    def masters(self) -> Path:
        return self.home / "masters"

    @property
    def territory(self) -> str | None:
        return self.settings.territory

    @property
    def retries(self) -> int:
        return self.settings.retries

    @cached_property
    def protected_names(self) -> Roster:
        """The shipped names, those of ``RAG_AUDIO_POLICY`` or ``policy.csv`` in the home, and the
        list that was imported into the home."""
        from rag_audio.guardrails import load_imported, load_roster, log_to

        if self.settings.security_log is not None:
            max_bytes = round(self.settings.security_log_mb * 2**20)
            log_to(self.settings.security_log, max_bytes, self.settings.security_log_files)
        own = self.settings.home / "policy.csv"
        extra = self.settings.policy or (own if own.is_file() else None)
        return load_roster(extra, load_imported(self.settings.home))

    @cached_property
    def guard_actions(self) -> Mapping[str, Action]:
        from rag_audio.guardrails import parse_actions

        return parse_actions(self.settings.guard_actions)

    def generator(self, model: str | None) -> Generator:
        """The checkpoint ``model`` (directory or hub id), or the configured one; loaded once."""
        source = model or self.settings.model or str(data_dir("models") / "stable-audio-mini")
        if source not in self._generators:
            from rag_audio.backends.generators import load_generator

            self._generators[source] = load_generator(
                source, device=self.device, low_memory=self.settings.low_memory
            )
        return self._generators[source]

    def close(self) -> None:
        """Give the index and the database back."""
        if "index" in self.__dict__:
            self.index.close()
            del self.__dict__["index"]
        if "database" in self.__dict__:
            self.database.dispose()


class Workspace(AbstractContextManager["Workspace"]):
    """The Python API: what ``rag_audio.open(home)`` gives.

    Use it in a ``with`` statement: what the index learned is made quick to search at the end.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.parts = HomeParts(settings)
        self.pipeline = Pipeline(self.parts)

    def index(
        self,
        library: str | Path,
        *,
        prune: bool = False,
        workers: int = 1,
        progress: IndexProgress | None = None,
    ) -> IndexReport:
        """Bring the index up to date with a licensed library (``library.toml``, ``stems.csv``)."""
        from indexer.build import index_library
        from rag_audio import midi

        root = arguments.path("library", library)
        processes = values.whole("workers", workers)
        limits.WORKERS.check("workers", processes)
        return index_library(
            root,
            embedder=self.parts.embedder,
            index=self.parts.index,
            catalogue=self.parts.catalogue,
            render=partial(midi.render, soundfont=self.parts.soundfont),
            prune=prune,
            workers=processes,
            progress=progress,
        )

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
            filters: further fields of :class:`rag_audio.retrieval.ReferenceQuery`.
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
                None if value is None else values.file_name(name, value)
                for name, value in (("audio", audio), ("midi", midi))
            ]
            sound = self.pipeline.query_audio(*names)
        stems = tuple(self.parts.catalogue.stem(prefix).id for prefix in prefixes)
        if query.artist is not None:
            given["artist"] = self.pipeline.artist_named(query.artist)
        query = ReferenceQuery(**{**given, "text": text, "audio": sound, "like": stems})
        return self.pipeline.search(query, territory)

    def plan(self, prompt: str | GenerationRequest, **fields: Any) -> ConditioningPlan:
        """What would be given to the model; ``fields`` are those of ``GenerationRequest``.

        A request may be given in place of its prompt; fields beside it change it.
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
        """An older plan held against the rights and guardrails of now, and its request.

        Raises:
            RequestRefused: they do not allow it (any more).
            InvalidInput: the plan contradicts itself, the catalogue or the model.
        """
        request = replace(request_of(_plan(plan), territory), model=model)
        return request, self.pipeline.renew(request, plan)

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
        """Make regions (start, end in seconds) of a file anew; the rest stays as it is.

        Args:
            fields: further fields of ``GenerationRequest``; foreign files need ``audio_rights``.
        """
        order = inpainting(arguments.regions(regions))
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
        order = extension(values.number("left_s", left_s), values.number("right_s", right_s))
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
        return self._edit(file, prompt, variation(), out, on_stage, fields)

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
            RequestRefused: nobody licensed for style has that name.
        """
        values.text("name", name)
        return self.pipeline.artist_profile(name, arguments.optional_text("territory", territory))

    def trace(self, path: str | Path) -> TraceResult:
        """What went into the audio at ``path``."""
        return self.pipeline.trace(arguments.path("path", path))

    def influence(
        self, output: int, method: Method = "fast", *, progress: Progress | None = None
    ) -> CausalInfluence:
        """Measure what each source did to an output, and append it to the ledger."""
        number = values.whole("output", output)
        if method not in ("fast", "exact"):
            raise values.refused("method", method, "fast or exact")
        return self.pipeline.influence(number, method, progress)

    def close(self) -> None:
        """Give the index and the database back."""
        self.parts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _plan(value: object) -> ConditioningPlan:
    if not isinstance(value, ConditioningPlan):
        raise values.refused("plan", value, "a ConditioningPlan")
    return value


def open_workspace(
    home: str | Path | None = None, *, signer: Signer | None = None, **overrides: Any
) -> Workspace:
    """A workspace on ``home`` (None: ``RAG_AUDIO_HOME``); ``overrides`` are fields of Settings.

    Args:
        signer: signs outputs in place of what the settings say, such as
            :meth:`rag_audio.provenance.signers.C2paSigner.from_callback`.
    """
    place = None if home is None else arguments.path("home", home)
    workspace = Workspace(read_settings(home=place, **overrides))
    if signer is not None:
        workspace.parts.signer = signer
    return workspace
