"""``keys``: what keys a home has, signing under a chain of one's own, keys of the HTTP API."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from rag_audio.cli.options import Home, Json
from rag_audio.cli.output import err, out, show_json, table, tell
from rag_audio.errors import InvalidInput
from rag_audio.home import Home as OpenedHome
from rag_audio.home import open_home
from rag_audio.provenance.credentials import signing_keys
from rag_audio.provenance.credentials.watermark_keys import declare_lost, key_notes, states_of
from rag_audio.service.api_access import Scope, SqlAccess
from rag_audio.service.webhook_secrets import WebhookSecrets
from rag_audio.storage.files import PUBLIC, write_bytes

keys = typer.Typer(
    help="Keys of the home, signing under your own certificates, keys of the HTTP API."
)


@keys.callback(invoke_without_command=True)
def show(context: typer.Context, home: Home = None, as_json: Json = False) -> None:
    """List the keys of a home with their fingerprints; none is made."""
    if context.invoked_subcommand is not None:
        return
    with open_home(home) as opened:
        folder = opened.settings.keys
        found = signing_keys.list_keys(folder)
        signer = _signer(opened.settings)
        states, problems = _by_database(opened, folder)
    if as_json:
        told = [{**key.to_json(), "database": states.get(key.path.name)} for key in found]
        show_json({"folder": str(folder), "signer": signer, "keys": told, "problems": problems})
        return
    rows = [
        (
            *(key.path.name, key.purpose, states.get(key.path.name, "–")),
            *(key.subject, key.valid_until, key.fingerprint[:32]),
        )
        for key in found
    ]
    table(("file", "is", "in the database", "name", "until", "sha256"), rows, title=str(folder))
    out.print(f"outputs are signed by: {signer['is']}")
    for problem in problems:
        err.print(problem, style="yellow")
    for key in found:
        if key.exposed:
            err.print(f"others may read {key.path}: chmod 600 it", style="yellow")


def _by_database(opened: OpenedHome, folder: Path) -> tuple[dict[str, str], list[str]]:
    """What each key is to the database, and what is wrong with them; no database is made."""
    settings = opened.settings
    if settings.database_url is None and not (settings.home / "ledger.db").is_file():
        return {}, []
    database = opened.database
    return states_of(database, folder), key_notes(database, folder)


@keys.command()
def lost(
    purpose: Annotated[str, typer.Argument(help="watermark or ledger.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Stop asking for the database's key, of which no copy is left; its marks stay unread."""
    with open_home(home) as opened:
        print_ = declare_lost(opened.database, purpose, opened.keys)
    tell(
        {"purpose": purpose, "fingerprint": print_, "state": "lost"},
        as_json,
        f"the {purpose} key {print_[:12]}… is lost; the next use takes this home's",
    )


@keys.command()
def import_chain(
    chain: Annotated[Path, typer.Argument(help="PEM: the signer's certificate, then its issuers.")],
    key: Annotated[Path, typer.Argument(help="PEM: the private key, without a password.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Sign outputs with this certificate and key from now on."""
    with open_home(home) as opened:
        identity = signing_keys.import_chain(opened.keys, chain, key)
    document = {
        "subject": identity.subject,
        "fingerprint": identity.fingerprint,
        "algorithm": identity.algorithm,
        "valid_until": identity.valid_until.date().isoformat(),
    }
    tell(
        document,
        as_json,
        f"outputs are signed by {identity.subject} until {document['valid_until']}"
        f" ({identity.algorithm}, {identity.fingerprint[:32]})",
    )


@keys.command()
def export_root(
    target: Annotated[Path, typer.Argument(help="Where the certificates go, PEM.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the public certificates that others need to trust this home's signatures."""
    with open_home(home) as opened:
        folder = opened.settings.keys
    known = signing_keys.anchors(folder)
    if not known:
        raise InvalidInput(
            f"there is no signing key in {folder}",
            hint="the first output that is generated makes one",
        )
    try:
        write_bytes(target, known.encode(), PUBLIC)
    except OSError as error:
        raise InvalidInput(f"cannot write {target}: {error.strerror}") from error
    count = known.count("BEGIN CERTIFICATE")
    many = "s" if count > 1 else ""
    tell(
        {"file": str(target), "certificates": count},
        as_json,
        f"{target}: {count} certificate{many}",
    )


@keys.command("api")
def api_list(home: Home = None, as_json: Json = False) -> None:
    """List the keys of the HTTP API; their secrets are not kept."""
    with open_home(home) as opened:
        found = SqlAccess(opened.database).keys()
    if as_json:
        show_json({"keys": [key.to_json() for key in found]})
        return
    if not found:
        err.print("no key is defined: only this machine is served, and nothing is asked for")
        return
    table(
        ("id", "name", "scopes", "libraries", "until", "revoked"),
        [
            (
                key.id,
                key.name,
                ", ".join(sorted(key.scopes)),
                "all" if key.libraries is None else ", ".join(key.libraries),
                _moment(key.expires_at),
                _moment(key.revoked_at),
            )
            for key in found
        ],
    )


@keys.command()
def api_make(
    name: Annotated[str, typer.Argument(help="For people: whose key it is.")],
    scope: Annotated[
        str, typer.Option(help="Of generate, search, trace, admin; comma separated.")
    ] = "generate,search,trace",
    library: Annotated[
        list[str] | None, typer.Option(help="Only this library (its id); may be repeated.")
    ] = None,
    days: Annotated[
        float | None, typer.Option(min=0.001, max=36_500, help="Expires after so many days.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a key for the HTTP API, and show it this once. From then on everybody needs one."""
    scopes = _scopes(scope)
    with open_home(home) as opened:
        if library:
            known = {one.id for one in opened.catalogue.libraries()}
            for id_ in library:
                if id_ not in known:
                    there = ", ".join(sorted(known)) or "none is indexed"
                    raise InvalidInput(f"there is no library {id_!r}", hint=there)
        access = SqlAccess(opened.database)
        seconds = None if days is None else days * 86_400.0
        made, text = access.make(name, scopes, library or None, seconds)
    if as_json:
        show_json({**made.to_json(), "key": text})
        return
    out.print(text)
    err.print(f"key {made.id} of {made.name}; it is shown only this once")


@keys.command()
def api_revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As keys api lists it.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """End a key of the HTTP API, and the sessions that were opened with it, at once."""
    with open_home(home) as opened:
        ended = SqlAccess(opened.database).revoke(id_)
    tell(ended.to_json(), as_json, f"key {ended.id} of {ended.name} is revoked")


@keys.command()
def webhook_secret(
    id_: Annotated[
        str, typer.Argument(metavar="[ID]", help="Of an API key; none: where no key is defined.")
    ] = "",
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new secret.")] = False,
    overlap_hours: Annotated[
        float,
        typer.Option(min=0, max=168, help="The earlier secret signs beside the new one so long."),
    ] = 24.0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show the secret that the webhooks of an API key are signed with, or make a new one."""
    with open_home(home) as opened:
        database = opened.database
        access = SqlAccess(database)
        known = {key.id for key in access.keys()}  # noqa: SIM118 - it is no dictionary
        if id_ and id_ not in known:
            raise InvalidInput(f"there is no key {id_!r}", hint="rag-audio keys api")
        secrets = WebhookSecrets(database, opened.keys)
        found = secrets.rotate(id_, overlap_hours * 3600.0) if rotate else secrets.of(id_)
    if as_json:
        earlier = [_moment(one.valid_until) for one in found[1:]]
        show_json({"key": id_ or None, "secret": found[0].text, "earlier_until": earlier})
        return
    out.print(found[0].text)
    for one in found[1:]:
        err.print(f"an earlier secret signs as well until {_moment(one.valid_until)}")


def _scopes(text: str) -> list[Any]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {scope.value: scope for scope in Scope}
    for name in names:
        if name not in known:
            raise InvalidInput(f"{name!r} is not a scope", hint=", ".join(known))
    return [known[name] for name in names]


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="minutes")


def _signer(settings: Any) -> dict[str, Any]:
    """Which key signs the next output, as far as it can be said without making one."""
    folder = settings.keys
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
