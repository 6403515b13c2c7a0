"""How documents leave over HTTP."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse

from rag_audio.service.http_terms import advice_in_http_terms


class Answer(JSONResponse):
    """A JSON document whose advice names fields and routes, never options and commands."""

    def render(self, content: Any) -> bytes:
        return super().render(advice_in_http_terms(content))
