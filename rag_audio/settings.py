"""Settings: ``RAG_AUDIO_*`` and the home's ``settings.toml``, read once, validated, frozen."""

from __future__ import annotations

import os
import stat
import sys
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from rag_audio.domain.identifiers import country
from rag_audio.domain.library_roots import LibraryRoots
from rag_audio.errors import ConfigError, InvalidInput

NAME = "settings.toml"
"""In a home: settings that hold for everybody who works on that home."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

DEFAULT = "default"
"""The origin of a value that was not set."""

EMBEDDED = "embedded"
"""The index that this program brings itself."""
SPREAD_SPECTRUM = "spread-spectrum"
"""The watermarker that this program brings itself."""


def default_home() -> Path:
    """The platform's user data directory for rag-audio."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local")))
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", str(Path.home() / ".local" / "share")))
    return base / "rag-audio"


class Settings(BaseSettings):
    """What can be configured; the variable of ``home`` is ``RAG_AUDIO_HOME``, and so on.

    All but ``home`` can be set in ``settings.toml`` of the home too, under their names here.

    Attributes:
        home: holds the index, ``ledger.db``, keys and private masters; made on first use.
        qdrant_url: use this Qdrant server in place of the embedded index.
        qdrant_collection: the alias that names the collection in use on that server.
        qdrant_shards, qdrant_replication_factor, qdrant_write_consistency_factor: of collections
            that are made from now on; unset: as the server is configured.
        qdrant_timeout_s: seconds for one search; what works through a whole collection has longer.
        database_url: SQLAlchemy URL in place of ``home/ledger.db``.
        database_pool_size, database_pool_overflow: connections to a PostgreSQL server that a
            process keeps, and those that it may have beside them for a while.
        database_pool_wait_s: how long it waits for one. database_pool_recycle_s: a connection is
            replaced when it is so old.
        database_statement_timeout_s, database_lock_timeout_s, database_idle_timeout_s: the server
            ends a statement that runs longer, one that waits longer for a lock, and a transaction
            that does nothing for longer; set in each transaction. 0: as the server is configured.
        files: folder, or URL such as ``s3://bucket/prefix``, that holds ``masters/`` and the
            service's ``outputs/`` and ``uploads/``; unset: the home.
        library_roots: folders that libraries lie in, under names that machines share, such as
            ``music=/mnt/music;samples=/srv/samples``.
        masters_keep_days: days after which unmarked masters are removed; unset: they stay.
        files_cache_mb: MiB of local copies of files at a URL.
        keys_folder: holds the keys in place of ``home/keys``, such as a secret that is mounted on
            every machine; it may be read-only once all keys are there.
        watermark_key, ledger_key, webhook_key: 32 bytes in base64, where a machine gets its keys
            as variables: they are put into the folder of keys where it has none.
            ``watermark_key`` may have retired keys behind the one in use, newest first, divided
            by commas.
        territory: ISO 3166-1 alpha-2 code of where outputs are used; unset: WORLD licenses only.
        index: ``embedded`` (or the server at ``qdrant_url``), or the name of a plugin.
        embedder, model: directory, name of a plugin, or hub id; unset: the embedded checkpoints.
        watermarker: ``spread-spectrum``, or the name of a plugin.
        laion: read ``embedder`` with the ``laion-clap`` package.
        soundfont: SF2 that renders MIDI; unset: our own.
        ffmpeg: program that reads what libsndfile does not; unset: the one on the ``PATH``;
            ``off``: none.
        device: ``auto`` takes a CUDA device when there is one.
        policy: CSV of further protected artists; unset: ``policy.csv`` in the home, if it is there.
        guard_actions: what is done when a guardrail speaks, such as ``named-artist=transform``.
        security_log: file that guardrail decisions are appended to, a JSON line each.
        security_log_mb, security_log_files: MiB of one such file, and how many are kept.
        retries: how often an output that came too near to a stem is made again, less like it.
        contact: whom ``trace --public`` names: an address or a page.
        signing: ``off`` delivers outputs without content credentials.
        signing_chain, signing_key: PEM files to sign with in place of the home's own key.
        timestamp_url: RFC 3161 authority that vouches for the time of signing; unset: none.
        trust_anchors: PEM of further certificates whose signers are trusted when reading.
        training_mining: what others may do with outputs: ``notAllowed``, ``allowed`` or
            ``constrained: TERMS``.
    """

    model_config = SettingsConfigDict(env_prefix="RAG_AUDIO_", frozen=True, extra="forbid")

    home: Path = Field(default_factory=default_home)
    qdrant_url: str | None = None
    qdrant_api_key: SecretStr | None = None
    qdrant_grpc: bool = False
    qdrant_collection: str = "rag-audio"
    qdrant_shards: int | None = Field(default=None, ge=1, le=1024)
    qdrant_replication_factor: int | None = Field(default=None, ge=1, le=64)
    qdrant_write_consistency_factor: int | None = Field(default=None, ge=1, le=64)
    qdrant_timeout_s: int = Field(default=10, ge=1, le=3600)
    database_url: SecretStr | None = None
    database_pool_size: int = Field(default=5, ge=1, le=1000)
    database_pool_overflow: int = Field(default=10, ge=0, le=1000)
    database_pool_wait_s: float = Field(default=30.0, gt=0, le=3600)
    database_pool_recycle_s: int = Field(default=1800, ge=1, le=86_400)
    database_statement_timeout_s: float = Field(default=600.0, ge=0, le=86_400)
    database_lock_timeout_s: float = Field(default=30.0, ge=0, le=86_400)
    database_idle_timeout_s: float = Field(default=600.0, ge=0, le=86_400)
    files: str | None = None
    library_roots: str = ""
    masters_keep_days: int | None = Field(default=None, ge=1)
    files_cache_mb: int = Field(default=4096, ge=1)
    keys_folder: Path | None = None
    watermark_key: SecretStr | None = None
    ledger_key: SecretStr | None = None
    webhook_key: SecretStr | None = None
    territory: str | None = None
    index: str = EMBEDDED
    embedder: str | None = None
    laion: bool = False
    model: str | None = None
    watermarker: str = SPREAD_SPECTRUM
    soundfont: Path | None = None
    ffmpeg: str | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    low_memory: bool = False
    policy: Path | None = None
    guard_actions: str = ""
    security_log: Path | None = None
    security_log_mb: float = Field(default=100.0, gt=0)
    security_log_files: int = Field(default=10, ge=1, le=1000)
    retries: int = Field(default=1, ge=0, le=5)
    contact: str | None = None
    signing: Literal["on", "off"] = "on"
    signing_chain: Path | None = None
    signing_key: Path | None = None
    timestamp_url: str | None = None
    trust_anchors: Path | None = None
    training_mining: str = "notAllowed"
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    def origin_of(self, name: str) -> str:
        """Where a value comes from: ``--territory``, ``RAG_AUDIO_TERRITORY``, a file, or default.

        Of settings that :func:`read_settings` gave.
        """
        return self._origins.get(name, DEFAULT)

    @field_validator("territory")
    @classmethod
    def _territory_is_a_code(cls, value: str | None) -> str | None:
        if value is None or value == "":
            return None
        try:
            return country(value)
        except InvalidInput as error:
            raise ValueError(
                f"{value!r} is not an ISO 3166-1 alpha-2 code such as DE; {error.hint}"
            ) from error

    @field_validator(
        *("signing_chain", "signing_key", "trust_anchors", "policy", "security_log", "ffmpeg"),
        *("keys_folder", "watermark_key", "ledger_key", "webhook_key"),
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return value or None

    @field_validator(
        "qdrant_collection",
        "qdrant_shards",
        "qdrant_replication_factor",
        "qdrant_write_consistency_factor",
        "qdrant_timeout_s",
        mode="before",
    )
    @classmethod
    def _empty_is_default(cls, value: object, info: ValidationInfo) -> object:
        return cls.model_fields[str(info.field_name)].default if value == "" else value

    @field_validator("index", "watermarker", mode="before")
    @classmethod
    def _empty_is_built_in(cls, value: object, info: ValidationInfo) -> object:
        return value or cls.model_fields[str(info.field_name)].default

    @field_validator("files")
    @classmethod
    def _files_are_somewhere(cls, value: str | None) -> str | None:
        if not value:
            return None
        if "://" in value:
            return value.rstrip("/")
        place = Path(value).expanduser()
        if not place.is_absolute():
            raise ValueError(f"{value!r} is neither an absolute folder nor a URL such as s3://…")
        return str(place)

    @field_validator("library_roots")
    @classmethod
    def _library_roots_are_folders(cls, value: str) -> str:
        try:
            LibraryRoots.parse(value)
        except InvalidInput as error:
            raise ValueError(f"{error.message}; {error.hint}".rstrip("; ")) from error
        return value

    @field_validator("timestamp_url")
    @classmethod
    def _timestamp_url_is_one(cls, value: str | None) -> str | None:
        if value and not value.lower().startswith(("http://", "https://")):
            raise ValueError(f"{value!r} is not an http:// or https:// address")
        return value or None

    @property
    def keys(self) -> Path:
        """The folder of the keys."""
        return self.keys_folder or self.home / "keys"

    @field_validator("keys_folder")
    @classmethod
    def _keys_are_absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("home")
    @classmethod
    def _home_is_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()


def read_settings(**overrides: Any) -> Settings:
    """Settings from ``overrides`` that are not None, the environment, and the home's file.

    The earlier of the three wins. A variable that is set and empty counts as set.

    Raises:
        ConfigError: a value is wrong; the message names where it stands.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    environment = EnvSettingsSource(Settings)()
    home = given.get("home", environment.get("home", default_home()))
    file = Path(home).expanduser().absolute() / NAME
    own = settings_in(file.parent)
    try:
        settings = Settings(**{**own, **environment, **given})
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "settings"
        source = _origin(field, given, environment, file)
        if source == str(file):
            value = "" if field in _names("SecretStr") else f" = {own.get(field)!r}"
            source += f": {field}{value}"
        raise ConfigError(f"{source}: {first['msg'].removeprefix('Value error, ')}") from error
    for name in {**own, **environment, **given}:
        settings._origins[name] = _origin(name, given, environment, file)
    return settings


def settings_in(home: Path) -> dict[str, Any]:
    """What the ``settings.toml`` of a home sets, not validated yet; nothing where there is none.

    Raises:
        ConfigError: it cannot be read, has another key, or a secret that others may read.
    """
    file = home / NAME
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            found = tomllib.loads(opened.read().decode("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror or error}",
            hint="it must be a file that its user may read; or remove it",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = 'a line is NAME = VALUE, such as territory = "DE"'
        raise ConfigError(f"{file} is not TOML: {error}", hint=hint) from error
    for key, value in found.items():
        _check_key(file, key)
        if key in _names("SecretStr") and os.name != "nt" and mode & _OTHERS:
            raise ConfigError(
                f"{file}: {key} is a secret, and others may read the file",
                hint=f"chmod 600 {file}",
            )
        if key in _names("Path") and isinstance(value, str) and value:
            found[key] = str(home / Path(value).expanduser())
    return found


def _check_key(file: Path, key: str) -> None:
    known = _names() - {"home"}
    if key == "home":
        raise ConfigError(
            f"{file}: home cannot be set in the home itself", hint="use RAG_AUDIO_HOME or --home"
        )
    if key in known:
        return
    name = key.lower().removeprefix("rag_audio_")
    near = [name] if name in known else get_close_matches(name, known, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"{file}: there is no setting {key!r}",
        hint=f"{meant}settings: {', '.join(sorted(known))}",
    )


def _origin(name: str, given: Any, environment: Any, file: Path) -> str:
    if name in given:
        return f"--{name}"
    return f"RAG_AUDIO_{name.upper()}" if name in environment else str(file)


def _names(kind: str = "") -> frozenset[str]:
    """Of all settings, or of those whose type names ``kind``."""
    fields = Settings.model_fields.items()
    return frozenset(name for name, field in fields if kind in str(field.annotation))


def shown(settings: Settings) -> dict[str, dict[str, str | None]]:
    """What is set, with where it comes from, and the territory in any case; secrets are hidden."""
    found = {}
    for name in sorted(_names()):
        origin, value = settings.origin_of(name), getattr(settings, name)
        if origin != DEFAULT or name == "territory":
            found[name] = {"value": None if value is None else str(value), "from": origin}
    return found
