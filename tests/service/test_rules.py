"""Rules that the code of the service keeps."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_service_knows_no_pickle_and_no_shell() -> None:
    for package in ("api", "jobs", "service"):
        for file in sorted((ROOT / "rag_audio" / package).rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    names = {alias.name.split(".")[0] for alias in node.names}
                    assert not names & {"pickle", "marshal", "shelve", "multiprocessing"}, file
                if isinstance(node, ast.keyword) and node.arg == "shell":
                    raise AssertionError(f"{file}: shell=")
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id not in ("eval", "exec"), file


def test_the_command_line_loads_no_server_unless_it_serves() -> None:
    code = (
        "import sys, rag_audio.cli.app\n"
        "print(sorted({'fastapi', 'uvicorn', 'prometheus_client'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
