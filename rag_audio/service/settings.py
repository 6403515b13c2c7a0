"""Settings of the service: environment variables ``RAG_AUDIO_SERVE_*``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import structlog
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from rag_audio.errors import ConfigError
from rag_audio.service.outbound_hosts import listed_hosts


class ServeSettings(BaseSettings):
    """What a service allows; the variable of ``queue`` is ``RAG_AUDIO_SERVE_QUEUE``, and so on.

    Attributes:
        queue, queue_per_key: jobs that may wait, of all keys and of one.
        requests_per_minute: of one key, or of one address where there are no keys.
        failures_per_minute: answers to wrong keys that an address gets; then 429.
        connections, connections_per_address: open at once, of all and of one address.
        header_s: a request's head is whole within this. idle_s: a connection without a request.
        body_s: a body is whole within this. body_stall_s: longest pause in it.
        body_rate: bytes a second that it makes at least, after its first ``body_stall_s``.
        write_s: longest time that a reader takes nothing of an answer.
        streams_per_key: event streams at once, and as many requests that wait for their job.
        max_body_mb: of a request with JSON: 1 MiB always; of an upload this.
        max_duration_s: longest output that may be asked for.
        max_sound_s: of one request, all its takes and candidates together.
        max_upload_s: longest sound that may be uploaded. max_upload_samples: most samples of all
            its channels, as it claims and as they are counted.
        decode_s, decode_mb: time and memory of the process that decodes an upload. decoded_mb: of
            decoded uploads that are kept so that they need not be decoded again, those that are
            being decoded included.
        job_s: a job that runs longer is ended.
        batch: takes of waiting jobs of one length that share a pass of the model; unset: one on
            a CPU, 8 on a GPU.
        job_days: finished jobs go after so many days, with their events and delivered files; unset:
            never. event_days: the progress of jobs goes after so many.
        traces: at once. sound_mb: decoded bytes of uploads that are worked with at once, see
            :class:`.SoundUse`. Whoever has to wait for either does so up
            to ``trace_wait_s`` and is told then to come again; a job waits for its turn.
        upload_mb, uploads_per_key: that are kept at a time of one key. upload_hours: after which
            they go, and other formats and previews that nobody asked for again.
        uploads_total_mb: that are kept of all keys. free_mb: left free on the disk by uploads and
            by what they are decoded to.
        uploads_at_once, receiving: bodies that come in at a time, of one key and of all.
        sessions_per_key: of the page; the oldest ends.
        audit_mb, audit_files: MiB of one file of ``audit.log``, and how many are kept.
        session_hours: how long the page stays signed in.
        hosts: further names in ``Host`` that are ours, comma separated.
        libraries: folder whose subfolders an admin may index over HTTP.
        tls: a proxy in front speaks TLS: the page's cookie then travels in nothing else.
        webhook_hosts: ``host:port`` that may be called although they are private, have no TLS or
            another port than 443; comma separated.
        webhook_home_secret: sign calls with the secret of the whole home as well, as versions did
            in which keys had no secrets of their own; until all who hear calls have changed.
    """

    model_config = SettingsConfigDict(env_prefix="RAG_AUDIO_SERVE_", frozen=True, extra="forbid")

    queue: int = Field(default=200, ge=1)
    queue_per_key: int = Field(default=50, ge=1)
    requests_per_minute: int = Field(default=600, ge=1)
    failures_per_minute: int = Field(default=10, ge=1)
    connections: int = Field(default=512, ge=1)
    connections_per_address: int = Field(default=256, ge=1)
    header_s: float = Field(default=10.0, gt=0)
    idle_s: int = Field(default=30, ge=1)
    body_s: float = Field(default=1800.0, gt=0)
    body_stall_s: float = Field(default=20.0, gt=0)
    body_rate: int = Field(default=1024, ge=0)
    write_s: float = Field(default=60.0, gt=0)
    streams_per_key: int = Field(default=20, ge=1)
    max_body_mb: int = Field(default=100, ge=1)
    max_duration_s: float = Field(default=190.0, gt=0)
    max_sound_s: float = Field(default=6080.0, gt=0)
    max_upload_s: float = Field(default=900.0, gt=0)
    max_upload_samples: int = Field(default=200_000_000, ge=1)
    decode_s: float = Field(default=30.0, gt=0)
    decode_mb: int = Field(default=2048, ge=256)
    decoded_mb: int = Field(default=4000, ge=1)
    job_s: float = Field(default=3600.0, gt=0)
    batch: int | None = Field(default=None, ge=1, le=64)
    lease_s: float = Field(default=30.0, ge=1)
    attempts: int = Field(default=3, ge=1)
    job_days: float | None = Field(default=None, ge=2)
    event_days: float = Field(default=7.0, gt=0)
    traces: int = Field(default=2, ge=1)
    sound_mb: int = Field(default=700, ge=1)
    trace_wait_s: float = Field(default=20.0, ge=0)
    upload_mb: int = Field(default=4000, ge=1)
    uploads_per_key: int = Field(default=1000, ge=1)
    uploads_total_mb: int = Field(default=40_000, ge=1)
    uploads_at_once: int = Field(default=6, ge=1)
    receiving: int = Field(default=24, ge=1)
    free_mb: int = Field(default=500, ge=0)
    upload_hours: float = Field(default=24.0, gt=0)
    session_hours: float = Field(default=12.0, gt=0)
    sessions_per_key: int = Field(default=20, ge=1)
    audit_mb: float = Field(default=20.0, gt=0)
    audit_files: int = Field(default=10, ge=1, le=1000)
    hosts: str = ""
    tls: bool = False
    webhook_hosts: str = ""
    webhook_home_secret: bool = False
    libraries: Path | None = None

    def names(self, field: str) -> frozenset[str]:
        """The parts of a comma separated setting."""
        parts = str(getattr(self, field)).split(",")
        return frozenset(part.strip().lower() for part in parts if part.strip())

    def listed_webhooks(self) -> frozenset[str]:
        """``host:port`` of ``webhook_hosts``, as :func:`.outbound_hosts.listed_hosts`.

        Raises:
            ConfigError: an entry is malformed or has no port.
        """
        return listed_hosts(self.webhook_hosts)


def read_serve_settings() -> ServeSettings:
    """Settings from the environment.

    Raises:
        ConfigError: a value is wrong; the message names the variable.
    """
    try:
        settings = ServeSettings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(f"RAG_AUDIO_SERVE_{name}: {first['msg']}") from error
    settings.listed_webhooks()
    return settings


# Logs as JSON lines on stderr, each with the request or the job that it belongs to.


def log_as_json() -> None:
    """Let structlog write JSON from now on, and the servers' own loggers too."""
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    render = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            stamp,
            structlog.processors.dict_tracebacks,
            render,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    stdlib = structlog.stdlib
    before: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        stdlib.add_log_level,
        stdlib.add_logger_name,
        stamp,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(stdlib.ProcessorFormatter(processor=render, foreign_pre_chain=before))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
