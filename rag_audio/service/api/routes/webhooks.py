"""The secrets that one's webhooks are signed with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from rag_audio.service.api.audit_log import audit
from rag_audio.service.api.auth import Generates, TheService
from rag_audio.service.api.connections import JsonRoute
from rag_audio.service.api.schemas import WebhookRotationAsked
from rag_audio.service.api.views import moment
from rag_audio.service.webhook_secrets import WebhookSecret

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=JsonRoute)


@router.get("/secret")
def secret(caller: Generates, service: TheService) -> dict[str, Any]:
    """The secret of the key that asks, of nobody else's: an admin too sees only their own."""
    found = service.webhook_secrets.of(caller.owner)
    audit("webhook secret shown", key=caller.owner)
    return _shown(found)


@router.post("/secret")
def rotate(asked: WebhookRotationAsked, caller: Generates, service: TheService) -> dict[str, Any]:
    """Make a new secret for the key that asks; the earlier one signs beside it for a while."""
    made = service.webhook_secrets.rotate(caller.owner, asked.overlap_hours * 3600.0)
    audit("webhook secret rotated", key=caller.owner)
    return _shown(made)


def _shown(found: Sequence[WebhookSecret]) -> dict[str, Any]:
    current, *earlier = found
    return {
        "secret": current.text,
        "made": moment(current.made_at),
        "earlier_until": [moment(one.valid_until) for one in earlier],
    }
