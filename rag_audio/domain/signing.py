"""Types of content credentials: claims about an output, the signer, and what is read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from rag_audio.domain import Channel, ConditioningPlan
from rag_audio.domain.codec import FieldForm, json_form
from rag_audio.domain.ports import ModelInfo

SIDECAR = ".c2pa"
Shares = Mapping[Channel, float]


@json_form(as_list=True)
@dataclass(frozen=True)
class OpenedFile:
    """The file that an output was edited or converted from.

    Attributes:
        sha256: of its bytes, hex, as it was recognised: a file that was put in its place since is
            not it.
        output: its number, where it is an output of ours.
    """

    path: Path
    sha256: str
    output: int | None = None


@dataclass(frozen=True)
class ClaimedOutput:
    """What a signature vouches for: how an output was made, without anything the user wrote.

    Attributes:
        output: the ledger number.
        watermark: name of the scheme that carries the number; None: too little to carry a mark.
        duration_s: of the output.
        credits: the lines that are to be printed with it.
        opened: the file that it was made from, where it is an edit or a copy of one.
        converted: it is that very output in another format.
        shares: of each reference, and of the model, as recorded; None: they are the plan's.
    """

    output: int
    plan: ConditioningPlan
    info: ModelInfo
    watermark: str | None
    duration_s: float
    credits: tuple[str, ...] = ()
    opened: OpenedFile | None = None
    converted: bool = False
    shares: tuple[Sequence[Shares], Shares] | None = None


@dataclass(frozen=True)
class Signature:
    """How a file was signed.

    Attributes:
        record: what the ledger holds of it: ``name``, ``manifest`` (its label),
            ``manifest_sha256``, ``certificate`` (SHA-256 of the signer's), ``algorithm`` and where
            it stands (``embedded`` or ``sidecar``), and ``parent_manifest``, the label of the one
            in the opened file; or why there is none.
        sidecar: the manifest's own file, for kinds of sound that cannot hold it.
    """

    record: Mapping[str, Any]
    sidecar: Path | None = None


class Signer(Protocol):
    """Puts content credentials on finished files."""

    name: str
    anchors: str
    """PEM of the certificate that its own signatures are trusted under; may be empty."""

    def sign(self, file: Path, claim: ClaimedOutput) -> Signature:
        """Sign ``file`` in place; its samples stay as they are.

        Raises:
            OutputRefused: it cannot be signed; the file is as it was.
        """
        ...


class CredentialState(StrEnum):
    """What a manifest is worth.

    ``TRUSTED``: nothing was changed since a signer known here signed it. ``UNTRUSTED``: nothing was
    changed, and the signer is not known here, or its certificate has expired since. ``INVALID``:
    the sound, the manifest or both are not what was signed.
    """

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    INVALID = "invalid"
    NONE = "none"


@json_form(as_list=True)
@dataclass(frozen=True)
class ParentCredentials:
    """A file that a manifest says its own was opened from.

    Attributes:
        title: as the manifest names it.
        instance: its id; ``urn:rag-audio:sha256:…`` where this project wrote it.
        label: of the manifest that the file had, which travels in the store; empty: it had none.
    """

    title: str
    instance: str
    label: str = ""


@json_form(forms={"attribution": FieldForm(dict, dict)})
@dataclass(frozen=True)
class Credentials:
    """What the manifest of a file says. Unless the state is trusted, anybody may have written it.

    Attributes:
        output: the ledger number it names; None when it is not ours.
        sources: SHA-256 of each source's file, hex, in the plan's order.
        claim_generator: what wrote the manifest.
        label: the manifest's own id; an output of ours has it in its ledger record, under
            ``signature["manifest"]``.
        signer: common name and organisation in the signer's certificate.
        signed_at: ISO 8601, what a timestamp says; time_trusted: ... by an authority known here.
        sidecar: it is in a file of its own.
        errors: what is wrong, one line each; empty when trusted.
        attribution: our whole assertion, see ``docs/credentials.md``.
        training: each entry of a training-and-mining assertion, ``cawg.`` or ``c2pa.``: its use.
        actions: what was done, in order, such as ``c2pa.opened``.
        source_type: the IPTC digital source type that the first action with one gives.
        parents: what was opened.
    """

    state: CredentialState
    output: int | None = None
    sources: tuple[str, ...] = ()
    claim_generator: str = ""
    label: str = ""
    signer: str = ""
    signed_at: str | None = None
    time_trusted: bool = False
    sidecar: bool = False
    errors: tuple[str, ...] = ()
    attribution: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, str] = field(default_factory=dict)
    actions: tuple[str, ...] = ()
    source_type: str = ""
    parents: tuple[ParentCredentials, ...] = ()

    @property
    def is_copy(self) -> bool:
        """Whether it says that its file is what was opened, in another format."""
        return "c2pa.transcoded" in self.actions and "c2pa.edited" not in self.actions


def sidecar_of(file: Path) -> Path:
    """Where the manifest of a file stands that cannot hold it: ``take.ogg.c2pa``."""
    return file.with_name(file.name + SIDECAR)


def put_in_place(part: Path, target: Path, signature: Signature) -> tuple[str, ...]:
    """Give a finished file, and its sidecar before it, their names; the names are returned.

    The sidecar of an earlier file of that name is removed with that file.
    """
    beside = sidecar_of(target)
    if signature.sidecar is None:
        part.replace(target)
        beside.unlink(missing_ok=True)
        return (str(target),)
    signature.sidecar.replace(beside)
    part.replace(target)
    return (str(target), str(beside))
