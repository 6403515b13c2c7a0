"""``keys``: what keys a home has, and signing under a certificate chain of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rag_audio.bootstrap import open_workspace
from rag_audio.cli.options import Home, Json
from rag_audio.cli.output import err, out, show_json, table
from rag_audio.errors import InvalidInput

keys_app = typer.Typer(help="What keys there are, and signing under a chain of one's own.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    keys_app.callback(invoke_without_command=True)(show)
    keys_app.command("import-chain")(import_chain)
    keys_app.command("export-root")(export_root)
    app.add_typer(keys_app, name="keys")


def show(context: typer.Context, home: Home = None, as_json: Json = False) -> None:
    """List the keys of a home with their fingerprints; none is made."""
    if context.invoked_subcommand is not None:
        return
    from rag_audio.provenance.key_ring import list_keys

    with open_workspace(home) as workspace:
        folder = workspace.settings.home / "keys"
        found = list_keys(folder)
        signer = _signer(workspace.settings)
    if as_json:
        keys = [key.to_json() for key in found]
        show_json({"folder": str(folder), "signer": signer, "keys": keys})
        return
    rows = [
        (key.path.name, key.purpose, key.subject, key.valid_until, key.fingerprint[:32])
        for key in found
    ]
    table(("file", "is", "name", "until", "sha256"), rows, title=str(folder))
    out.print(f"outputs are signed by: {signer['is']}", markup=False)
    for key in found:
        if key.exposed:
            err.print(f"others may read {key.path}: chmod 600 it", style="yellow", markup=False)


def import_chain(
    chain: Annotated[Path, typer.Argument(help="PEM: the signer's certificate, then its issuers.")],
    key: Annotated[Path, typer.Argument(help="PEM: the private key, without a password.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Sign outputs with this certificate and key from now on."""
    from rag_audio.provenance import signing_keys

    with open_workspace(home) as workspace:
        identity = signing_keys.import_chain(workspace.parts.home / "keys", chain, key)
    document = {
        "subject": identity.subject,
        "fingerprint": identity.fingerprint,
        "algorithm": identity.algorithm,
        "valid_until": identity.valid_until.date().isoformat(),
    }
    if as_json:
        show_json(document)
        return
    out.print(
        f"outputs are signed by {identity.subject} until {document['valid_until']}"
        f" ({identity.algorithm}, {identity.fingerprint[:32]})",
        markup=False,
    )


def export_root(
    target: Annotated[Path, typer.Argument(help="Where the certificates go, PEM.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the public certificates that others need to trust this home's signatures."""
    from rag_audio import secret_files
    from rag_audio.provenance.signing_keys import anchors

    with open_workspace(home) as workspace:
        known = anchors(workspace.settings.home / "keys")
    if not known:
        raise InvalidInput(
            f"there is no signing key in {workspace.settings.home / 'keys'}",
            hint="the first output that is generated makes one",
        )
    try:
        secret_files.replace(target, known.encode(), secret_files.PUBLIC)
    except OSError as error:
        raise InvalidInput(f"cannot write {target}: {error.strerror}") from error
    count = known.count("BEGIN CERTIFICATE")
    if as_json:
        show_json({"file": str(target), "certificates": count})
    else:
        out.print(f"{target}: {count} certificate{'s' if count > 1 else ''}", markup=False)


def _signer(settings: Any) -> dict[str, Any]:
    """Which key signs the next output, as far as it can be said without making one."""
    from rag_audio.provenance import signing_keys

    folder = settings.home / "keys"
    if settings.signing == "off":
        return {"source": "off", "is": "nobody (RAG_AUDIO_SIGNING=off)"}
    if settings.signing_chain is not None and settings.signing_key is not None:
        found = signing_keys.read_identity(settings.signing_chain, settings.signing_key)
    else:
        imported = signing_keys.imported_identity(folder)
        existing = imported or signing_keys.existing_local(folder)
        if existing is None:
            return {"source": "local", "is": "a key that the first output makes"}
        found = existing
    return {
        "source": found.source,
        "is": f"{found.subject} ({found.source})",
        "subject": found.subject,
        "fingerprint": found.fingerprint,
        "algorithm": found.algorithm,
        "valid_until": found.valid_until.date().isoformat(),
    }
