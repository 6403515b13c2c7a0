"""The C2PA library with this project's settings: it never opens a connection to read a file."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from rag_audio.provenance.certificates import PURPOSES

if TYPE_CHECKING:
    from c2pa import Context

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
