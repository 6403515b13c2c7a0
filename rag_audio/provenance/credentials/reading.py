"""Read content credentials: whose they are, whether they hold, and what they say.

Two answers of the C2PA library are read together: its state says "Valid" for a signer nobody knows,
where only its list of results says that the signer is untrusted.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rag_audio.domain.codec import encode, read
from rag_audio.domain.signing import (
    SIDECAR,
    Credentials,
    CredentialState,
    ParentCredentials,
    sidecar_of,
)
from rag_audio.errors import UnreadableFile
from rag_audio.provenance.credentials.manifest import (
    ALLOWED,
    ATTRIBUTION,
    CONSTRAINED,
    MEDIA_TYPES,
    NOT_ALLOWED,
    STRICTNESS,
    TRAINING,
    TRAINING_USES,
)
from rag_audio.provenance.credentials.signing_keys import PURPOSES

if TYPE_CHECKING:
    from c2pa import Context, Reader


_MARKER = b"jumdc2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"
"""How every manifest store begins (C2PA specification 2.2, section 11.1.4)."""
_TRAINING_LABELS = (TRAINING, "c2pa.training-mining")
_HASH = re.compile(r"[0-9a-f]{64}")
_DAMAGED = "it is damaged, or not as the standard has it"
_MAX_SIDECAR = 16 << 20
_MAX_OUTPUT = 2**40 - 1
_EXPIRED, _UNKNOWN = "signingCredential.expired", "signingCredential.untrusted"
_WORDS = {
    "assertion.dataHash.mismatch": "the file was changed after it was signed, or the manifest "
    "is that of another file",
    "assertion.bmffHash.mismatch": "the file was changed after it was signed, or the manifest "
    "is that of another file",
    "assertion.hashedURI.mismatch": "a statement of the manifest was changed after it was signed",
    "claimSignature.mismatch": "the manifest was changed after it was signed, or signed with "
    "another key than its certificate's",
    _EXPIRED: "the signer's certificate has expired, and nobody vouches for the time of signing",
    _UNKNOWN: "the signer is not known here",
}


def read_credentials(path: Path, anchors: str = "") -> Credentials | None:
    """The content credentials of a file, in it or in ``FILE.c2pa`` beside it; None: it has none.

    A file that is no sound at all has none either. Nothing is fetched from anywhere.

    Args:
        anchors: PEM of the certificates whose signers are trusted.

    Raises:
        UnreadableFile: the file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file, anchors)
    except OSError as error:
        raise UnreadableFile(f"{str(path)!r} cannot be read: {error.strerror}") from error


def training_reservation(path: Path) -> str | None:
    """What a file's credentials say, in any entry, that AI may not use freely; None: nothing.

    ``notAllowed`` and ``constrained`` both count, in the file's own manifest and in those of its
    ingredients, whoever signed them: a broken signature does not lift a reservation of rights.

    Raises:
        UnreadableFile: the file cannot be opened.
    """
    found = read_credentials(path)
    return None if found is None else reservation_in(found, path)


def reservation_in(found: Credentials, path: Path) -> str | None:
    """What credentials that were read of a file forbid, in words; None: nothing.

    Raises:
        OSError: the file cannot be read.
    """
    if not found.label and found.state is CredentialState.INVALID and _reserves_in_ruins(path):
        return "its damaged manifest reserves the use by AI"
    forbidden = [f"{name} {use}" for name, use in sorted(found.training.items()) if use != ALLOWED]
    return ", ".join(forbidden) or None


def ruined_training(path: Path) -> dict[str, str]:
    """What a file with a manifest that cannot be read reserves, by entry: all, or nothing.

    Raises:
        OSError: the file cannot be read.
    """
    return dict.fromkeys(TRAINING_USES, NOT_ALLOWED) if _reserves_in_ruins(path) else {}


def judge(reader: Reader) -> tuple[CredentialState, tuple[str, ...]]:
    """What a manifest is worth, and what is wrong with it."""
    results = reader.get_validation_results() or {}
    active = results.get("activeManifest") or {}
    failures = active.get("failure") or []
    passed = _passed(reader)
    codes = {item.get("code") for item in failures}
    state = reader.get_validation_state()
    errors = tuple(dict.fromkeys(_sentence(item) for item in failures))
    if state == "Trusted" and not codes and "signingCredential.trusted" in passed:
        return CredentialState.TRUSTED, ()
    if codes and codes <= {_EXPIRED, _UNKNOWN}:
        return CredentialState.UNTRUSTED, errors
    if state == "Valid" and not codes:
        return CredentialState.UNTRUSTED, (_WORDS[_UNKNOWN],)
    deltas = tuple(_sentence(item) for item in _ingredient_failures(results))
    return CredentialState.INVALID, errors + deltas or (f"the verifier says {state!r}",)


def read_stream(
    file: BinaryIO, media_type: str | None, anchors: str, manifest: bytes | None = None
) -> Credentials:
    """The credentials in an open file, or those of ``manifest`` held against it.

    Raises:
        c2pa.C2paError: there are none, or they cannot be read.
    """
    from c2pa import Reader

    with make_context(anchors) as context, Reader(media_type, file, manifest, context) as reader:
        return _told(reader, sidecar=manifest is not None)


def _read(path: Path, file: BinaryIO, anchors: str) -> Credentials | None:
    from c2pa import C2paError

    try:
        return read_stream(file, MEDIA_TYPES.get(path.suffix.lower()), anchors)
    except (C2paError.ManifestNotFound, C2paError.NotSupported):
        return _read_sidecar(path, file, anchors)
    except C2paError as error:
        problem = said(error)
    if problem.startswith("must fetch remote manifests"):
        elsewhere = "its manifest stands on the network, where it is not fetched from"
        return Credentials(CredentialState.NONE, errors=(elsewhere,))
    if _holds(path, _MARKER):
        return _ruined(_DAMAGED)
    return _read_sidecar(path, file, anchors)


def _read_sidecar(path: Path, file: BinaryIO, anchors: str) -> Credentials | None:
    from c2pa import C2paError

    beside = _sidecar_of(path)
    if beside is None:
        return None
    if beside.stat().st_size > _MAX_SIDECAR:
        return _ruined(f"{beside.name} is larger than any manifest", sidecar=True)
    file.seek(0)
    media_type = MEDIA_TYPES.get(path.suffix.lower(), "audio/ogg")
    try:
        return read_stream(file, media_type, anchors, beside.read_bytes())
    except C2paError:
        return _ruined(_DAMAGED, sidecar=True)


def sidecar_beside(path: Path) -> Path | None:
    """The sidecar of a file, unless it is larger than any manifest; None: there is none."""
    beside = _sidecar_of(path)
    return None if beside is None or beside.stat().st_size > _MAX_SIDECAR else beside


def _sidecar_of(path: Path) -> Path | None:
    """``take.ogg.c2pa`` as this project writes it, else ``take.c2pa`` as others do."""
    candidates = (sidecar_of(path), path.with_suffix(SIDECAR))
    return next((found for found in candidates if found != path and found.is_file()), None)


def _ruined(problem: str, *, sidecar: bool = False) -> Credentials:
    return Credentials(
        CredentialState.INVALID,
        sidecar=sidecar,
        errors=(f"the manifest cannot be read: {problem}",),
    )


def _told(reader: Reader, *, sidecar: bool) -> Credentials:
    """What a manifest says. Its content may be anybody's: every field is checked for its type."""
    state, errors = judge(reader)
    try:
        store = json.loads(reader.json())
    except (ValueError, RecursionError):
        return _ruined(_DAMAGED, sidecar=sidecar)
    manifests = _mapping(store.get("manifests"))
    label = str(store.get("active_manifest") or "")
    active = _mapping(manifests.get(label))
    attribution = _assertion(active, ATTRIBUTION)
    output = attribution.get("output")
    ours = isinstance(output, int) and not isinstance(output, bool) and 1 <= output <= _MAX_OUTPUT
    signed = _mapping(active.get("signature_info"))
    generators = active.get("claim_generator_info")
    first = _mapping(generators[0]) if isinstance(generators, list) and generators else {}
    named = (signed.get("common_name"), signed.get("issuer"))
    time = signed.get("time")
    return Credentials(
        state,
        output=output if ours else None,
        sources=tuple(_sources(attribution)),
        claim_generator=" ".join(
            str(first[key]) for key in ("name", "version") if isinstance(first.get(key), str)
        )
        or str(active.get("claim_generator") or ""),
        label=label,
        signer=", ".join(name for name in named if isinstance(name, str) and name),
        signed_at=time if isinstance(time, str) else None,
        time_trusted=isinstance(time, str) and "timeStamp.trusted" in _passed(reader),
        sidecar=sidecar,
        errors=errors,
        attribution=attribution,
        training=_training(_mapping(manifest) for manifest in manifests.values()),
        actions=tuple(str(one.get("action") or "") for one in _actions(active)),
        source_type=next(
            (
                str(one["digitalSourceType"])
                for one in _actions(active)
                if one.get("digitalSourceType")
            ),
            "",
        ),
        parents=tuple(_parents(active)),
    )


def _actions(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    for label in ("c2pa.actions.v2", "c2pa.actions"):
        actions = _assertion(manifest, label).get("actions")
        if isinstance(actions, list):
            return [_mapping(one) for one in actions]
    return []


def _parents(manifest: Mapping[str, Any]) -> Iterator[ParentCredentials]:
    ingredients = manifest.get("ingredients")
    for one in map(_mapping, ingredients if isinstance(ingredients, list) else []):
        if one.get("relationship") == "parentOf":
            said = (one.get(name) for name in ("title", "instance_id", "active_manifest"))
            yield ParentCredentials(*(str(value or "") for value in said))


def _sources(attribution: Mapping[str, Any]) -> Iterator[str]:
    sources = attribution.get("sources")
    for source in sources if isinstance(sources, list) else []:
        stem = _mapping(source).get("stem")
        if isinstance(stem, str) and _HASH.fullmatch(stem):
            yield stem


def _training(manifests: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The strictest that any manifest of the file says, by entry."""
    found: dict[str, str] = {}
    for manifest in manifests:
        for label in _TRAINING_LABELS:
            for name, entry in _mapping(_assertion(manifest, label).get("entries")).items():
                use = _mapping(entry).get("use")
                if use in STRICTNESS:
                    known = found.get(str(name), ALLOWED)
                    found[str(name)] = max(known, str(use), key=STRICTNESS.index)
    return found


def _assertion(manifest: Mapping[str, Any], label: str) -> Mapping[str, Any]:
    assertions = manifest.get("assertions")
    for assertion in assertions if isinstance(assertions, list) else []:
        if _mapping(assertion).get("label") == label:
            return _mapping(assertion.get("data"))
    return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _passed(reader: Reader) -> set[str]:
    active = (reader.get_validation_results() or {}).get("activeManifest") or {}
    return {str(item.get("code")) for item in active.get("success") or []}


def _ingredient_failures(results: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for delta in results.get("ingredientDeltas") or []:
        yield from _mapping(_mapping(delta).get("validationDeltas")).get("failure") or []


def _sentence(item: Mapping[str, Any]) -> str:
    code, told = item.get("code"), item.get("explanation")
    return _WORDS.get(str(code)) or (f"{code}: {told}" if told else str(code))


def _reserves_in_ruins(path: Path) -> bool:
    """Whether a manifest that can no longer be read held a reservation of rights."""
    holders = [path, _sidecar_of(path)]
    return any(
        holder is not None
        and _holds(holder, b"training-mining")
        and (_holds(holder, NOT_ALLOWED.encode()) or _holds(holder, CONSTRAINED.encode()))
        for holder in holders
    )


def _holds(path: Path, wanted: bytes) -> bool:
    tail = b""
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            if wanted in tail + block:
                return True
            tail = block[1 - len(wanted) :]
    return False


# What was read of content credentials, as JSON: they are parsed in one process and used in
# another.

MOST_CHARACTERS = 2_000_000
"""Longer credentials are told of and not carried along: those of this project have some 20,000."""
_DEEPEST = 60
_TOO_MUCH = "they say more than any honest ones"


def credentials_to_json(found: Credentials) -> dict[str, Any]:
    """All fields; of credentials that say too much, or too deeply nested, what they reserve."""
    document = encode(found)
    if _depth(document) <= _DEEPEST and len(json.dumps(document)) <= MOST_CHARACTERS:
        return document
    if found.errors == (_TOO_MUCH,):
        return {**document, "training": {}}
    bare = Credentials(
        CredentialState.INVALID, sidecar=found.sidecar, errors=(_TOO_MUCH,), training=found.training
    )
    return credentials_to_json(replace(bare, label=found.label[:200]))


def credentials_from_json(document: Mapping[str, Any]) -> Credentials:
    """The credentials in a document, every field of its type.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    return read(Credentials, document)


def _depth(value: Any) -> int:
    """How deeply lists and mappings are nested, without recursion; counted to a little past what
    is allowed."""
    deep, level = 0, [value]
    while level and deep <= _DEEPEST:
        deep += 1
        inner: list[Any] = []
        for one in level:
            if isinstance(one, Mapping):
                inner += one.values()
            elif isinstance(one, list | tuple):
                inner += one
        level = inner
    return deep


# The C2PA library with this project's settings: it never opens a connection to read a file.

# The library logs what it raises as well; an error is told once, by whoever handles it.
logging.getLogger("c2pa").addHandler(logging.NullHandler())


def make_context(anchors: str) -> Context:
    """Rules of verification: signers under ``anchors`` (PEM, may be empty) are trusted.

    Nothing is fetched: neither manifests that a file says stand elsewhere, nor revocation lists.
    Otherwise a stranger's file could make this machine open an address of their choice.
    """
    from c2pa import Context, Settings

    trust: dict[str, Any] = {"trust_config": "\n".join(PURPOSES) + "\n"}
    if anchors:
        trust["user_anchors"] = anchors
    verify = {
        "verify_trust": True,
        "verify_after_sign": False,  # the signer reads the finished file back itself
        "remote_manifest_fetch": False,
        "ocsp_fetch": False,
    }
    return Context(settings=Settings.from_dict({"verify": verify, "trust": trust}))


def said(error: Exception) -> str:
    """A library's message on one line, without the name of its class."""
    text = " ".join(str(error).split())
    head, _, rest = text.partition(": ")
    return rest if rest and head.isalpha() else text
