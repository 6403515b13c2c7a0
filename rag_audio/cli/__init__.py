"""The command line: parse, call, show. ``rag-audio --help`` lists the commands."""

from __future__ import annotations

from rag_audio.cli.app import main

__all__ = ["main"]
