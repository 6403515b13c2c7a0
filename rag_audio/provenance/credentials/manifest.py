"""The C2PA manifest of an output: what was done, with which sources, and what may be done with it.

Follows the C2PA specification 2.2 (actions, ingredients, soft binding) and the CAWG training and
data mining assertion 1.1. Nothing the user wrote goes in, and no path: a manifest travels with the
file to strangers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from rag_audio import __version__
from rag_audio.domain import Channel, ConditioningPlan, Reference, StemKind
from rag_audio.domain.licensing import License
from rag_audio.domain.signing import ClaimedOutput, Shares
from rag_audio.errors import ConfigError
from rag_audio.provenance.influence import used_shares

ATTRIBUTION = "org.rag-audio.attribution"
SOFT_BINDING = "c2pa.soft-binding"
TRAINING = "cawg.training-mining"
NOT_ALLOWED, ALLOWED, CONSTRAINED = "notAllowed", "allowed", "constrained"
STRICTNESS = (ALLOWED, CONSTRAINED, NOT_ALLOWED)

PARENT = "parent"
"""Label of the ingredient that was opened."""
_IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = f"{_IPTC}trainedAlgorithmicMedia"
"""Made by a model, all of it."""
COMPOSITE = f"{_IPTC}compositeWithTrainedAlgorithmicMedia"
"""Sound that was there, with parts that a model made."""
TRAINING_USES = tuple(
    "cawg.ai_generative_training cawg.ai_inference cawg.ai_training cawg.data_mining".split()
)
_ATTRIBUTION_VERSION = 1
_MIDI = {".mid", ".midi", ".kar"}
MEDIA_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".mp4": "audio/mp4",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".rf64": "audio/x-rf64",
    ".w64": "audio/x-w64",
    ".aif": "audio/aiff",
    ".aiff": "audio/aiff",
}


def make_manifest(claim: ClaimedOutput, media_type: str, training: str) -> dict[str, Any]:
    """The manifest definition that the C2PA library signs, without the opened file.

    Args:
        training: as :func:`check_training` takes it.
    """
    # Those of a copy are in the manifest of what was converted.
    references = () if claim.converted else claim.plan.references
    labels = [f"source-{index}" for index in range(len(references))]
    actions = _actions(claim, labels)
    assertions = [_training(training, {}), _attribution(claim)]
    if claim.watermark is not None:
        if not claim.converted:
            # A copy holds the mark that its output was given.
            actions.append({"action": "c2pa.watermarked.bound"})
        assertions.insert(0, _soft_binding(claim, claim.watermark))
    assertions.insert(0, {"label": "c2pa.actions.v2", "data": {"actions": actions}})
    return {
        "claim_generator_info": [{"name": "rag-audio", "version": __version__}],
        "title": f"Output {claim.output}",
        "format": media_type,
        "ingredients": [
            _ingredient(label, reference)
            for label, reference in zip(labels, references, strict=True)
        ],
        "assertions": [{**assertion, "created": True} for assertion in assertions],
    }


def with_parent(
    document: Mapping[str, Any],
    training: str,
    parents: Sequence[Mapping[str, Any]],
    reserved: Mapping[str, str],
) -> dict[str, Any]:
    """A manifest of :func:`make_manifest` with what is known of the opened file.

    Args:
        parents: the file as an ingredient, unless the library is given it otherwise.
        reserved: what its own credentials reserve: ours are not looser.
    """
    stated = {**_training(training, reserved), "created": True}
    return {
        **document,
        "ingredients": [*map(dict, parents), *document["ingredients"]],
        "assertions": [
            stated if one["label"] == TRAINING else one for one in document["assertions"]
        ],
    }


def source_type(plan: ConditioningPlan) -> str:
    """The IPTC digital source type of a plan's output.

    An edit that keeps any of the edited sound is a composite; ``vary`` keeps the share of it that
    the latents start with.
    """
    return COMPOSITE if plan.edit is not None and plan.edit.kept > 0 else GENERATED


def _actions(claim: ClaimedOutput, sources: list[str]) -> list[dict[str, Any]]:
    """What was done: created, or opened and then edited or converted (specification, 18.13)."""
    made: dict[str, Any] = {
        "action": "c2pa.created",
        "digitalSourceType": source_type(claim.plan),
        "softwareAgent": {"name": public_name(claim.info.name)},
    }
    if sources:
        made["parameters"] = {"ingredientIds": sources}
    if claim.opened is None:
        return [made]
    made["action"] = "c2pa.transcoded" if claim.converted else "c2pa.edited"
    if claim.converted:
        # No model has worked on the copy: it is the output's own source type that it has.
        made["softwareAgent"] = {"name": "rag-audio", "version": __version__}
        made["parameters"] = {"ingredientIds": [PARENT]}
    return [{"action": "c2pa.opened", "parameters": {"ingredientIds": [PARENT]}}, made]


def check_training(text: str) -> str:
    """What others may do with outputs: ``notAllowed``, ``allowed``, or ``constrained: TERMS``.

    Raises:
        ConfigError: it is none of these.
    """
    use, _, terms = text.partition(":")
    if text not in (NOT_ALLOWED, ALLOWED) and not (use == CONSTRAINED and terms.strip()):
        raise ConfigError(
            f"{text!r} does not say what others may do with outputs",
            hint="RAG_AUDIO_TRAINING_MINING is notAllowed, allowed or 'constrained: TERMS'",
        )
    return text


def public_name(name: str) -> str:
    """A model's name without the folder it was loaded from; a hub id stays as it is."""
    if PurePosixPath(name).is_absolute() or name.startswith((".", "~")):
        return PurePosixPath(name).name
    return PureWindowsPath(name).name if PureWindowsPath(name).drive or "\\" in name else name


def _ingredient(label: str, reference: Reference) -> dict[str, Any]:
    stem = reference.stem
    return {
        "label": label,
        "relationship": "inputTo",
        "title": _text(stem.title) or f"stem {stem.id[:12]}",
        "format": _media_type(stem.kind, PurePosixPath(stem.path).suffix.lower()),
        "instance_id": f"urn:rag-audio:sha256:{stem.id}",
    }


def _media_type(kind: StemKind, suffix: str) -> str:
    if kind is StemKind.MIDI or suffix in _MIDI:
        return "audio/midi"
    return MEDIA_TYPES.get(suffix, "audio/x-unknown")


def _soft_binding(claim: ClaimedOutput, watermark: str) -> dict[str, Any]:
    """The mark says the output's number over all of its length, in milliseconds."""
    whole = {"timespan": {"start": 0, "end": round(1000 * claim.duration_s)}}
    return {
        "label": SOFT_BINDING,
        "data": {
            "alg": f"org.rag-audio.{watermark}",
            "blocks": [{"scope": whole, "value": f"{claim.output:010x}"}],
        },
    }


def _training(text: str, reserved: Mapping[str, str]) -> dict[str, Any]:
    """The assertion; entries of the opened file that are stricter, or that we do not have, hold."""
    use, _, terms = check_training(text).partition(":")
    entry = {"use": use}
    if terms.strip():
        entry["constraint_info"] = terms.strip()
    entries = {name: dict(entry) for name in TRAINING_USES}
    for name, kept in reserved.items():
        name = f"cawg.{name.partition('.')[2]}"
        if STRICTNESS.index(kept) > STRICTNESS.index(entries.get(name, {"use": ALLOWED})["use"]):
            entries[name] = {"use": kept}
            if kept == CONSTRAINED:
                entries[name]["constraint_info"] = "as the credentials of the opened file say"
    return {"label": TRAINING, "data": {"entries": entries}}


def _edit(plan: ConditioningPlan) -> dict[str, Any]:
    """What was edited, and how much of it is kept; empty: nothing was."""
    edit = plan.edit
    if edit is None:
        return {}
    parent = {} if edit.parent is None else {"output": edit.parent}
    return {
        "edit": {
            "kind": edit.kind,
            **parent,
            "source_sha256": edit.source_sha256,
            "regions": [[float(start), float(end)] for start, end in edit.regions],
            "kept": float(edit.kept),
        }
    }


def _attribution(claim: ClaimedOutput) -> dict[str, Any]:
    plan, info = claim.plan, claim.info
    used, rest = claim.shares or used_shares(plan)
    return {
        "label": ATTRIBUTION,
        "data": {
            "version": _ATTRIBUTION_VERSION,
            "output": claim.output,
            "model": {
                "name": public_name(info.name),
                "id": info.id,
                "untrained": info.untrained,
            },
            "sources": [
                _source(reference, plan.claims_on(reference), used[index])
                for index, reference in enumerate(plan.references)
            ],
            "model_share": _shares(rest),
            "credits": [_text(line) for line in claim.credits],
            **_edit(plan),
        },
    }


def _source(
    reference: Reference, claims: Sequence[tuple[License, str]], used: Shares
) -> dict[str, Any]:
    """A source with its license; where several claim its bytes undecided, with all of them."""
    stem, ((license, _), *others) = reference.stem, claims
    also = [{"artist": _text(artist), **_terms(other)} for other, artist in others]
    return {
        "stem": stem.id,
        "title": _text(stem.title),
        "artist": _text(stem.artist),
        "isrc": _text(stem.isrc),
        **_terms(license),
        "used": _shares(used),
        **({"also": also} if also else {}),
    }


def _terms(license: License) -> dict[str, str]:
    return {
        "holder": _text(license.holder),
        "license": _text(license.id),
        "spdx": _text(license.spdx),
        "credit": _text(license.credit),
    }


def _text(value: str) -> str:
    """A name from a file system may hold bytes that are no Unicode; CBOR text must be."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _shares(shares: Shares) -> dict[str, float]:
    return {channel.value: float(shares.get(channel, 0.0)) for channel in Channel}
