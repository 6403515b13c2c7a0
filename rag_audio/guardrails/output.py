"""Which outputs may be delivered: sound, and no nearer to a stem than its license allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rag_audio.domain import Audio, GenerationRequest, Segment, SegmentFilter, Stem
from rag_audio.domain.disclosure import EVERYTHING, OTHER_SOURCE, Disclosure
from rag_audio.domain.ports import Embedder, Hit, StemIndex
from rag_audio.domain.record import Ledger
from rag_audio.errors import LibraryError, OutputRefused, RequestRefused
from rag_audio.guardrails.embedding_similarity import cosines
from rag_audio.guardrails.policy import Action, Decision, Policy
from rag_audio.guardrails.prompts import judge, require, require_artist

if TYPE_CHECKING:
    from rag_audio.audio.copy_distance import Sketch


Hear = Callable[[Segment], Audio]
"""Loads or renders a segment; raises LibraryError where that is not possible."""

DEEP = 3
"""How many of the library's nearest stems are compared closely, besides the sources; as many again
of those that are nearest to what the mean of the channels loses."""
TIMELINE_S = 2.5
_WINDOW_S = 5.0
_MOST_WINDOWS = 12
_EMBEDDED_VIEWS = 3
"""Of stereo: the mean and two components, each of which may be all of a stem."""
_SILENT = 1e-4
_FURTHER = "raise --strength or choose another seed"


@dataclass(frozen=True, eq=False)
class SourceSegment:
    """A segment that conditioned the output.

    Attributes:
        conformed: its sound as it went in: stretched, transposed; None: only its words went in,
            and its sound could not be loaded.
    """

    segment: Segment
    conformed: Audio | None


@dataclass(frozen=True)
class Nearness:
    """How near an output comes to one stem.

    Attributes:
        stem: id. path: in its library.
        used: it conditioned the output.
        cosine: of the nearest windows in the embedding space; None when the index lacks it.
        similarity: ``1 - copy_distance`` of the nearest 5 s or the whole, 1 is a copy; None: its
            sound could not be loaded.
        allowed: what its license allows.
        library: whose stem it is.
    """

    stem: str
    path: str
    used: bool
    cosine: float | None
    similarity: float | None
    allowed: float
    library: str = ""

    @property
    def too_near(self) -> bool:
        return self.similarity is not None and self.similarity > self.allowed

    def to_json(self) -> dict[str, Any]:
        """With ``distance``, the copy distance."""
        return {
            "stem": self.stem,
            "path": self.path,
            "used": self.used,
            "cosine": self.cosine,
            "distance": None if self.similarity is None else 1.0 - self.similarity,
            "allowed": self.allowed,
        }


@dataclass(frozen=True)
class Inspection:
    """What the gate found.

    Attributes:
        compared: nearest copy first.
        control: cosine of the nearest stem that was *not* used: what likeness means here.
        timeline: per window of 2.5 s the cosine to each source, in the order they were given.
        tries: how often it was generated again before it passed.
    """

    compared: tuple[Nearness, ...]
    control: Nearness | None
    timeline: tuple[tuple[float | None, ...], ...] = ()
    tries: int = 0

    @property
    def too_near(self) -> tuple[Nearness, ...]:
        """The stems that it comes nearer to than allowed."""
        return tuple(near for near in self.compared if near.too_near)

    def to_json(self) -> dict[str, Any]:
        """What the record keeps; ``copy_distance`` is that to the nearest stem."""
        heard = [near.to_json() for near in self.compared]
        known = [near["distance"] for near in heard if near["distance"] is not None]
        return {
            "copy_distance": min(known, default=None),
            "compared": heard,
            "control": None if self.control is None else self.control.to_json(),
            "timeline": {"window_s": TIMELINE_S, "similar": [list(row) for row in self.timeline]},
            "tries": self.tries,
        }


def check_output(audio: Audio) -> None:
    """Let audio pass that is finite and not silent.

    Raises:
        OutputRefused: it is not.
    """
    import numpy as np

    if not np.isfinite(audio.samples).all():
        raise OutputRefused(
            "the model's output is not finite", hint="try another seed, or float32 on the CPU"
        )
    if float(np.abs(audio.samples).max(initial=0.0)) < _SILENT:
        raise OutputRefused("the model's output is silent", hint="try another seed or more steps")


def require_distance(inspection: Inspection, disclosure: Disclosure = EVERYTHING) -> None:
    """Let an output pass that comes too near to nothing.

    Args:
        disclosure: of the reader: a stem of another library has neither name nor numbers.

    Raises:
        OutputRefused: naming the nearest stem and the numbers.
    """
    for near in inspection.too_near:
        assert near.similarity is not None  # noqa: S101 - too_near says so
        if not disclosure.knows(near.library):
            raise OutputRefused(f"the output is too near to {OTHER_SOURCE}", hint=_FURTHER)
        raise _refused(near.path, near.similarity, near.allowed)


def inspect_output(
    audio: Audio,
    *,
    embedder: Embedder,
    index: StemIndex,
    limits: Mapping[str, float],
    sources: Sequence[SourceSegment],
    hear: Hear,
) -> Inspection:
    """Compare an output with the whole index, and closely with its sources and the nearest stems.

    It is heard in the mean of its channels and in what else there is in them
    (:func:`.views`), so that no polarity or gain hides a stem. The embedding says
    which stems are worth a closer look, the spectrogram (time-aligned, see
    :func:`.copy_distance`) how near they are: the whole and windows of 5 s.

    Args:
        limits: ``max_similarity`` by license key, of all licenses there are: also what may not be
            used may not be copied; and by the id of a stem that several licenses claim.
        sources: in order of rank.
        hear: the sound of a segment; a stem that cannot be heard is recorded so.

    Raises:
        LibraryError: a stem that a license limits cannot be heard.
    """
    nearest, beside = _nearest_stems(audio, embedder, index, limits)
    windows = _to_compare(audio)
    compared = []
    for source in sources:
        stem = source.segment.stem
        hit = _better(nearest.pop(stem.id, None), beside.pop(stem.id, None))
        found = _nearness(source.segment, hit, limits, used=True)
        heard = source.conformed
        similarity = None if heard is None else _similarity(windows, heard)
        compared.append(replace(found, similarity=similarity))
    others, apart = (
        sorted(found.values(), key=lambda hit: -hit.score) for found in (nearest, beside)
    )
    ids = dict.fromkeys(hit.segment.stem.id for hit in (*others[:DEEP], *apart[:DEEP]))
    for hit in filter(None, (_better(nearest.get(id), beside.get(id)) for id in ids)):
        found = _nearness(hit.segment, hit, limits, used=False)
        try:
            sound = hear(hit.segment)
        except LibraryError:
            if found.allowed < 1.0:
                raise
            compared.append(found)
            continue
        compared.append(replace(found, similarity=_similarity(windows, sound)))
    compared.sort(key=lambda near: -1.0 if near.similarity is None else -near.similarity)
    control = _nearness(others[0].segment, others[0], limits, used=False) if others else None
    segments = [source.segment for source in sources]
    rows = cosines(audio, segments, embedder, index, TIMELINE_S) if sources else []
    timeline = tuple(zip(*rows, strict=True))
    return Inspection(tuple(compared), control, timeline)


def _refused(name: str, similarity: float, allowed: float) -> OutputRefused:
    return OutputRefused(
        f"the output is too near to {name}: similarity {similarity:.2f}, "
        f"its license allows {allowed:.2f}",
        hint=_FURTHER,
    )


def _nearest_stems(
    audio: Audio, embedder: Embedder, index: StemIndex, limits: Mapping[str, float]
) -> tuple[dict[str, Hit], dict[str, Hit]]:
    """The nearest stems to the output's windows, and to what else there is in their channels."""
    from rag_audio.audio.channels import views

    windows = _windows(audio, embedder.window_s)
    beside = [view for window in windows for view in views(window)[1:_EMBEDDED_VIEWS]]
    return (
        _nearest(embedder.embed_audio(windows), index, limits),
        _nearest(embedder.embed_audio(beside), index, limits) if beside else {},
    )


def _better(one: Hit | None, other: Hit | None) -> Hit | None:
    """The nearer one of two."""
    return max(filter(None, (one, other)), key=lambda hit: hit.score, default=None)


def _nearest(vectors: Any, index: StemIndex, limits: Mapping[str, float]) -> dict[str, Hit]:
    """The nearest stems over all windows, each with its nearest segment."""
    best: dict[str, Hit] = {}
    if not limits:
        return best
    everything = SegmentFilter(license_keys=frozenset(key for key in limits if "/" in key))
    for vector in vectors:
        for hit in index.search_dense(vector, everything, 4 * DEEP):
            stem = hit.segment.stem.id
            if stem not in best or hit.score > best[stem].score:
                best[stem] = hit
    return best


def _nearness(
    segment: Segment, hit: Hit | None, limits: Mapping[str, float], *, used: bool
) -> Nearness:
    stem = segment.stem
    cosine = None if hit is None else float(hit.score)
    allowed = allowed_similarity(stem, limits)
    return Nearness(stem.id, stem.path, used, cosine, None, allowed, stem.library)


def allowed_similarity(stem: Stem, limits: Mapping[str, float]) -> float:
    """How near a copy of a stem may be, 0…1, by limits as :func:`inspect_output` takes them."""
    return limits.get(stem.id, limits.get(stem.license_key, 1.0))


def _to_compare(audio: Audio) -> list[Sketch]:
    """The whole, and its windows: a copy may be short, and a loop repeats what it copied."""
    from rag_audio.audio.copy_distance import sketch

    windows = _windows(audio, _WINDOW_S)
    return [sketch(part) for part in (windows if len(windows) == 1 else [audio, *windows])]


def _similarity(parts: Sequence[Sketch], sound: Audio) -> float:
    from rag_audio.audio.copy_distance import sketch

    sought = sketch(sound)
    return 1.0 - min(sought.distance(part) for part in parts)


def _windows(audio: Audio, window_s: float) -> list[Audio]:
    from rag_audio.audio.dsp import spread_windows

    return spread_windows(audio, window_s, _MOST_WINDOWS, overlap=0.5)


# The guardrails on the main path: every text of a request, rewritten or refused, and on record.


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
            artist = require_artist(request.artist, policy)
        except RequestRefused as refused:
            _note_refusal(refused, len(request.artist), "artist", ledger)
            raise
        request = replace(request, artist=artist)
    return request, notes


def guard_text(text: str, policy: Policy, ledger: Ledger, where: str) -> Decision:
    """The decision about one text.

    Args:
        where: what it is: ``prompt``, ``negative`` or ``enriched``.

    Raises:
        RequestRefused: as :func:`guard_request`.
    """
    try:
        return require(text, policy, where)
    except RequestRefused as refused:
        _note_refusal(refused, len(text), where, ledger)
        raise


def phrase_filter(policy: Policy) -> Callable[[str], bool]:
    """Whether words of a stem may enter a prompt; what is left out is a security event."""

    def is_clean(phrase: str) -> bool:
        return judge(phrase, policy, "stem").action is Action.ALLOW

    return is_clean


def _note_refusal(refused: RequestRefused, characters: int, where: str, ledger: Ledger) -> None:
    spans = [[match.start, match.end, match.rule] for match in refused.matches]
    rules = sorted({match.rule for match in refused.matches})
    ledger.append_event(
        "refusal", {"where": where, "rules": rules, "spans": spans, "characters": characters}
    )
