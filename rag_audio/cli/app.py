"""The commands of ``rag-audio`` and their one error handler."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from rag_audio import __version__
from rag_audio.cli import (
    artists,
    backup,
    demo,
    editing,
    generating,
    guarding,
    indexing,
    keys,
    ledger,
    marking,
    name_lists,
    rights,
    serving,
    showing,
    tracing,
)
from rag_audio.cli.output import escape_what_is_no_text, show_error
from rag_audio.cli.paths import read_paths_alike
from rag_audio.errors import Cancelled, InvalidInput, RagAudioError

app = typer.Typer(
    name="rag-audio",
    help="Music generation whose sources can be named: index a licensed library, generate in a "
    "licensed artist's style, trace what influenced an output.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"rag-audio {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


for commands in (
    indexing,
    generating,
    editing,
    tracing,
    rights,
    ledger,
    showing,
    artists,
    guarding,
    name_lists,
    marking,
    keys,
    backup,
    serving,
    demo,
):
    commands.register(app)
read_paths_alike(app)

# Every error of the option parser derives from this class, whichever parser typer carries.
_ParserError: type[Exception] = typer.BadParameter.__mro__[2]


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code is returned, errors are shown and never raised."""
    # The diffusion and embedding libraries print advice and bars of their own; stderr is ours.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # Threads that spin while they wait for one that has no core make small models 30 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    escape_what_is_no_text()
    as_json = "--json" in arguments
    try:
        code = typer.main.get_command(app).main(
            args=list(arguments), prog_name="rag-audio", standalone_mode=False
        )
        if code == Cancelled.exit_code:
            raise KeyboardInterrupt  # the option parser took it for an exit code
        return code if isinstance(code, int) else 0
    except RagAudioError as error:
        show_error(error, as_json)
        return error.exit_code
    except _ParserError as error:
        # With no argument the parser has already printed the help and has nothing to add.
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        if message:
            show_error(InvalidInput(message, hint="rag-audio --help"), as_json)
        return InvalidInput.exit_code
    except (KeyboardInterrupt, typer.Abort):
        show_error(Cancelled("stopped; nothing half-written was left"), as_json)
        return Cancelled.exit_code
    except (BrokenPipeError, SystemExit):
        # The reader went away (| head): nothing more to say, and nothing went wrong. The option
        # parser exits where it is the one that is told of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # Whatever a command wrote to is full, read-only or gone.
        where = f" ({error.filename})" if error.filename else ""
        failed = InvalidInput(f"{error.strerror or error}{where}", hint="rag-audio doctor")
        show_error(failed, as_json)
        return failed.exit_code
