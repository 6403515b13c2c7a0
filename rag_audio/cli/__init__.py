"""The command line: parse, call, show. ``rag-audio --help`` lists the commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; Ctrl-C is one line at any moment, also while loading.

    See :mod:`rag_audio.errors` for the codes.
    """
    try:
        from rag_audio.cli.app import run

        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        sys.stderr.write("rag-audio: stopped; nothing half-written was left\n")
        code = 130
    raise SystemExit(code)
