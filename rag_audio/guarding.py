"""The guardrails on the main path: every text of a request, rewritten or refused, and on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rag_audio import guardrails
from rag_audio.domain import GenerationRequest
from rag_audio.errors import RequestRefused
from rag_audio.guardrails import Action, Policy
from rag_audio.ports import Ledger


def guard_request(
    request: GenerationRequest, policy: Policy, ledger: Ledger
) -> tuple[GenerationRequest, tuple[str, ...]]:
    """The request with what the policy transforms, and notes of what was done.

    Where a licensed artist was put in place of a name, the references come from that artist too,
    unless the request names one itself. What a negative prompt names is only ever described.

    Raises:
        RequestRefused: a text or the artist is not allowed; the ledger has the refusal, without
            the text.
    """
    prompt = guard_text(request.prompt, policy, ledger, "prompt")
    negative = guard_text(request.negative_prompt, policy.describing(), ledger, "negative")
    notes = tuple(
        f"{what} rewritten: {decision.reason}"
        for what, decision in (("prompt", prompt), ("negative prompt", negative))
        if decision.action is Action.TRANSFORM
    )
    fields = ", ".join((*request.instrumentation, *request.mood))
    if fields:
        decision = guard_text(fields, policy, ledger, "controls")
        if decision.action is not Action.ALLOW:
            raise RequestRefused(f"refused: {decision.reason}", matches=decision.matches)
    request = replace(request, prompt=prompt.prompt_out, negative_prompt=negative.prompt_out)
    if request.artist is None:
        request = replace(request, artist=prompt.artist)
    if request.artist is not None:
        try:
            artist = guardrails.require_artist(request.artist, policy)
        except RequestRefused as refused:
            _note_refusal(refused, len(request.artist), "artist", ledger)
            raise
        request = replace(request, artist=artist)
    return request, notes


def guard_text(text: str, policy: Policy, ledger: Ledger, where: str) -> guardrails.Decision:
    """The decision about one text.

    Args:
        where: what it is: ``prompt``, ``negative`` or ``enriched``.

    Raises:
        RequestRefused: as :func:`guard_request`.
    """
    try:
        return guardrails.require(text, policy, where)
    except RequestRefused as refused:
        _note_refusal(refused, len(text), where, ledger)
        raise


def phrase_filter(policy: Policy) -> Callable[[str], bool]:
    """Whether words of a stem may enter a prompt; what is left out is a security event."""

    def is_clean(phrase: str) -> bool:
        return guardrails.judge(phrase, policy, "stem").action is Action.ALLOW

    return is_clean


def _note_refusal(refused: RequestRefused, characters: int, where: str, ledger: Ledger) -> None:
    spans = [[match.start, match.end, match.rule] for match in refused.matches]
    rules = sorted({match.rule for match in refused.matches})
    ledger.append_event(
        "refusal", {"where": where, "rules": rules, "spans": spans, "characters": characters}
    )
