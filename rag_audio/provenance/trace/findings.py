"""What a trace says: the nouns, and their JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rag_audio.domain import (
    USE_OF,
    AttributionRecord,
    Channel,
    License,
    OtherClaim,
    Played,
    Rights,
    SourceUse,
    Stem,
)
from rag_audio.domain.codec import encode
from rag_audio.domain.json_documents import claim_json
from rag_audio.provenance.trace.time_ranges import TimeRange


@dataclass(frozen=True)
class LicenseNow:
    """Whether a source might still be used as it was used then.

    Attributes:
        granted: every channel that it reached the model by is still granted.
        reason: why not, or empty.
    """

    granted: bool
    reason: str = ""


@dataclass(frozen=True)
class TracedSource:
    """One source of a traced output; the three numbers are those of ``Influence``.

    Attributes:
        license: its id in its library. license_then: as it stood when the output was made.
        now: what has become of it.
        causal: share measured by counterfactual, from the record or a later ledger entry.
        revoked: stem, artist or license has been revoked since.
        played: its layers and sections, where the output's seed had any.
        also: who else claimed the same bytes then, undecided.
    """

    stem: str
    title: str
    artist: str
    holder: str
    license: str
    used: dict[Channel, float]
    causal: float | None
    similar: float | None
    revoked: bool
    license_then: License
    now: LicenseNow
    played: tuple[Played, ...] = ()
    also: tuple[OtherClaim, ...] = ()

    @property
    def holders(self) -> tuple[str, ...]:
        """All who granted a license for it then, each name once."""
        others = (claim.license.holder for claim in self.also)
        return tuple(dict.fromkeys((self.holder, *others)))

    @property
    def licenses(self) -> tuple[str, ...]:
        """Ids of the licenses that held for it then, each once."""
        return tuple(dict.fromkeys((self.license, *(claim.license.id for claim in self.also))))

    def within(self, libraries: Collection[str], copy: Stem, rights: Rights) -> TracedSource | None:
        """The source as shown to somebody who may see some libraries only.

        Args:
            copy: the source as one of these libraries has it. rights: theirs alone.

        Returns:
            None where none of these libraries was its licensor.
        """
        whole = ((self.license_then, self.artist), *((c.license, c.artist) for c in self.also))
        own = [claim for claim in whole if claim[0].library in libraries]
        if not own:
            return None
        license, artist = own[0]
        revoked, now = _state(copy, self.used, rights)
        return replace(
            self,
            title=copy.title,
            artist=artist,
            holder=license.holder,
            license=license.id,
            license_then=license,
            revoked=revoked,
            now=now,
            also=tuple(OtherClaim(*claim) for claim in own[1:]),
        )

    def to_json(self) -> dict[str, Any]:
        """As in the ``sources`` of ``trace --json``."""
        then = self.license_then
        return {
            "stem": self.stem,
            "title": self.title,
            "artist": self.artist,
            "holder": self.holder,
            "license": self.license,
            "used": shares_json(self.used),
            "causal": self.causal,
            "similar": self.similar,
            "revoked": self.revoked,
            **({"played": [encode(part) for part in self.played]} if self.played else {}),
            **({"also": [claim_json(claim) for claim in self.also]} if self.also else {}),
            "license_then": {
                "spdx": then.spdx,
                "uses": sorted(use.value for use in then.uses),
                "territories": sorted(then.territories),
                "valid_from": _text(then.valid_from),
                "valid_until": _text(then.valid_until),
                "credit": then.credit,
            },
            "license_now": {"granted": self.now.granted, "reason": self.now.reason},
        }


@dataclass(frozen=True)
class InFile:
    """An output whose sound is in a traced file, and what it was made from."""

    output: int
    sources: tuple[TracedSource, ...]


@dataclass(frozen=True)
class Evidence:
    """One witness: what it is, which output it names, how sure it is, and what it says in words.

    Attributes:
        rivals: further outputs that its words name.
    """

    by: str
    output: int | None
    confidence: float
    says: str
    rivals: tuple[int, ...] = ()

    @property
    def named(self) -> tuple[int, ...]:
        """Every output that it names."""
        return self.rivals if self.output is None else (self.output, *self.rivals)

    def to_json(self) -> dict[str, Any]:
        """As in the ``evidence`` of ``trace --json``."""
        return {
            "by": self.by,
            "output": self.output,
            "confidence": self.confidence,
            "says": self.says,
        }


@dataclass(frozen=True)
class TraceResult:
    """What is known of a piece of audio.

    Attributes:
        found: True when it leads to an entry of the ledger.
        by: who spoke: ``hash`` (the very file or the very samples), ``manifest``, ``watermark``
            or ``fingerprint``; None when not found.
        transplanted: the mark or manifest belongs to another recording than the one it is in.
        confidence: 0…1 of the one that spoke; 1 for a hash.
        output: the number that was named, also when this ledger does not know it.
        explanation: for people.
        evidence: every witness that was heard.
        proof: RFC 6962 inclusion proof of the entry: seq, leaf_hash, size, root, path.
        model_share: what the model and the user's own words contributed to each channel; None,
            and no sources, where the mark of ``output`` was moved into a foreign recording.
        record: the ledger's record of ``output``.
        causal: the latest measurement of causal influence, as the ledger holds it.
        ancestors: the outputs that it was edited from, the last one first.
        checked: the sound was compared with that of ``output``; False: a mark or a manifest names
            it, and there is too little sound, or nothing kept, to tell whether it was moved here.
        ranges: from where to where the file is which output, in order; empty where not compared.
        outputs: every output whose sound is in ``ranges``, ``output`` among them, with its sources.
        notices: what was cut or odd in the file, one line each.
    """

    found: bool
    by: str | None
    confidence: float
    explanation: str
    output: int | None = None
    created: str | None = None
    model: str | None = None
    transplanted: bool = False
    sources: tuple[TracedSource, ...] = ()
    model_share: dict[Channel, float] | None = None
    proof: dict[str, Any] | None = None
    evidence: tuple[Evidence, ...] = ()
    record: AttributionRecord | None = field(default=None, repr=False)
    causal: Mapping[str, Any] | None = field(default=None, repr=False)
    ancestors: tuple[int, ...] = ()
    checked: bool = False
    ranges: tuple[TimeRange, ...] = ()
    outputs: tuple[InFile, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[int, ...]:
        """Every output that the result names, in its fields or its words."""
        own = () if self.output is None else (self.output,)
        heard = [number for one in self.evidence for number in one.named]
        heard += [number for one in self.ranges for number in one.named]
        heard += [one.output for one in self.outputs]
        return tuple(dict.fromkeys((*own, *self.ancestors, *heard)))

    @property
    def is_in_part(self) -> bool:
        """Whether some of the file is the output, and some is known to be something else."""
        known = [one for one in self.ranges if one.checked]
        return len({(one.output, one.transplanted) for one in known}) > 1

    @property
    def edited(self) -> dict[str, Any] | None:
        """What was done, to which file, and what was stated of its rights; None: it is no edit."""
        edit = None if self.record is None else self.record.plan.get("edit")
        if edit is None:
            return None
        return {
            "kind": edit.get("kind"),
            "source_sha256": edit.get("source_sha256"),
            "source_rights": edit.get("source_rights"),
            "kept": edit.get("kept"),
        }

    def to_json(self) -> dict[str, Any]:
        """The result as one JSON document."""
        return {
            "found": self.found,
            "by": self.by,
            "transplanted": self.transplanted,
            "checked": self.checked,
            "confidence": self.confidence,
            "explanation": self.explanation,
            "output": self.output,
            "ancestors": list(self.ancestors),
            "edited": self.edited,
            "created": self.created,
            "model": self.model,
            "sources": [source.to_json() for source in self.sources],
            "model_share": None if self.model_share is None else shares_json(self.model_share),
            "proof": self.proof,
            "evidence": [witness.to_json() for witness in self.evidence],
            "ranges": [one.to_json() for one in self.ranges],
            "outputs": [
                {"output": one.output, "sources": [source.to_json() for source in one.sources]}
                for one in self.outputs
            ],
            "notices": list(self.notices),
        }

    def to_public(self, contact: str | None) -> dict[str, Any]:
        """What anybody may know: whether this system made it, and whom to ask. Nothing else."""
        made = self.found and self.model_share is not None
        said = (
            "This audio was made with AI by this system."
            if made
            else "No sign was found that this system made this audio."
        )
        if made and self.is_in_part:
            own = [one for one in self.ranges if one.output is not None]
            where = ", ".join(f"{one.start_s:.1f} to {one.end_s:.1f} s" for one in own)
            said = f"A part of this audio ({where}) was made with AI by this system."
        elif made and not self.checked:
            said = (
                "This audio carries the mark of audio that this system made with AI. It was not "
                "checked whether the mark is its own."
            )
        return {
            "made_with_ai_by_this_system": made,
            "checked": self.checked,
            "statement": said,
            "contact": contact,
        }


def traced_source(
    source: SourceUse, rights: Rights, causal: Mapping[str, Any] | None
) -> TracedSource:
    """A source of a record, in the light of today's rights.

    Args:
        causal: what a later measurement says of it: an item of its ``sources``.
    """
    stem, influence = source.reference.stem, source.influence
    revoked, now = _state(stem, influence.used, rights)
    measured = influence.causal if causal is None else causal.get("share")
    return TracedSource(
        stem=stem.id,
        title=stem.title,
        artist=stem.artist,
        holder=source.license.holder,
        license=source.license.id,
        used=dict(influence.used),
        causal=measured,
        similar=influence.similar,
        revoked=revoked,
        license_then=source.license,
        now=now,
        played=source.played,
        also=source.also,
    )


def _state(stem: Stem, used: Mapping[Channel, float], rights: Rights) -> tuple[bool, LicenseNow]:
    """Whether a source is revoked, and whether it might be used again as it was."""
    reasons = [
        reason
        for channel, share in used.items()
        if share > 0 and (reason := rights.refusal(stem, USE_OF[channel])) is not None
    ]
    revoked = rights.is_revoked(stem)
    if revoked and not reasons:
        reasons = ["the stem was revoked"]
    return revoked, LicenseNow(not reasons, reasons[0] if reasons else "")


def shares_json(shares: Mapping[Channel, float]) -> dict[str, float]:
    """Shares by the channel's name."""
    return {channel.value: share for channel, share in shares.items()}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
