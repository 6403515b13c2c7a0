"""What commands do not import: each needs a few of the large libraries, and waits for no others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from rag_audio.cli.app import COMMANDS, app

MODELS = ("torch", "transformers", "diffusers", "accelerate", "safetensors", "tokenizers")
SOUND = ("librosa", "numba", "scipy", "matplotlib", "pretty_midi", "symusic", "pyloudnorm")
SERVERS = ("fastapi", "uvicorn", "qdrant_client", "prometheus_client", "huggingface_hub")
SIGNING = ("c2pa", "cryptography")
DATABASE = ("alembic", "sqlalchemy")

# Command line → what it does without.
WITHOUT: dict[str, tuple[str, ...]] = {
    "--help": (*MODELS, *SOUND, *SERVERS, *SIGNING, *DATABASE, "numpy", "pydantic", "structlog"),
    "search --bpm 60-180": (*MODELS, *SOUND, *SERVERS, "c2pa", "alembic"),
    "search warm": ("transformers", "diffusers", "accelerate", *SOUND, *SERVERS, "c2pa", "alembic"),
    "ledger verify": (*MODELS, *SOUND, *SERVERS, "c2pa"),
    "generate warm --dry-run": (
        *("librosa", "numba", "matplotlib", "c2pa", "alembic"),
        *("fastapi", "uvicorn", "qdrant_client", "prometheus_client"),
    ),
}

RUN = """
import sys
from rag_audio.cli.app import run
code = run(sys.argv[2:])
assert code == 0, code
print("IMPORTED", sorted(set(sys.argv[1].split(",")) & set(sys.modules)))
"""


@pytest.mark.parametrize("line", WITHOUT)
def test_a_command_imports_no_more_than_it_needs(
    line: str, indexed_home: Path, tmp_path: Path
) -> None:
    home = Path(shutil.copytree(indexed_home, tmp_path / "home"))
    done = subprocess.run(
        [sys.executable, "-c", RUN, ",".join(WITHOUT[line]), *line.split()],
        env={**os.environ, "RAG_AUDIO_HOME": str(home)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "IMPORTED []"


def test_the_package_imports_nothing_that_has_to_be_installed() -> None:
    code = (
        "import sys; before = set(sys.modules); import rag_audio\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['rag_audio']"


def test_the_help_says_of_each_command_what_its_module_says() -> None:
    lines = {name: line for module in COMMANDS.values() for name, line in module.items()}
    whole: Any = typer.main.get_command(app)
    for name, command in whole.commands.items():
        assert lines.pop(name) == command.help.split("\n\n")[0], name
    assert not lines
