"""The command line: parse, call, show. ``rag-audio --help`` lists the commands."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

_LONG = ("index", "serve", "worker")
"""Commands that go on for long: they collect garbage as often as Python does by itself."""
_STOPPED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; Ctrl-C is one line at any moment, also while loading.

    See :mod:`rag_audio.errors` for the codes.
    """
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by who started this: there is nobody to tell
            setattr(sys, stream, Path(os.devnull).open("w"))  # noqa: SIM115 - to the end
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] not in _LONG:
        # The collector goes through all that imports and models make, and nothing of it is garbage:
        # a fifth of the time that their imports take.
        gc.set_threshold(50_000, 20, 100)
    try:
        from rag_audio.cli.app import run

        code = run(words)
    except KeyboardInterrupt:
        sys.stderr.write("rag-audio: stopped; nothing half-written was left\n")
        code = _STOPPED
    if code == _STOPPED:
        # Where Ctrl-C came within an exec() of text, as dataclasses make, `python -m` would end by
        # the signal whatever the exit code is (run_eval_code_obj of CPython's pythonrun.c notes
        # it). The next exec() takes the note back.
        exec("")  # noqa: S102 - no text
    raise SystemExit(code)
