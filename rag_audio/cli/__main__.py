"""``python -m rag_audio.cli``: the command line without its script."""

from rag_audio.cli import main

main()
