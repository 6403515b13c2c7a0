"""``backup``, ``restore``: the whole home in one file; ``masters``: how long some of it stays."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from sqlalchemy import Engine

from rag_audio.cli.options import Home, Json
from rag_audio.cli.output import busy, err, out, progress_bar, show_json
from rag_audio.errors import BackendError, ConfigError, InvalidInput
from rag_audio.home import MASTERS, open_home
from rag_audio.pipeline import backup as archive
from rag_audio.pipeline.restore import Wanted
from rag_audio.pipeline.retention import masters_kept
from rag_audio.pipeline.unpacking import Done, OnProgress
from rag_audio.service.retention import outputs_in_use
from rag_audio.settings import EMBEDDED, NAME, Settings, read_settings, settings_in
from rag_audio.storage.database import connect, limits_of, sqlite_url

if TYPE_CHECKING:
    from rag_audio.storage.qdrant_snapshots import Snapshots


def backup(
    file: Annotated[Path, typer.Argument(help="Archive to write: .tar or .tar.gz.")],
    since: Annotated[
        Path | None,
        typer.Option(
            help="An earlier archive of this home: masters and delivered files that it holds are "
            "left out, and a restore needs both."
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Archive ledger, index, keys and masters; without the keys nothing can be traced.

    Others may work in the home meanwhile, `serve` too. Of an index on a Qdrant server of one node
    the server makes a snapshot, which is in the archive.
    """
    settings = read_settings(home=home)
    snapshots = _snapshots(settings)
    with _database(settings) as database:
        with _progress("archiving") as (on_progress, _):
            take = None if snapshots is None else snapshots.take
            made = archive.create(settings.home, file, database, on_progress, since, take)
        said = (*made.warnings, *_of_keys(settings, database), *_of_files(settings))
        _show(replace(made, warnings=said), as_json)


def restore(
    file: Annotated[Path, typer.Argument(help="Archive of `rag-audio backup`.")],
    later: Annotated[
        list[Path] | None,
        typer.Option(
            help="The archived home, a ledger export of it or a newer backup: what was revoked and "
            "erased after the archive was made is kept. May be given several times."
        ),
    ] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option(
            help="An archive that holds what this one leaves out, if it does not lie beside it. "
            "May be given several times."
        ),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            help="Restore though later revocations may be undone, or keys are another home's.",
        ),
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Bring a home back into a folder that is empty or not there yet.

    An archive that holds a database elsewhere is put into that of RAG_AUDIO_DATABASE_URL, and the
    snapshot of a Qdrant server's collection into the server of RAG_AUDIO_QDRANT_URL.
    """
    settings = read_settings(home=home)
    with _database(settings) as database, _progress("restoring") as (on_progress, hide):
        wanted = Wanted(tuple(later or ()), _who_may_say_so(yes, hide))
        made = archive.restore(
            file, settings.home, database, wanted, on_progress, tuple(earlier or ())
        )
    said = (
        *(*made.warnings, *_of_settings(settings.home)),
        *(*_of_restored_files(settings), *_recovered(settings)),
    )
    _show(replace(made, warnings=said), as_json)


def _snapshots(settings: Settings) -> Snapshots | None:
    """Of the index on a server; None: it is not on one."""
    if settings.qdrant_url is None or settings.index != EMBEDDED:
        return None
    from rag_audio.home import Home as Opened
    from rag_audio.storage.qdrant_server import ServerSpaces

    spaces = Opened(settings).spaces
    return spaces.snapshots if isinstance(spaces, ServerSpaces) else None


def _recovered(settings: Settings) -> Iterator[str]:
    """Bring back the index of a server, where the archive holds its snapshot; what was done."""
    folder = settings.home / archive.SNAPSHOT
    if not folder.is_dir():
        return
    snapshots, by_hand = _snapshots(settings), f"it stays in {folder}"
    if snapshots is None:
        yield (
            "the archive holds a snapshot of a Qdrant server's collection, and no server is named "
            f"(RAG_AUDIO_QDRANT_URL): {by_hand}; index the libraries again, or upload it there"
        )
        return
    try:
        yield snapshots.recover(folder)
    except BackendError as error:
        yield f"{error.message}: {by_hand}; index the libraries again, or upload it to the server"


def masters(
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Remove those that RAG_AUDIO_MASTERS_KEEP_DAYS is over for."),
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Count the unmarked masters, and remove those that are older than the rule.

    An output without its master can no longer be edited, and is traced with less certainty. A
    service applies the rule by itself, every six hours.
    """
    with open_home(home) as opened, busy("looking at the masters"):
        days = opened.settings.masters_keep_days
        if prune and days is None:
            raise InvalidInput(
                "nothing says how long masters are kept",
                hint="set RAG_AUDIO_MASTERS_KEEP_DAYS to a number of days",
            )
        in_use = outputs_in_use(opened.database)
        if prune and in_use is None:
            raise InvalidInput(
                "an edit is waiting that does not say which output it begins with",
                hint="try again when the queue is empty",
            )
        found = masters_kept(opened, in_use or (), remove=prune)
        place = opened.files.place
    if as_json:
        show_json({"place": place, "keep_days": days, **vars(found)})
        return
    out.print(f"{found.kept} masters, {found.size / 1e6:.0f} MB, in {place}")
    out.print(
        f"{found.removed} were removed; kept for {'ever' if days is None else f'{days} days'}"
    )
    if found.old:
        out.print(f"{found.old} are older, of which jobs need {found.in_use}")


def _who_may_say_so(yes: bool, hide: Callable[[], None]) -> Callable[[str], bool] | None:
    """Who is asked whether to go on, after the bar was hidden: nobody without a terminal."""
    if yes:
        return lambda _what: True
    if not sys.stdin.isatty():
        return None

    def ask(what: str) -> bool:
        hide()
        return typer.confirm(f"{what}; go on?", default=False, err=True)

    return ask


def _of_keys(settings: Settings, database: Engine | None) -> Iterator[str]:
    """Lines about keys that are not in the archive."""
    from rag_audio.provenance.credentials.watermark_keys import key_notes

    if settings.keys_folder is not None:
        yield f"the keys are in {settings.keys_folder} and not in the archive: keep a copy of them"
    elif not settings.keys.is_dir():
        yield "this home has no keys yet: nothing was marked in it"
    if database is not None:
        yield from key_notes(database, settings.keys)
    elif (settings.home / "ledger.db").is_file():
        own = connect(sqlite_url(settings.home / "ledger.db"))
        try:
            yield from key_notes(own, settings.keys)
        finally:
            own.dispose()


def _of_settings(home: Path) -> Iterator[str]:
    """A line about the settings that came with a home: they may be of another machine."""
    file = home / NAME
    if not file.is_file():
        return
    try:
        names = [name for name in Settings.model_fields if name in settings_in(home)]
    except ConfigError as error:
        yield error.message
        return
    if names:
        yield f"{file} came with the home and sets {', '.join(names)}: see that it holds here"
    if "database_url" in names:
        yield (
            "where RAG_AUDIO_DATABASE_URL is not set, this home works on the database that "
            f"{file} names, as the archived one did"
        )


def _of_files(settings: Settings) -> Iterator[str]:
    """A line about files that lie elsewhere."""
    if settings.files and Path(settings.files) != settings.home:
        yield (
            f"{settings.files} (RAG_AUDIO_FILES) is not archived: it holds masters, outputs and "
            "uploads; keep a copy of it by its own means, made after this archive"
        )


def _of_restored_files(settings: Settings) -> Iterator[str]:
    """A line about each folder that came with a home which has such files elsewhere now."""
    if settings.files and Path(settings.files) != settings.home:
        for name in (MASTERS, "outputs", "uploads"):
            folder = settings.home / name
            if folder.is_dir():
                yield f"{name} came with the home: copy {folder} to {settings.files}/{name}"


@contextmanager
def _progress(what: str) -> Iterator[tuple[OnProgress, Callable[[], None]]]:
    """A bar of bytes on stderr, where that is a terminal, and what takes it away."""
    files = TextColumn("{task.fields[files]} files")
    bar = progress_bar(
        BarColumn(), DownloadColumn(), files, TimeElapsedColumn(), TimeRemainingColumn()
    )
    task = bar.add_task(what, total=None, files=0)

    def show(done: Done) -> None:
        total = max(done.size, done.all_size)
        bar.update(task, completed=done.size, total=total, files=done.files)

    with bar:
        yield show, bar.stop


@contextmanager
def _database(settings: Settings) -> Iterator[Engine | None]:
    """The database that is not the home's own file, if one is configured."""
    if settings.database_url is None:
        yield None
        return
    engine = connect(settings.database_url.get_secret_value(), limits_of(settings))
    try:
        yield engine
    finally:
        engine.dispose()


def _show(made: archive.Backup, as_json: bool) -> None:
    if as_json:
        document: dict[str, Any] = {"path": str(made.path), "files": made.files, "bytes": made.size}
        document["left_out"] = made.left_out
        document["rows"] = made.rows
        if made.restored is not None:
            document.update(made.restored.to_json())
        show_json({**document, "warnings": list(made.warnings)})
    else:
        rows = "" if made.rows is None else f", {made.rows} rows of the database"
        left_out = f", {made.left_out} more in the earlier archive" if made.left_out else ""
        out.print(f"{made.path}: {made.files} files, {made.size} bytes{left_out}{rows}")
        for line in () if made.restored is None else made.restored.lines():
            out.print(line)
    for warning in made.warnings:
        err.print(f"note: {warning}")
