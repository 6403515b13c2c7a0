"""Read content credentials: whose they are, whether they hold, and what they say.

Two answers of the C2PA library are read together: its state says "Valid" for an unknown signer,
where only its list of results says that the signer is untrusted.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rag_audio.domain.codec import encode
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
    from c2pa import C2paError

    try:
        with path.open("rb") as file:
            try:
                return read_stream(file, MEDIA_TYPES.get(path.suffix.lower()), anchors)
            except (C2paError.ManifestNotFound, C2paError.NotSupported):
                return _read_sidecar(path, file, anchors)
            except C2paError as error:
                if said(error).startswith("must fetch remote manifests"):
                    elsewhere = "its manifest stands on the network, where it is not fetched from"
                    return Credentials(CredentialState.NONE, errors=(elsewhere,))
            return (
                _ruined(_DAMAGED) if _holds(path, _MARKER) else _read_sidecar(path, file, anchors)
            )
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


@contextmanager
def open_manifest(
    file: BinaryIO, media_type: str | None, anchors: str, manifest: bytes | None = None
) -> Iterator[Reader]:
    """The C2PA library's reader of an open file, or of a ``manifest`` that is about it.

    Raises:
        c2pa.C2paError: there is no manifest, or it cannot be read.
    """
    from c2pa import Reader

    file.seek(0)
    with make_context(anchors) as context, Reader(media_type, file, manifest, context) as reader:
        yield reader


def read_stream(
    file: BinaryIO, media_type: str | None, anchors: str, manifest: bytes | None = None
) -> Credentials:
    """The credentials of an open file; raises as :func:`open_manifest`, and args as there."""
    with open_manifest(file, media_type, anchors, manifest) as reader:
        return read_manifest(reader, sidecar=manifest is not None)


def _read_sidecar(path: Path, file: BinaryIO, anchors: str) -> Credentials | None:
    from c2pa import C2paError

    beside = find_sidecar(path)
    if beside is None:
        return None
    if beside.stat().st_size > _MAX_SIDECAR:
        return _ruined(f"{beside.name} is larger than any manifest", sidecar=True)
    media_type = MEDIA_TYPES.get(path.suffix.lower(), "audio/ogg")
    try:
        return read_stream(file, media_type, anchors, beside.read_bytes())
    except C2paError:
        return _ruined(_DAMAGED, sidecar=True)


def find_sidecar(path: Path) -> Path | None:
    """``take.ogg.c2pa`` as this project writes it, else ``take.c2pa`` as others do; None: none."""
    candidates = (sidecar_of(path), path.with_suffix(SIDECAR))
    return next((found for found in candidates if found != path and found.is_file()), None)


def _ruined(problem: str, *, sidecar: bool = False) -> Credentials:
    return Credentials(
        CredentialState.INVALID,
        sidecar=sidecar,
        errors=(f"the manifest cannot be read: {problem}",),
    )


def read_manifest(reader: Reader, *, sidecar: bool) -> Credentials:
    """What a manifest says. It may be a stranger's: every field is checked for its type."""
    results = reader.get_validation_results() or {}
    checked = results.get("activeManifest") or {}
    passed = {str(item.get("code")) for item in checked.get("success") or []}
    state, errors = _judged(str(reader.get_validation_state()), results, passed)
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
    generator = next(iter(_mappings(active.get("claim_generator_info"))), {})
    version = (generator.get(key) for key in ("name", "version"))
    named = (signed.get("common_name"), signed.get("issuer"))
    time = signed.get("time")
    actions = _actions(active)
    types = (one.get("digitalSourceType") for one in actions)
    return Credentials(
        state,
        output=output if ours else None,
        sources=tuple(_sources(attribution)),
        claim_generator=" ".join(text for text in version if isinstance(text, str))
        or str(active.get("claim_generator") or ""),
        label=label,
        signer=", ".join(name for name in named if isinstance(name, str) and name),
        signed_at=time if isinstance(time, str) else None,
        time_trusted=isinstance(time, str) and "timeStamp.trusted" in passed,
        sidecar=sidecar,
        errors=errors,
        attribution=attribution,
        training=_training(_mapping(manifest) for manifest in manifests.values()),
        actions=tuple(str(one.get("action") or "") for one in actions),
        source_type=next((str(found) for found in types if found), ""),
        parents=tuple(_parents(active)),
    )


def _judged(
    state: str, results: Mapping[str, Any], passed: Set[str]
) -> tuple[CredentialState, tuple[str, ...]]:
    """What a manifest is worth, and what is wrong with it.

    Args:
        state, results: of the C2PA library. passed: codes of the checks that succeeded.
    """
    failures = (results.get("activeManifest") or {}).get("failure") or []
    codes = {item.get("code") for item in failures}
    errors = tuple(dict.fromkeys(_sentence(item) for item in failures))
    if state == "Trusted" and not codes and "signingCredential.trusted" in passed:
        return CredentialState.TRUSTED, ()
    if codes and codes <= {_EXPIRED, _UNKNOWN}:
        return CredentialState.UNTRUSTED, errors
    if state == "Valid" and not codes:
        return CredentialState.UNTRUSTED, (_WORDS[_UNKNOWN],)
    deltas = tuple(
        _sentence(item)
        for delta in _mappings(results.get("ingredientDeltas"))
        for item in _mappings(_mapping(delta.get("validationDeltas")).get("failure"))
    )
    return CredentialState.INVALID, errors + deltas or (f"the verifier says {state!r}",)


def _actions(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    for label in ("c2pa.actions.v2", "c2pa.actions"):
        actions = _assertion(manifest, label).get("actions")
        if isinstance(actions, list):
            return _mappings(actions)
    return []


def _parents(manifest: Mapping[str, Any]) -> Iterator[ParentCredentials]:
    for one in _mappings(manifest.get("ingredients")):
        if one.get("relationship") == "parentOf":
            said = (one.get(name) for name in ("title", "instance_id", "active_manifest"))
            yield ParentCredentials(*(str(value or "") for value in said))


def _sources(attribution: Mapping[str, Any]) -> Iterator[str]:
    for source in _mappings(attribution.get("sources")):
        stem = source.get("stem")
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
    for assertion in _mappings(manifest.get("assertions")):
        if assertion.get("label") == label:
            return _mapping(assertion.get("data"))
    return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a list."""
    return [_mapping(one) for one in value] if isinstance(value, list) else []


def _sentence(item: Mapping[str, Any]) -> str:
    code, told = item.get("code"), item.get("explanation")
    return _WORDS.get(str(code)) or (f"{code}: {told}" if told else str(code))


def _reserves_in_ruins(path: Path) -> bool:
    """Whether a manifest that can no longer be read held a reservation of rights."""
    holders = [path, find_sidecar(path)]
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
"""Of longer credentials only what they reserve is kept; those of this project have some 20,000."""
_DEEPEST = 60
_TOO_MUCH = "they say more than any honest ones"


def credentials_to_json(found: Credentials) -> dict[str, Any]:
    """All fields; of credentials that say too much, or too deeply nested, what they reserve."""
    document = encode(found)
    if not _is_deeper(document, _DEEPEST) and len(json.dumps(document)) <= MOST_CHARACTERS:
        return document
    if found.errors == (_TOO_MUCH,):
        return {**document, "training": {}}
    bare = Credentials(
        CredentialState.INVALID,
        label=found.label[:200],
        sidecar=found.sidecar,
        errors=(_TOO_MUCH,),
        training=found.training,
    )
    return credentials_to_json(bare)


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and mappings are nested more deeply than so many levels."""
    if levels == 0:
        return True
    inner = value.values() if isinstance(value, Mapping) else value
    return isinstance(value, Mapping | list | tuple) and any(
        _is_deeper(one, levels - 1) for one in inner
    )


# The C2PA library with this project's settings: it never opens a connection to read a file.

# The library logs what it raises as well; an error is reported once, where it is handled.
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
