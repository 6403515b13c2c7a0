"""A home: the parts that settings name, each made when it is first asked for.

The only place that names backends. ``trace`` loads no model and ``library`` opens no index, since
nothing is made before it is needed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from rag_audio import plugins
from rag_audio.audio import ffmpeg, scores
from rag_audio.audio.carried_metadata import CarriedMetadata
from rag_audio.audio.headers import SCORE, read_head, read_header, suffix_of
from rag_audio.audio.metadata_reading import read_metadata
from rag_audio.audio.reading import MAX_DURATION_S, IdentifiedAudio, hear
from rag_audio.audio.scores import NoteScore
from rag_audio.audio.sections import SoundInSections, in_sections
from rag_audio.domain import Rights, arguments
from rag_audio.domain.disclosure import EVERYTHING, Disclosure
from rag_audio.errors import BackendError, ConfigError, UnreadableFile
from rag_audio.generation.stem_listener import StemListener
from rag_audio.generation.stem_player import StemPlayer
from rag_audio.resources import data_dir
from rag_audio.settings import EMBEDDED, SPREAD_SPECTRUM, Settings, read_settings
from rag_audio.storage.cache import SoundCache

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from rag_audio.domain import Audio
    from rag_audio.domain.clearance import Clearance
    from rag_audio.domain.ports import (
        Embedder,
        Generator,
        IndexSpaces,
        StemIndex,
        Watermarker,
    )
    from rag_audio.domain.signing import Credentials, Signer
    from rag_audio.guardrails import Action, Roster
    from rag_audio.provenance.credentials.signers import SignElsewhere
    from rag_audio.provenance.ledger.ledger import SqlLedger
    from rag_audio.provenance.trace.fingerprint_store import SqlFingerprints
    from rag_audio.storage.blobs import BlobStore
    from rag_audio.storage.catalogue import SqlCatalogue
    from rag_audio.storage.landmarks import SqlLandmarks
    from rag_audio.storage.library_files import CopyRoom

_T = TypeVar("_T")
_log = logging.getLogger("rag_audio.files")
"""Unlike structlog's, its warnings go to stderr without any configuration."""
_MOST_WARNED = 1000
SPOOL = "spool"
"""Folder of a home in which the sound of long files waits for the embedder."""
MASTERS = "masters"
"""Begins the keys of unmarked sounds, and names their folder."""
_MASTER = re.compile(rf"{MASTERS}/(\d{{1,18}})\.wav")
COPIES = "copies"
"""Folder of a home for local copies of files that lie at a URL."""


def master_key(output: int) -> str:
    """The key of an output's unmarked sound in :attr:`Home.files`. An empty file in its place was
    removed after its time; it keeps the number from being given again."""
    return f"{MASTERS}/{output}.wav"


def output_of_master(key: str) -> int | None:
    """The output whose unmarked sound has a key; None: it is of no master."""
    found = _MASTER.fullmatch(key)
    return None if found is None else int(found[1])


def _state(path: Path) -> object:
    """What tells a file from another, and from itself after a change."""
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


class FileReader:
    """Opens files that somebody brought, in this process: those of whoever runs it.

    A service never does that: in its place :class:`.CanonicalUploads` reads what a process with
    limits made of them.
    """

    #: Signs what is made from such files, and parses their manifests; None: this process.
    signs_elsewhere: SignElsewhere | None = None

    def __init__(self) -> None:
        self._warned: set[tuple[str, str]] = set()
        self._last: tuple[object, tuple[str, ...]] = (None, ())

    def hear(
        self,
        path: Path,
        *,
        max_duration_s: float | None = MAX_DURATION_S,
        warns: bool = True,
    ) -> IdentifiedAudio:
        """A file's sound; see :func:`rag_audio.audio.reading.hear`.

        Args:
            warns: log what is odd in the file, once; else whoever asks has to tell it.
        """
        heard = hear(path, max_duration_s=max_duration_s)
        self._last = (_state(path), heard.notices)
        if warns:
            self._warn(path.name, heard.notices)
        return heard

    def notices(self, path: Path) -> tuple[str, ...]:
        """What was cut or odd in a sound or a score, one line each; raises as :meth:`hear` and
        :meth:`score`. What was read last is not read again."""
        if self._last[0] == _state(path):
            return self._last[1]
        if suffix_of(read_head(path)) == SCORE:
            return self.score(path, warns=False).notices
        return self.hear(path, warns=False).notices

    def _warn(self, name: str, notices: tuple[str, ...]) -> None:
        for notice in notices:
            if (name, notice) not in self._warned and len(self._warned) < _MOST_WARNED:
                self._warned.add((name, notice))
                _log.warning("note: %s: %s", name, notice)

    def sections(self, path: Path) -> SoundInSections | None:
        """A file's sound where it is too long to be heard at once; see
        :func:`rag_audio.audio.sections.in_sections`."""
        return in_sections(path)

    def score(self, path: Path, *, warns: bool = True) -> NoteScore:
        """A file's notes; raises as :func:`rag_audio.audio.scores.parse`.

        Args:
            warns: as of :meth:`hear`.
        """
        found = scores.parse(path)
        self._last = (_state(path), found.notices)
        if warns:
            self._warn(path.name, found.notices)
        return found

    def credentials(self, path: Path, anchors: str) -> Credentials | None:
        """A file's content credentials, checked against roots (PEM); None: it has none.

        Raises:
            UnreadableFile: the file cannot be opened; so for the next.
        """
        from rag_audio.provenance.credentials.reading import read_credentials

        return read_credentials(path, anchors)

    def reservation(self, path: Path) -> str | None:
        """What a file's credentials forbid, in words; None: nothing."""
        from rag_audio.provenance.credentials.reading import training_reservation

        return training_reservation(path)

    def subtype(self, path: Path) -> str:
        """How a file is encoded, see :class:`.SoundHeader`; empty: that is not known."""
        try:
            return read_header(path).subtype
        except UnreadableFile:
            return ""

    def metadata(self, path: Path) -> CarriedMetadata:
        """What stands beside a file's sound."""
        return read_metadata(path)


class _Part(Generic[_T]):
    """An attribute that the whole home makes when it or a limited one is first asked for it."""

    def __init__(self, make: Callable[[Any], _T]) -> None:
        self._make, self._name, self.__doc__ = make, make.__name__, make.__doc__

    @overload
    def __get__(self, home: None, owner: type) -> Self: ...
    @overload
    def __get__(self, home: Home, owner: type) -> _T: ...
    def __get__(self, home: Home | None, owner: type) -> Self | _T:
        if home is None:
            return self
        if self._name in home.made:
            own: _T = home.made[self._name]
            return own
        whole = home.whole
        if self._name not in whole.made:
            whole.made[self._name] = self._make(whole)
        shared: _T = whole.made[self._name]
        return shared

    def __set__(self, home: Home, value: _T) -> None:
        home.made[self._name] = value

    def __delete__(self, home: Home) -> None:
        home.made.pop(self._name, None)


class Home:
    """The parts of one home, each made once, when first asked for.

    A part may be set to another one before it is used, as tests and ``signer=`` of
    :func:`rag_audio.open` do.

    Attributes:
        whole: the home that this one is a limited view of; itself where it is none.
        made: parts by name: for a limited home only those that it does not share.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.whole = settings, self
        ffmpeg.choose(settings.ffmpeg)
        self.made: dict[str, Any] = {}
        self._libraries: frozenset[str] | None = None
        self._generators: dict[str, Generator] = {}
        self._batch_member: Generator | None = None

    def rights(self, territory: str | None = None) -> Rights:
        """Licenses and revocations as they stand now, for ``territory`` or the configured one."""
        return self.catalogue.rights(territory or self.territory, datetime.now(UTC))

    def clearance(self, territory: str | None = None) -> Clearance:
        """The rights, with what the libraries hold, as they stand now."""
        return self.catalogue.clearance(territory or self.territory, datetime.now(UTC))

    def limited_to(
        self,
        libraries: Iterable[str] | None,
        *,
        disclosure: Disclosure | None = None,
        generator: Generator | None = None,
    ) -> Home:
        """This home as a user of some of its libraries sees it; all other parts are shared.

        Args:
            libraries: ids of those that may be used; None: no fewer than here.
            disclosure: what that user may be told; None: as here.
            generator: runs in place of the configured model; None: that model runs.
        """
        limited = Home(self.settings)
        limited.whole, limited._libraries = self.whole, self._libraries
        limited._batch_member = generator or self._batch_member
        if libraries is not None:
            asked = frozenset(libraries)
            limited._libraries = asked if self._libraries is None else asked & self._libraries
        if limited._libraries is not None:
            from rag_audio.storage.limited_catalogue import LimitedCatalogue

            seen = LimitedCatalogue(self.whole.catalogue, limited._libraries)
            limited.made["catalogue"] = seen
        limited.made["disclosure"] = disclosure or self.disclosure
        return limited

    @_Part
    def folder(self) -> Path:
        """The home folder, made private to its owner on first use."""
        try:
            self.settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"the home {self.settings.home} cannot be made: {error.strerror}",
                hint="set RAG_AUDIO_HOME or --home to a folder you may write to",
            ) from error
        return self.settings.home

    @_Part
    def files(self) -> BlobStore:
        """Masters, and the outputs and uploads of a service; nothing is asked of a server yet."""
        from rag_audio.storage.fsspec_blobs import open_store

        said = self.settings
        room = self.copy_room
        return open_store(said.files or str(self.folder), room.folder, room.max_bytes)

    @_Part
    def copy_room(self) -> CopyRoom:
        """Where local copies are kept of what lies at URLs."""
        from rag_audio.storage.library_files import CopyRoom

        return CopyRoom(self.folder / COPIES, self.settings.files_cache_mb << 20)

    @_Part
    def device(self) -> str:
        if self.settings.device != "auto":
            return self.settings.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @_Part
    def embedder(self) -> Embedder:
        return self.load_embedder(self.settings.embedder or self._embedder_in_use())

    def load_embedder(self, named: str | None) -> Embedder:
        """The embedder in a directory, of a plugin or of a hub id; None: the embedded one."""
        source = named or data_dir("models") / "clap-mini"
        if self.settings.laion:
            from rag_audio.models.clap_laion import LaionClapEmbedder

            return LaionClapEmbedder(source, device=self.device)
        from rag_audio.models.clap import ClapEmbedder

        plugin = plugins.find("embedder", named) if named else None
        if plugin is not None:
            made: Embedder = plugin.make(device=self.device)
            return made
        return ClapEmbedder(source, device=self.settings.device)

    def embedder_maker(self) -> Callable[[], Embedder] | None:
        """What makes the same embedder in another process, which may be on another machine.

        None: nothing is known to, since somebody gave this home an embedder of their own.
        """
        own = type(self.embedder).__module__.startswith("rag_audio.models.")
        if not own and self.settings.embedder is None:
            return None
        return partial(_same_embedder, self.settings, self.embedder.space)

    def _embedder_in_use(self) -> str | None:
        """What the index was switched to (``rag-audio index --space``), if anything."""
        if self.settings.index != EMBEDDED or self.settings.laion:
            return None
        if self.settings.qdrant_url is not None:
            return self.spaces.embedder_in_use()
        from rag_audio.storage.edge_spaces import EdgeSpaces

        return EdgeSpaces(self.settings.home / "index").embedder_in_use()

    @contextmanager
    def all_indexes(self) -> Iterator[tuple[StemIndex, ...]]:
        """The index in use, and those of its other embedding spaces, within the block.

        Raises:
            BackendError: one of them cannot be opened.
        """
        with ExitStack() as opened:
            found = [self.index]
            spaces = () if self.settings.index != EMBEDDED else self.spaces.spaces(counted=False)
            for one in spaces:
                if one.space != self.index.space:
                    other = self.spaces.open_space(one.space, one.dimension)
                    opened.callback(other.close)
                    found.append(other)
            yield tuple(found)

    @_Part
    def index(self) -> StemIndex:
        space, dimension = self.embedder.space, self.embedder.dimension
        if self.settings.index != EMBEDDED:
            plugin = plugins.require("index", self.settings.index, EMBEDDED)
            made: StemIndex = plugin.make(home=self.folder, space=space, dimension=dimension)
            return made
        if self.settings.qdrant_url is not None:
            from rag_audio.storage.qdrant_server import ServerIndex

            return ServerIndex(space=space, dimension=dimension, **self._server())
        from rag_audio.storage.shared_index import SharedIndex

        return SharedIndex(self.folder / "index", space=space, dimension=dimension)

    @property
    def spaces(self) -> IndexSpaces:
        """The embedding spaces of the index; neither it nor the embedder is opened.

        Raises:
            ConfigError: the index is a plugin's.
        """
        if self.settings.index != EMBEDDED:
            raise ConfigError(
                f"the index {self.settings.index!r} of a plugin has no further embedding spaces",
                hint="unset RAG_AUDIO_INDEX",
            )
        if self.settings.qdrant_url is not None:
            from rag_audio.storage.qdrant_server import ServerSpaces

            return ServerSpaces(**self._server())
        from rag_audio.storage.edge_spaces import EdgeSpaces

        return EdgeSpaces(self.folder / "index")

    def _server(self) -> dict[str, Any]:
        """How the index's server is reached, and how collections are made there."""
        from rag_audio.storage.qdrant_collections import CollectionOptions

        said, secret = self.settings, self.settings.qdrant_api_key
        return {
            "url": said.qdrant_url,
            "api_key": secret.get_secret_value() if secret else None,
            "collection": said.qdrant_collection,
            "prefer_grpc": said.qdrant_grpc,
            "timeout_s": said.qdrant_timeout_s,
            "options": CollectionOptions(
                said.qdrant_shards,
                said.qdrant_replication_factor,
                said.qdrant_write_consistency_factor,
            ),
        }

    def remove_index(self) -> None:
        """Start the embedded index anew; a server's collections are left alone.

        Raises:
            ConfigError: the index is on a server, or a plugin's.
            BackendUnavailable: another process holds it, or is indexing a library.
        """
        if self.settings.qdrant_url is not None or self.settings.index != EMBEDDED:
            raise ConfigError(
                "only the embedded index can be rebuilt",
                hint="delete the collection on the server, then index again",
            )
        from rag_audio.storage.edge_spaces import folder_in_use
        from rag_audio.storage.index_socket import is_served
        from rag_audio.storage.qdrant_edge import remove_index
        from rag_audio.storage.shared_index import SharedIndex

        mine = self.made.get("index")
        if isinstance(mine, SharedIndex):
            mine.release()
        with ExitStack() as claimed:
            # A run that is in the middle of its library knows what it has written.
            for library in self.catalogue.libraries():
                claimed.enter_context(self.catalogue.claim(library.id))
            folder = folder_in_use(self.folder / "index")
            remove_index(folder, partial(is_served, folder))

    @_Part
    def keys(self) -> Path:
        """The folder of the keys, with those in it that settings hold.

        Raises:
            ConfigError: one of those is no key, or another than the folder has.
        """
        from rag_audio.provenance.credentials.given_keys import put_given_keys

        folder = self.settings.keys
        if folder.parent == self.settings.home:
            folder = self.folder / folder.name
        put_given_keys(folder, self.settings)
        return folder

    def require_keys(self) -> None:
        """Refuse to work with another watermark or ledger key than the database's; the watermark
        key is made where neither the database nor the home has one.

        Raises:
            ConfigError: a key is another one, or the watermark key is missing.
        """
        from rag_audio.provenance.credentials.watermark_keys import require_keys

        require_keys(self.database, self.keys)

    @_Part
    def database(self) -> Engine:
        from rag_audio.storage.database import connect, limits_of, sqlite_url
        from rag_audio.storage.migrations import refuse_foreign

        secret = self.settings.database_url
        url = secret.get_secret_value() if secret else sqlite_url(self.folder / "ledger.db")
        refuse_foreign(url)
        return connect(url, limits_of(self.settings))

    @_Part
    def catalogue(self) -> SqlCatalogue:
        from rag_audio.domain.library_roots import LibraryRoots
        from rag_audio.provenance.ledger.rights_log import SqlRightsLog
        from rag_audio.storage.catalogue import SqlCatalogue

        roots = LibraryRoots.parse(self.settings.library_roots)
        return SqlCatalogue(self.database, SqlRightsLog(), roots, self.copy_room)

    @_Part
    def cache(self) -> SoundCache:
        """Sound made from stems, shared by all that works on this home in this process."""
        return SoundCache()

    @_Part
    def ledger(self) -> SqlLedger:
        from rag_audio.provenance.ledger.ledger import SqlLedger

        def is_used(number: int) -> bool:
            return self.files.stat(master_key(number)) is not None

        return SqlLedger(self.database, self.keys / "ledger.key", is_used)

    @_Part
    def fingerprints(self) -> SqlFingerprints:
        from rag_audio.provenance.trace.fingerprint_store import SqlFingerprints

        return SqlFingerprints(self.database)

    @_Part
    def landmarks(self) -> SqlLandmarks:
        from rag_audio.storage.landmarks import SqlLandmarks

        return SqlLandmarks(self.database)

    @_Part
    def watermarker(self) -> Watermarker:
        from rag_audio.provenance.credentials.watermark_keys import watermark_keys
        from rag_audio.watermark.spread_spectrum import SpreadSpectrumWatermarker

        keys = watermark_keys(self.database, self.keys)
        if self.settings.watermarker != SPREAD_SPECTRUM:
            plugin = plugins.require("watermarker", self.settings.watermarker, SPREAD_SPECTRUM)
            made: Watermarker = plugin.make(key=keys[0], retired=keys[1])
            return made
        return SpreadSpectrumWatermarker(*keys)

    @_Part
    def signer(self) -> Signer:
        from rag_audio.provenance.credentials.signers import NoSigner, open_signer

        if self.settings.signing == "off":
            return NoSigner()
        return open_signer(
            self.keys,
            chain=self.settings.signing_chain,
            key=self.settings.signing_key,
            timestamp_url=self.settings.timestamp_url,
            training=self.settings.training_mining,
            elsewhere=lambda: self.reader.signs_elsewhere,
        )

    @_Part
    def reader(self) -> FileReader:
        """Opens the files that requests bring: here they are those of whoever runs this."""
        return FileReader()

    def credentials_of(self, path: Path) -> Credentials | None:
        """The content credentials of a file, checked against the roots known here; makes no key."""
        return self.reader.credentials(path, self.anchors)

    @property
    def anchors(self) -> str:
        """PEM of the certificates whose signers are trusted here; makes no key."""
        from rag_audio.provenance.credentials.signing_keys import anchors

        named = (self.settings.trust_anchors, self.settings.signing_chain)
        # Who signs nothing has no root of its own to add.
        own = self.signer.anchors if "signer" in {*self.made, *self.whole.made} else ""
        given = [own] if own else []
        return anchors(self.keys, [path for path in named if path is not None], given)

    @_Part
    def soundfont(self) -> Path:
        chosen = self.settings.soundfont
        if chosen is not None and not chosen.is_file():
            raise ConfigError(f"the soundfont {chosen} does not exist", hint="RAG_AUDIO_SOUNDFONT")
        return chosen or data_dir("soundfont") / "rag-audio.sf2"

    @_Part
    def disclosure(self) -> Disclosure:
        """A user of the home itself sees everything."""
        return EVERYTHING

    @property
    def player(self) -> StemPlayer:
        """Plays the stems of all libraries; errors name only stems that the reader may know of."""
        return StemPlayer(self.catalogue, self.cache, lambda: self.soundfont, self.disclosure)

    @_Part
    def listener(self) -> StemListener:
        """Hears the harmony of the stems of all libraries."""
        return StemListener(self.player)

    def master_was_removed(self, output: int) -> bool:
        """Whether there was a master, and it was removed after its time."""
        found = self.files.stat(master_key(output))
        return found is not None and found.size == 0

    def master(self, output: int) -> Audio | None:
        """The unmarked sound of an output; None where it is no longer kept."""
        from rag_audio.audio.reading import load

        found = self.files.stat(master_key(output))
        if found is None or found.size == 0:
            return None
        with self.files.local(found.key) as path:
            return load(path, max_duration_s=None)

    @property
    def territory(self) -> str | None:
        return self.settings.territory

    @property
    def retries(self) -> int:
        return self.settings.retries

    @_Part
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

    @_Part
    def guard_actions(self) -> Mapping[str, Action]:
        from rag_audio.guardrails import parse_actions

        return parse_actions(self.settings.guard_actions)

    def generator(self, model: str | None) -> Generator:
        """The checkpoint ``model`` (directory or hub id), or the configured one; loaded once."""
        if self.whole is not self:
            found = self.whole.generator(model)
            if model is not None or self._batch_member is None:
                return found
            # A member is new with every batch; what the model keeps may be older than a revocation.
            self.cache.keep_in_step(found)
            return self._batch_member
        source = model or self.settings.model or str(data_dir("models") / "stable-audio-mini")
        if source not in self._generators:
            from rag_audio.models.stable_audio import load_generator

            how: dict[str, Any] = {"device": self.device, "low_memory": self.settings.low_memory}
            plugin = plugins.find("generator", source)
            make = partial(load_generator, source) if plugin is None else plugin.make
            self._generators[source] = make(**how)
        return self._generators[source]

    def make_all(self, *, generator: bool = True) -> None:
        """Make every part now, so that no two threads make one.

        Args:
            generator: load the model too; it is needed to plan.

        Raises:
            RagAudioError: a part cannot be made.
        """
        for name, attribute in vars(Home).items():
            if isinstance(attribute, _Part):
                getattr(self, name)
        if generator:
            self.generator(None)
        if self.embedder.text_weight > 0 or not self.embedder.untrained:
            self.embedder.embed_text(["ready"])

    def close(self) -> None:
        """Close the index and the database; they are opened again when they are asked for."""
        if "index" in self.made:
            self.index.close()
            del self.index
        if "database" in self.made:
            self.database.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_home(folder: str | Path | None = None, **overrides: Any) -> Home:
    """The home in a folder (None: ``RAG_AUDIO_HOME``); ``overrides`` are fields of Settings."""
    place = None if folder is None else arguments.path("home", folder)
    return Home(read_settings(home=place, **overrides))


def _same_embedder(settings: Settings, space: str) -> Embedder:
    """The embedder that settings name.

    Raises:
        BackendError: its vectors are of another space.
    """
    made = Home(settings).embedder
    if made.space != space:
        raise BackendError(
            f"a worker has the embedder {made.name}, whose vectors are of another space",
            hint="install the same release and the same model wherever workers run",
        )
    return made
