"""Messages in terms of the HTTP API: fields and routes in place of options and commands.

Errors, notes and cures say what would help as the command line says it: ``--bpm 92``,
``rag-audio index``. Before they leave over HTTP, every option becomes the field and every command
the route that does it, each as a code span: `` `bpm: 92` ``, `` `POST /v1/indexing` ``. The page
shows its own labels in place of the spans.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rag_audio.domain import GenerationRequest
from rag_audio.domain.fields import On, fields_of

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
    r"prompt,init|init,prompt|prompt|init|own|licensed|melody|search|waveform|latent|tempo,key",
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
