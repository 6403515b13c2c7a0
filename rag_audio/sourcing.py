"""Whether an artist who is asked for is a source of the output, and why something found nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rag_audio import names
from rag_audio.clearance import Clearance
from rag_audio.domain import USE_OF, Channel, ConditioningPlan, GenerationRequest, Rights, Stem, Use
from rag_audio.errors import RequestRefused
from rag_audio.ports import StemIndex
from rag_audio.provenance.influence import used_shares
from rag_audio.refusals import most_curable

_OPEN = "--channels prompt,init opens both; an edit without it needs a stem that has tags"
_REFERENCE = frozenset({Use.PROMPT, Use.INIT_AUDIO})


def require_source(
    plan: ConditioningPlan,
    request: GenerationRequest,
    clearance: Clearance,
    index: StemIndex,
) -> None:
    """Let a plan pass that asks for an artist's style and takes something from the artist's stems.

    A stem counts where its license grants ``style`` and it has a share above 0 of what is new in
    the output: tokens of the prompt, or energy of the seed. What an edited sound was made from
    before does not count.

    Raises:
        RequestRefused: ``request.artist`` is set, and no stem of that artist has a share.
    """
    artist, rights = request.artist, clearance.rights
    if artist is None or _has_source(plan, artist, rights):
        return
    own = [s for s in clearance.stems if _is_by(s, artist) and rights.why_no_style(s) is None]
    reason, cure = _why_none(plan, request, own, rights, index)
    raise RequestRefused(
        f"refused: nothing by {artist} would go into the output: {reason}",
        hint=cure,
        reasons=[reason],
    )


def why_nothing(clearance: Clearance, index: StemIndex, artist: str | None = None) -> list[str]:
    """Why a search that found nothing could not find anything, in lines; none: nothing fitted it.

    Args:
        artist: the only one who was looked for.
    """
    stems, rights = clearance.stems, clearance.rights
    if not stems:
        return ["no library is indexed yet: rag-audio index LIBRARY"]
    meant = names.lookup(artist or "", {stem.artist for stem in stems}).names
    own = [stem for stem in stems if artist is None or stem.artist in meant]
    against = [rights.why_not_any(stem, sorted(_REFERENCE)) for stem in own]
    best = most_curable(why for why in against if why is not None)
    if best is not None and None not in against:
        return [f"nothing of it is licensed here and now: {best.reason}", best.cure]
    usable = [stem for stem, why in zip(own, against, strict=True) if why is None]
    if usable and not _is_indexed(usable, index):
        return [f"nothing of it is in the index: {_index_again(usable)}"]
    return []


def _has_source(plan: ConditioningPlan, artist: str, rights: Rights) -> bool:
    shares, _ = used_shares(replace(plan, edit=None))
    return any(
        max(shares[i].values()) > 0
        and _is_by(reference.stem, artist)
        and rights.why_no_style(reference.stem) is None
        for i, reference in enumerate(plan.references)
    )


def _is_by(stem: Stem, artist: str) -> bool:
    return names.same(stem.artist, artist)


def _why_none(
    plan: ConditioningPlan,
    request: GenerationRequest,
    own: Sequence[Stem],
    rights: Rights,
    index: StemIndex,
) -> tuple[str, str]:
    """Why no stem of the artist has a share, and what would help."""
    left = [s for s in own if not any(s.id.startswith(prefix) for prefix in request.exclude)]
    if not left:
        return "every stem of theirs is excluded", "exclude fewer of them"
    uses = [USE_OF[channel] for channel in sorted(request.channels)]
    against = [rights.why_not_any(stem, uses) for stem in left]
    best = most_curable(why for why in against if why is not None)
    if best is not None and None not in against:
        closed = "" if len(uses) == len(Channel) else "open both with --channels prompt,init; "
        return best.reason, f"{closed}{best.cure}"
    usable = [stem for stem, why in zip(left, against, strict=True) if why is None]
    if not _is_indexed(usable, index):
        return "no stem of theirs is in the index", _index_again(usable)
    named = [s for s in usable if any(s.id.startswith(prefix) for prefix in request.named)]
    if not named and (request.k == 0 or (request.k is None and request.named)):
        cure = "--references 3 retrieves some, --reference STEM names one"
        return "none of their stems is among the references", cure
    return _why_unheard(plan, request, usable, rights)


def _why_unheard(
    plan: ConditioningPlan, request: GenerationRequest, usable: Sequence[Stem], rights: Rights
) -> tuple[str, str]:
    """Why references have no share: nothing of theirs is said, and their sound is not used."""
    words = "their stems have no words for the prompt"
    if Channel.PROMPT not in request.channels:
        words = "the prompt channel is closed"
    sound, cure = "their sound is not used", "--reference STEM names a stem that must be used"
    against = [rights.why_not(stem, Use.INIT_AUDIO) for stem in usable]
    best = most_curable(why for why in against if why is not None)
    if Channel.INIT not in request.channels:
        sound, cure = "the init channel is closed", _OPEN
    elif best is not None and None not in against:
        sound, cure = best.reason, best.cure
    elif request.strength == 1.0 or (plan.seed_parts and plan.strength >= 1.0):
        sound, cure = "at strength 1 nothing of their sound is left", "--strength below 1"
    elif plan.melody is not None:
        sound = "beside a melody only stems that are named play"
    elif request.weights is not None:
        sound, cure = "their weights are 0", "--weights above 0 for one of them"
    return f"{words}, and {sound}", cure


def _is_indexed(stems: Iterable[Stem], index: StemIndex) -> bool:
    return any(index.find_stem(stem.id) for stem in stems)


def _index_again(stems: Iterable[Stem]) -> str:
    libraries = sorted({stem.library for stem in stems})
    return f"run rag-audio index on {', '.join(libraries)} (needed after a revocation is undone)"
