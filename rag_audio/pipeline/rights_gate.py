"""Rights on the way to an output: read once before the search, and anew before each delivery, since
what was allowed a minute ago may have ended or been revoked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rag_audio import guardrails
from rag_audio.audio import midi
from rag_audio.domain import (
    USE_OF,
    AudioAs,
    Channel,
    ConditioningPlan,
    GenerationRequest,
    Rights,
    Stem,
    Use,
    names,
)
from rag_audio.domain.clearance import Clearance
from rag_audio.domain.ports import StemIndex
from rag_audio.domain.refusals import Refusal, most_curable
from rag_audio.errors import RequestRefused
from rag_audio.generation.replay import clear_plan
from rag_audio.home import Home
from rag_audio.provenance.influence import used_shares
from rag_audio.provenance.trace import content_matching
from rag_audio.retrieval import recognition
from rag_audio.retrieval.recognition import ForeignFinding, Neighbours

# Whether an artist who is asked for is a source of the output, and why something found nothing.

_OPEN = "--channels prompt,init opens both; an edit without it needs a stem that has tags"
_RESERVED = "not for training or mining"
_REFERENCE = frozenset({Use.PROMPT, Use.INIT_AUDIO})
_LOOKED_UP = 64
"""So many stems are looked up in the index to say that none is in it."""


def require_source(
    plan: ConditioningPlan,
    request: GenerationRequest,
    clearance: Clearance,
    index: StemIndex,
) -> None:
    """Check that a plan which asks for an artist's style uses something of the artist's stems.

    A stem counts where its license grants ``style`` and it has a share above 0 of what is new in
    the output: tokens of the prompt, or energy of the seed. What an edited sound was made from
    before does not count.

    Raises:
        RequestRefused: ``request.artist`` is set, and no stem of that artist has a share.
    """
    artist, rights = request.artist, clearance.rights
    if artist is None or _has_source(plan, artist, rights):
        return
    own = [s for s in clearance.stems_by(artist) if rights.why_no_style(s) is None]
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
    holdings, rights = clearance.holdings, clearance.rights
    if not holdings.stems:
        return ["no library is indexed yet: rag-audio index LIBRARY"]
    meant = names.lookup(artist or "", holdings.artists).names
    own = [g.stem for g in holdings.groups if artist is None or names.exact(g.stem.artist) in meant]
    against = [rights.why_not_any(stem, sorted(_REFERENCE)) for stem in own]
    best = _shared_refusal(against)
    if best is not None:
        return [f"nothing of it is licensed here and now: {best.reason}", best.cure]
    usable = [stem for stem, why in zip(own, against, strict=True) if why is None]
    some = _some_of(usable, clearance, artist)
    if some and not _is_indexed(some, index):
        return [f"nothing of it is in the index: {_index_again(usable)}"]
    return []


def _some_of(usable: Sequence[Stem], clearance: Clearance, artist: str | None) -> list[Stem]:
    """Stems of groups that may be used, at most :data:`_LOOKED_UP`."""
    if artist is not None:
        names_of = sorted({stem.artist for stem in usable})
        some = [stem for name in names_of for stem in clearance.stems_by(name)]
        return [s for s in some if clearance.rights.why_not_any(s, _REFERENCE) is None][:_LOOKED_UP]
    # Contested stems are groups of one, and are themselves.
    own = [stem for stem in usable if stem.id][:_LOOKED_UP]
    keys = {stem.license_key for stem in usable if not stem.id}
    return own + clearance.catalogue.stems_under(keys, _LOOKED_UP)


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
    best = _shared_refusal(against)
    if best is not None:
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
    best = _shared_refusal([rights.why_not(stem, Use.INIT_AUDIO) for stem in usable])
    if Channel.INIT not in request.channels:
        sound, cure = "the init channel is closed", _OPEN
    elif best is not None:
        sound, cure = best.reason, best.cure
    elif request.strength == 1.0 or (plan.seed_parts and plan.strength >= 1.0):
        sound, cure = "at strength 1 nothing of their sound is left", "--strength below 1"
    elif plan.melody is not None:
        sound = "beside a melody only stems that are named play"
    elif request.weights is not None:
        sound, cure = "their weights are 0", "--weights above 0 for one of them"
    return f"{words}, and {sound}", cure


def _shared_refusal(against: Sequence[Refusal | None]) -> Refusal | None:
    """Of what is said against each of several stems the most curable; None: one may be used."""
    return None if None in against else most_curable(why for why in against if why is not None)


def _is_indexed(stems: Iterable[Stem], index: StemIndex) -> bool:
    return any(index.find_stem(stem.id) for stem in stems)


def _index_again(stems: Iterable[Stem]) -> str:
    libraries = sorted({stem.library for stem in stems})
    return f"run rag-audio index on {', '.join(libraries)} (needed after a revocation is undone)"


class RightsGate:
    """Checks each step of a request against rights that the caller has read."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def policy(self, clearance: Clearance) -> guardrails.Policy:
        """Whose style may be asked for."""
        names, actions = self._home.protected_names, self._home.guard_actions
        return guardrails.make_policy(
            clearance.holdings, clearance.rights, names, actions, clearance.withheld
        )

    def require_resembled(self, stem: Stem, rights: Rights) -> None:
        """Check that a stem may be used for something, so that others like it may be found.

        Raises:
            RequestRefused: no license of any library that holds its bytes opens a channel.
        """
        copies = self._home.catalogue.copies(stem.id) or [stem]
        uses = USE_OF.values()
        found = [rights.why_not_any(copy, uses) for copy in copies]
        best = _shared_refusal(found)
        if best is not None:
            raise RequestRefused(
                f"refused: {stem.path} may not be resembled: {best.reason}",
                hint=best.cure,
                reasons=list(dict.fromkeys(why.reason for why in found if why is not None)),
            )

    def inspect(self, request: GenerationRequest, rights: Rights) -> tuple[ForeignFinding, ...]:
        """Inspect the files that the request brings, and check that they may be used.

        Raises:
            RequestRefused: one holds something that may not be used.
            InvalidInput: the audio is not known, and the request does not state the rights to it.
        """
        files = [Path(name) for name in (request.audio, request.midi) if name is not None]
        if not files:
            return ()
        inspector = self.inspector(rights)
        findings = tuple(inspector.inspect(path) for path in files)
        as_melody = request.audio_as is AudioAs.MELODY
        self._require_foreign(findings, request, rights, as_melody=as_melody)
        return findings

    def inspector(self, rights: Rights) -> recognition.Inspector:
        """Recognises what is in foreign files; decides nothing."""
        home, reader = self._home, self._home.reader
        return recognition.Inspector(
            rights,
            catalogue=home.catalogue,
            landmarks=home.landmarks,
            ledger=home.ledger,
            neighbours=Neighbours(lambda: home.embedder, lambda: home.index),
            mark_in=lambda heard: home.watermarker.detect(heard).mark,
            load=home.player.play,
            render=lambda score, window_s, most: midi.excerpts(
                score, window_s, most, soundfont=home.soundfont
            ),
            hear=partial(reader.hear, warns=False),
            score=partial(reader.score, warns=False),
            do_not_train=lambda path: _RESERVED if reader.reservation(path) else None,
            by_content=lambda heard: [
                (fit.output, *fit.span_s)
                for fit in content_matching.outputs_of(home.fingerprints, heard, home.master)
            ],
            disclosure=self._home.disclosure,
        )

    def still_clear(
        self,
        plan: ConditioningPlan,
        request: GenerationRequest,
        findings: tuple[ForeignFinding, ...],
        clearance: Clearance,
    ) -> ConditioningPlan:
        """The plan with the licenses as they stand in ``clearance``.

        Raises:
            RequestRefused: something in it may not be used any more.
        """
        as_melody = plan.melody is not None
        self._require_foreign(findings, request, clearance.rights, as_melody=as_melody)
        self.require_style(plan, request, clearance)
        return clear_plan(plan, clearance.rights)

    def require_style(
        self, plan: ConditioningPlan, request: GenerationRequest, clearance: Clearance
    ) -> None:
        """Check that the artist of a plan may be asked for, and is a source of it.

        Raises:
            RequestRefused: the artist may not be asked for, or nothing by the artist would be used.
        """
        if request.artist is None:
            return
        artist = guardrails.require_artist(request.artist, self.policy(clearance))
        asked = replace(request, artist=artist)
        require_source(plan, asked, clearance, self._home.index)

    def _require_foreign(
        self,
        findings: tuple[ForeignFinding, ...],
        request: GenerationRequest,
        rights: Rights,
        *,
        as_melody: bool,
    ) -> None:
        """A sound that is followed as a melody seeds the latents, whatever channels are open."""
        for finding in findings:
            is_sound = finding.path == request.audio
            recognition.require_rights(
                finding,
                rights,
                {Channel.INIT} if is_sound and as_melody else request.channels,
                stated=request.audio_rights,
                needs_statement=is_sound,
                disclosure=self._home.disclosure,
            )
