"""``library init``, ``library check``: a folder before it is indexed; no home is needed."""

from __future__ import annotations

import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from rag_audio.cli.index import indexing_bar
from rag_audio.cli.options import Json
from rag_audio.cli.output import (
    MOST_LISTED,
    busy,
    err,
    list_findings,
    out,
    say_more,
    show_json,
    table,
)
from rag_audio.domain import limits
from rag_audio.errors import InvalidInput
from rag_audio.storage.library_files import CopyRoom, is_url, open_library

_COPIES_BYTES = 1 << 30
"""Of files at a URL, kept while they are looked at."""

if TYPE_CHECKING:
    from indexer.preview import LibraryPreview
    from indexer.starter import LibraryStarter


def init(
    folder: Annotated[str, typer.Argument(help="Folder with music, without tables.")],
    as_json: Json = False,
) -> None:
    """Write a first library.toml and stems.csv for a folder; they grant nothing until the license
    in them is filled in."""
    from indexer.starter import write_starter

    if is_url(folder):
        raise InvalidInput(
            f"{folder} is no folder: tables are begun in one",
            hint="write library.toml and stems.csv in a folder, and copy them to the URL",
        )
    with busy("looking at the folder"):
        made = write_starter(Path(folder))
    if as_json:
        show_json(made.to_json())
    else:
        _show_starter(made)


def _show_starter(made: LibraryStarter) -> None:
    kinds = ", ".join(f"{kind} {count}" for kind, count in made.kinds.items())
    out.print(f"{made.files} files of music in {made.root}" + (f": {kinds}" if kinds else ""))
    for line in made.passed_over:
        out.print(line)
    if made.rows:
        rows = [(row.path, row.artist, row.artist_from, row.files) for row in made.rows]
        table(("rows of stems.csv", "artist", "from", "files"), rows[:MOST_LISTED])
        say_more(len(rows))
    if made.left_out:
        out.print(f"{made.left_out} more folders have no row of their own: the first row has them")
    for name in made.unreadable_names[:MOST_LISTED]:
        out.print(f"no table can name {name}: the name is not UTF-8; rename it")
    say_more(len(made.unreadable_names))
    where = shlex.quote(made.root)
    artists = "write into stems.csv whose style may be asked for; no artist was found"
    if any(row.artist for row in made.rows):
        artists = "correct the artists in stems.csv: those above were guessed"
    out.print(
        f"{' and '.join(made.written)} are written and grant nothing yet. Next:\n"
        "  1. fill in the license in library.toml\n"
        f"  2. {artists}\n"
        f"  3. rag-audio library check {where}\n"
        f"  4. rag-audio index {where}"
    )


def check(
    folder: Annotated[str, typer.Argument(help="Folder or URL with library.toml and stems.csv.")],
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode and measure every file, as indexing does.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, max=limits.WORKERS.high, help="Decoding processes.")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Say what would be indexed of a library, without indexing. Files of a URL are all fetched.

    The exit code is 2 where nothing could be indexed because licenses are faulty.
    """
    from indexer.preview import preview_library

    with indexing_bar("looking") as progress, TemporaryDirectory() as copies:
        library = open_library(folder, CopyRoom(Path(copies), _COPIES_BYTES))
        seen = preview_library(library, deep=deep, workers=workers, progress=progress)
    if as_json:
        show_json(seen.to_json())
    else:
        _show_preview(seen)
    if seen.is_unlicensed:
        err.print(
            f"rag-audio: nothing would be indexed: the licenses of {seen.misdeclared} files are "
            "faulty; the report says how",
            style="bold red",
        )
        raise typer.Exit(InvalidInput.exit_code)


def _show_preview(seen: LibraryPreview) -> None:
    minutes = f", {seen.seconds_of_sound / 60:.1f} minutes" if seen.seconds_of_sound else ""
    kinds = ", ".join(f"{count} {kind}" for kind, count in seen.kinds.items())
    more = f" ({kinds}{minutes})" if kinds else ""
    out.print(f"{seen.name}: {seen.files} files would be indexed{more}")
    for title, counted in (("license", seen.licenses), ("artist", seen.artists)):
        if counted:
            counts = [(name or "(none)", count) for name, count in counted.items()]
            table((title, "files"), counts[:MOST_LISTED])
            say_more(len(counts))
    if seen.rows:
        rows = [
            (row.number, row.path, row.license, row.artist, row.files, row.fault or "")
            for row in seen.rows
        ]
        table(("row", "path", "license", "artist", "files", "fault"), rows[:MOST_LISTED])
        say_more(len(rows))
    list_findings("would not be indexed", "reason", ((x.path, x.reason) for x in seen.rejected))
    list_findings("noticed", "notice", ((x.path, x.text) for x in seen.noticed))
    for line in seen.passed_over:
        out.print(line)
    if not seen.deep:
        out.print("files were opened, not decoded: --deep decodes them all")
