"""The commands of ``rag-audio`` and their one error handler."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from rag_audio import __version__
from rag_audio.cli.output import escape_what_is_no_text, read_paths_alike, show_error
from rag_audio.errors import Cancelled, InvalidInput, RagAudioError

COMMANDS: Mapping[str, Mapping[str, str]] = {
    "rag_audio.cli.index": {
        "index": "Index a licensed library: every file under a valid license, embedded and "
        "searchable.",
        "search": "Find licensed references by words, sound, score, stem or artist, or any mix of "
        "them.",
    },
    "rag_audio.cli.generate": {
        "generate": "Make music that follows the prompt and the best licensed references.",
    },
    "rag_audio.cli.edit": {
        "inpaint": "Replace regions of a file, and leave the rest as it is.",
        "extend": "Go on from a file: to the right, to the left or both, to any length.",
        "vary": "Make a file anew from its own sound; references add words only.",
    },
    "rag_audio.cli.trace": {
        "trace": "Say what went into this audio: which sources, whose, how much.",
        "influence": "Measure what each source did to an output by leaving it out, and log the "
        "answer.",
    },
    "rag_audio.cli.rights": {
        "outputs": "List the outputs that a source went into; without an option, all outputs.",
        "revoke": "Stop using a source at once, whatever its license says, and list what it went "
        "into.",
        "report": "Say what was used in a period, by holder, with shares, splits and credit lines.",
    },
    "rag_audio.cli.library": {
        "library": "Show the indexed libraries, their licenses and what each grants today.",
        "doctor": "Check that everything an installation needs is there; exit code 1 when "
        "something is not.",
        "artists": "List the artists of the library and whether their style may be asked for.",
    },
    "rag_audio.cli.guard": {
        "guard": "Say what the guardrails would decide; nothing is made or searched.",
    },
    "rag_audio.cli.backup": {
        "backup": "Archive ledger, index, keys and masters; without the keys nothing "
        "can be traced.",
        "restore": "Bring a home back into a folder that is empty or not there yet.",
        "masters": "Count the unmarked masters, and remove those that are older than the rule.",
    },
    "rag_audio.cli.serve": {
        "serve": "Serve the HTTP API, with the page on /.",
        "worker": "Run jobs that a server accepted, beside it or on another machine.",
    },
    "rag_audio.cli.demo": {
        "demo": "Index the embedded library, generate in an artist's style, and trace a cropped "
        "MP3 of it.",
    },
    "rag_audio.cli.ledger": {"ledger": "Check and read the ledger, and prove entries of it."},
    "rag_audio.cli.names": {
        "names": "Show which lists of protected names the guardrails use, and where they come "
        "from.",
    },
    "rag_audio.cli.watermark": {"watermark": "Embed or read a mark by hand."},
    "rag_audio.cli.keys": {
        "keys": "Keys of the home, signing under your own certificates, keys of the HTTP API.",
    },
}
"""Module → its commands with the line that ``rag-audio --help`` shows, in its order.

A command is the function of that name in its module, a group of commands the ``typer.Typer``. A
module is imported when one of its commands is run or asked for its help, not before.
"""


def add_commands(group: typer.Typer, module: str) -> None:
    """Add the commands of a module: its functions and groups with the names in the list."""
    for name in COMMANDS[module]:
        command = getattr(import_module(module), name)
        if isinstance(command, typer.Typer):
            group.add_typer(command, name=name)
        else:
            group.command(name)(command)


class _Commands(Mapping[str, TyperCommand | TyperGroup]):
    """The commands by name, each made by its module when it is first looked up."""

    def __init__(self) -> None:
        self._module_of = {name: module for module, names in COMMANDS.items() for name in names}
        self._made: dict[str, TyperCommand | TyperGroup] = {}

    def __getitem__(self, name: str) -> TyperCommand | TyperGroup:
        module = self._module_of[name]
        if name not in self._made:
            part = typer.Typer(callback=_options)  # With a callback, one command makes a group too.
            add_commands(part, module)
            read_paths_alike(part)
            self._made.update(cast(Any, typer.main.get_command(part)).commands)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._module_of)

    def __len__(self) -> int:
        return len(self._module_of)


class _Root(TyperGroup):
    """``rag-audio`` itself: its own help needs none of the modules behind it."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": None})
        self.commands = cast(Any, _Commands())

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the help."""
        return list(self.commands)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, with the lines of :data:`COMMANDS`."""
        real = self.commands
        lines = {name: line for names in COMMANDS.values() for name, line in names.items()}
        self.commands = {name: TyperCommand(name, help=line) for name, line in lines.items()}
        try:
            super().format_help(ctx, formatter)
        finally:
            self.commands = real


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"rag-audio {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="rag-audio",
    cls=_Root,
    help="Music generation whose sources can be named: index a licensed library, generate in a "
    "licensed artist's style, trace what influenced an output.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


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
            plain = message.replace("Value error, ", "")  # pydantic's, by which typer parses
            context = getattr(error, "ctx", None)
            command = "rag-audio" if context is None else context.command_path
            show_error(InvalidInput(plain, hint=f"{command} --help"), as_json)
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
