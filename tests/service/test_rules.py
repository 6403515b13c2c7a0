"""Rules that the code of the service keeps."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_service_knows_no_pickle_and_no_shell() -> None:
    files = sorted((ROOT / "rag_audio" / "service").rglob("*.py"))
    assert files
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
                assert not names & {"pickle", "marshal", "shelve", "multiprocessing"}, file
            if isinstance(node, ast.keyword) and node.arg == "shell":
                raise AssertionError(f"{file}: shell=")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec"), file


def test_every_log_line_names_the_request_whichever_library_writes_it() -> None:
    code = (
        "import logging, structlog\n"
        "from rag_audio.service.settings import log_as_json\n"
        "log_as_json()\n"
        "structlog.contextvars.bind_contextvars(request='r-1')\n"
        "logging.getLogger('rag_audio.stem_player').error('%s is gone', 'a.wav')\n"
        "structlog.get_logger('rag_audio.api').error('a.wav is gone')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(one["event"], one["request"]) for one in lines] == [("a.wav is gone", "r-1")] * 2
    assert done.stdout == ""


def test_the_command_line_loads_no_server_unless_it_serves() -> None:
    code = (
        "import sys, rag_audio.cli.app\n"
        "print(sorted({'fastapi', 'uvicorn', 'prometheus_client'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
