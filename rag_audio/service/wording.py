"""Documents and messages of the HTTP API: fields and routes in place of options and commands.

Errors, notes and cures say what would help as the command line says it: ``--bpm 92``,
``rag-audio index``. Before they leave over HTTP, every option becomes the field and every command
the route that does it, each as a code span: `` `bpm: 92` ``, `` `POST /v1/indexing` ``. The page
shows its own labels in place of the spans.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rag_audio.domain import GenerationRequest
from rag_audio.domain.fields import On, fields_of
from rag_audio.errors import BackendError
from rag_audio.home import Home
from rag_audio.resources import data_dir
from rag_audio.service.jobs import Job, JobState
from rag_audio.storage.library_files import is_url

FIELDS: Mapping[str, str] = {
    **{
        field.option.replace("_", "-"): field.name
        for field in fields_of(GenerationRequest).values()
        if On.GENERATE in field.on and On.GENERATIONS in field.on
    },
    "license": "license",
    "like": "like",
    "limit": "limit",
    "min-duration": "min_duration_s",
    "region": "regions",
    "stem": "stem",
    "tag": "tags",
}
"""The fields of the API that the options of the command line stand for."""

ADVICE = frozenset(
    {"cure", "decide", "detail", "hint", "index", "message", "notes", "reason", "reasons"}
    | {"refusal", "why"}
)
"""Members of documents whose texts this program wrote."""

_VALUES = (
    r"prompt,init|init,prompt|prompt|init|own|licensed|melody|search|waveform|latent|all|tempo,key",
    r"\d+(?:\.\d+)?(?![\w.-])",
)
_OPTION = re.compile(
    rf"--([a-z]+(?:-[a-z]+)*)(?: (?:({'|'.join(_VALUES)})\b|'([^']*)'|(?:FILE|STEM|N)\b))?"
)

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"make a new plan, or choose that model with --model", "ask again for a new plan"),
        (r"make a new plan", "ask again for a new plan"),
        (r",? or RAG_AUDIO_TERRITORY, or territory in the home's settings\.toml", ""),
        (r"--bpm (\d[\d.]*)-(\d[\d.]*)", r"`bpm: [\1, \2]`"),
        (r"--region (\d[\d.]*)-(\d[\d.]*)", r"`regions: [[\1, \2]]`"),
        (
            r"rag-audio revoke --undo (?:--(stem|artist|license) )?",
            r"whoever runs this service can undo the revocation of \1 ",
        ),
        (r"rag-audio keys api\b(?!-)", "whoever runs this service knows the keys"),
        (r"rag-audio generate --", "`POST /v1/generations` with --"),
        (r"`?rag-audio search(?: --json)?`?", "`POST /v1/search`"),
        (r"`?rag-audio library`? lists the licenses", "`GET /v1/libraries` lists the licenses"),
        (r"`?rag-audio library`?", "`GET /v1/stems`"),
        (r"`?rag-audio artists`?", "`GET /v1/artists`"),
        (r"`?rag-audio outputs`?", "`GET /v1/outputs`"),
        (r"`?rag-audio trace(?: FILE)?`?", "`POST /v1/trace`"),
        (r"`?rag-audio index(?: (?:LIBRARY|FOLDER))?`?", "`POST /v1/indexing`"),
        (r"rag-audio (?:inpaint|extend|vary) FILE …", "`POST /v1/edits`"),
    )
)


def in_http_terms(text: str) -> str:
    """A message with fields in place of options and routes in place of commands.

    What it says already in terms of the API stays: twice is as once.
    """
    if "--" not in text and "rag-audio" not in text and "make a new plan" not in text:
        return text
    for pattern, words in _RULES:
        text = pattern.sub(words, text)
    return _OPTION.sub(_field, text)


def _field(found: re.Match[str]) -> str:
    option, plain, quoted = found[1], found[2], found[3]
    if option not in FIELDS:
        return found[0]
    value = plain or quoted
    return f"`{FIELDS[option]}`" if value is None else f"`{FIELDS[option]}: {value}`"


def advice_in_http_terms(document: Any, *, is_advice: bool = False) -> Any:
    """A document whose members of :data:`ADVICE` are in terms of the API; the rest stays."""
    if isinstance(document, str):
        return in_http_terms(document) if is_advice else document
    if isinstance(document, dict):
        return {
            name: advice_in_http_terms(value, is_advice=name in ADVICE)
            for name, value in document.items()
        }
    if isinstance(document, list | tuple):
        return [advice_in_http_terms(one, is_advice=is_advice) for one in document]
    return document


# Names for files of this machine in what is answered over HTTP: no path of the server is told.


LOOK_S = 5.0
"""Which libraries there are is looked up no more often than this."""
_FOLDER = "a folder of the server"
_UPLOAD = re.compile(r"uploads/\.?([0-9a-f]{32})(?:\.[0-9a-z]{1,8})?")
_ATTEMPT = re.compile(r"outputs/[0-9a-f]{32}/[0-9a-f]{32}/")
_PATH = re.compile(r"(?<![\w./:~-])(?:/[^\s/'\"`,;:()<>\[\]{}|]+){2,}/?")
_ROUTES = ("/v1/", "/problems/")
_TEXTS = ("message", "detail", "hint", "reasons")
"""Members of an error's document that this program wrote; others quote the caller."""


class Places:
    """Rewrites messages.

    An upload becomes ``upload ID``, a stem its path in its library, any other file of the home its
    path in there; of a path that is none of these the last part is left.

    Args:
        folders: of the server, besides those of the home and of the libraries.
    """

    def __init__(self, home: Home, folders: Iterable[Path] = ()) -> None:
        self._home = home
        settings = home.settings
        named = (settings.model, settings.embedder)
        self._folders = [home.folder, *folders, data_dir("models").parent]
        self._folders += [Path(name).parent for name in named if name and Path(name).is_absolute()]
        self._folders += [Path(tempfile.gettempdir())]
        self._folders += [] if home.files.folder is None else [home.files.folder]
        self._libraries: tuple[str, ...] = ()
        self._looked: float | None = None

    def file(self, path: Path | str) -> str:
        """What a file is called."""
        return self.told(str(path))

    def told(self, text: str) -> str:
        """A message without paths of this machine."""
        if "/" not in text and "\\" not in text:
            return text
        for folder in self._roots():
            text = _inside(text, folder)
        text = _ATTEMPT.sub("", _UPLOAD.sub(r"upload \1", text))
        return _PATH.sub(_last_part, text)

    def error(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """A document of an error without paths of this machine, in terms of the HTTP API."""
        return {
            name: _mapped(value, self._said) if name in _TEXTS else value
            for name, value in document.items()
        }

    def document(self, value: Any) -> Any:
        """A document of which this program wrote all texts, as :meth:`error`."""
        return _mapped(value, self._said)

    def _said(self, text: str) -> str:
        return in_http_terms(self.told(text))

    def _roots(self) -> list[str]:
        """Folders of this machine, the innermost first, each also as the system resolves it; and
        URLs of libraries."""
        if self._looked is None or time.monotonic() - self._looked > LOOK_S:
            # The message may be that the database is away: those of before are left out then.
            with suppress(BackendError):
                self._libraries = tuple(one.root for one in self._home.catalogue.libraries())
                self._looked = time.monotonic()
        folders = {*map(str, self._folders), *self._libraries}
        folders |= {str(Path(folder).resolve()) for folder in folders if not is_url(folder)}
        return sorted(folders, key=lambda folder: -len(folder))


def _inside(text: str, folder: str) -> str:
    """The text with paths in a folder as they are from there on."""
    if len(folder) < 2:
        return text
    there = re.sub(rf"{re.escape(folder)}/(?=[^\s'\"/])", "", text)
    return re.sub(rf"{re.escape(folder)}/?(?![\w.-])", _FOLDER, there)


def _last_part(found: re.Match[str]) -> str:
    path = found[0]
    return path if path.startswith(_ROUTES) else path.rstrip("/").rpartition("/")[2]


def _mapped(value: Any, told: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return told(value)
    if isinstance(value, Mapping):
        return {name: _mapped(item, told) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, told) for item in value]
    return value


# Jobs as the API shows them.

_RESULT = (
    *("enriched_prompt", "strength", "steps", "guidance", "model", "untrained", "references"),
    *("model_share", "bpm", "key", "duration_s", "controls", "watermark", "notes", "enforced"),
    *("enforced_met", "unmet", "stages_s", "pass_of"),
)
_LINKS = ("events", "content", "plan", "record", "cancel")
_OUTPUT = (
    *("output", "seed", "duration_s", "sample_rate", "channels", "quality", "pcm_sha256"),
    "enforced_met",
)


def job_json(job: Job, places: Places) -> dict[str, Any]:
    """A job, as its owner may see it, with links to all that belongs to it.

    What it names was chosen for its owner when it ran.

    Args:
        places: names files: an older version wrote paths into problems and notes.
    """
    here = f"/v1/generations/{job.id}"
    result = job.result or {}
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state.value,
        "created": moment(job.created_at),
        "started": moment(job.started_at),
        "finished": moment(job.finished_at),
        "attempts": job.attempts,
        "cancel_asked": job.cancel_asked,
        "stage": job.stage,
        "done": job.done,
        "total": job.total,
        "eta_s": job.eta_s if job.state is JobState.RUNNING else None,
        "position": job.position,
        "prompt": job.request.get("prompt", ""),
        "request": {name: value for name, value in job.request.items() if name != "webhook"},
        "problem": None if job.problem is None else places.error(job.problem),
        "outputs": [
            {
                "take": take,
                **{name: output.get(name) for name in _OUTPUT},
                "unmet": output.get("unmet", []),
                "content": f"{here}/content?take={take}",
                "record": f"{here}/record?take={take}",
            }
            for take, output in enumerate(result.get("outputs", ()), 1)
        ],
        **{name: result.get(name) for name in _RESULT},
        "notes": places.document(result.get("notes")),
        "links": {
            "self": here,
            **{name: f"{here}/{name}" for name in _LINKS},
        },
    }


def moment(seconds: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601, UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
