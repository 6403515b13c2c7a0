"""``backup``, ``restore``: the whole home in one file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

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
from rag_audio.cli.output import err, out, progress_bar, show_json
from rag_audio.errors import ConfigError
from rag_audio.pipeline import backup as archive
from rag_audio.pipeline.backup import Done, OnProgress
from rag_audio.pipeline.restore import Wanted
from rag_audio.settings import NAME, Settings, read_settings, settings_in
from rag_audio.storage.database import connect, limits_of, sqlite_url


def backup(
    file: Annotated[Path, typer.Argument(help="Archive to write: .tar or .tar.gz.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Archive ledger, index, keys and masters; without the keys nothing can be traced.

    Others may work in the home meanwhile, `serve` too.
    """
    settings = read_settings(home=home)
    with _database(settings) as database:
        with _progress("archiving") as (on_progress, _):
            made = archive.create(settings.home, file, database, on_progress)
        _show(replace(made, warnings=(*made.warnings, *_of_keys(settings, database))), as_json)


def restore(
    file: Annotated[Path, typer.Argument(help="Archive of `rag-audio backup`.")],
    later: Annotated[
        list[Path] | None,
        typer.Option(
            help="The archived home, a ledger export of it or a newer backup: what was revoked and "
            "erased after the archive was made is kept. May be given several times."
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

    An archive that holds a database elsewhere is put into that of RAG_AUDIO_DATABASE_URL.
    """
    settings = read_settings(home=home)
    with _database(settings) as database, _progress("restoring") as (on_progress, hide):
        wanted = Wanted(tuple(later or ()), _who_may_say_so(yes, hide))
        made = archive.restore(file, settings.home, database, wanted, on_progress)
    _show(replace(made, warnings=(*made.warnings, *_of_settings(settings.home))), as_json)


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
    """A line for each key that the archived database knows, and that is not in the archive."""
    from rag_audio.provenance.credentials.watermark_keys import key_notes

    if settings.keys_folder is not None:
        yield f"the keys are in {settings.keys_folder} and not in the archive: keep a copy of them"
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
        document["rows"] = made.rows
        if made.restored is not None:
            document.update(made.restored.to_json())
        show_json({**document, "warnings": list(made.warnings)})
    else:
        rows = "" if made.rows is None else f", {made.rows} rows of the database"
        out.print(f"{made.path}: {made.files} files, {made.size} bytes{rows}")
        for line in () if made.restored is None else made.restored.lines():
            out.print(line)
    for warning in made.warnings:
        err.print(f"note: {warning}")
