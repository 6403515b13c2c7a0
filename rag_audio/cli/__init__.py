"""The command line: parse, call, show. ``rag-audio --help`` lists the commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; Ctrl-C is one line at any moment, also while loading.

    See :mod:`rag_audio.errors` for the codes.
    """
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by who started this: there is nobody to tell
            setattr(sys, stream, Path(os.devnull).open("w"))  # noqa: SIM115 - to the end
    try:
        from rag_audio.cli.app import run

        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        sys.stderr.write("rag-audio: stopped; nothing half-written was left\n")
        code = 130
    raise SystemExit(code)
