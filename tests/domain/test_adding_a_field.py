"""A field that is declared in the request's table is on every surface: the page's example, run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding-a-field.md"
MOST_FILES = 3


def apply(page: str, package: Path) -> set[Path]:
    """Change a copy of the package as the page says; the files that were changed."""
    changed = set()
    for block in re.findall(r"```diff\n(.*?)```", page, re.DOTALL):
        name, *lines = block.splitlines()
        before = "\n".join(line[1:] for line in lines if line[0] != "+")
        after = "\n".join(line[1:] for line in lines if line[0] != "-")
        (file,) = (
            one
            for one in package.rglob(Path(name.removeprefix("--- ")).name)
            if before in one.read_text(encoding="utf-8")
        )
        file.write_text(file.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
        changed.add(file)
    return changed


def test_the_example_of_the_page_is_found_on_every_surface(tmp_path: Path) -> None:
    skipped = shutil.ignore_patterns("__pycache__", "web")
    shutil.copytree(ROOT / "rag_audio", tmp_path / "rag_audio", ignore=skipped)
    (tmp_path / "data").symlink_to(ROOT / "data")
    changed = apply(PAGE.read_text(encoding="utf-8"), tmp_path / "rag_audio")
    assert 0 < len(changed) <= MOST_FILES
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    ran = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [str(tmp_path / "rag_audio" / "__init__.py"), "found"]


def look() -> None:
    """In the changed copy: the field in command line, batch, schema, record, plan and replay."""
    import rag_audio
    from rag_audio.cli.batch import COLUMNS
    from rag_audio.domain import GenerationRequest
    from rag_audio.domain.codec import encode
    from rag_audio.domain.plan import plan_from_json, plan_to_json
    from rag_audio.generation.replay import request_of
    from rag_audio.provenance.ledger.commitments import without_texts
    from rag_audio.service.api.schemas import EditAsked, GenerationAsked
    from rag_audio.service.jobs import generation_request
    from tests.generation.test_planning import plan_of
    from tests.support.command_tree import parameters

    name = "mood_intensity"
    options = {(one.command, one.name): one for one in parameters()}
    option = options["generate", name]
    assert option.flag == "--mood-intensity" and option.is_a(float)
    assert (option.info.min, option.info.max) == (0, 1)
    assert ("vary", name) not in options and name in COLUMNS

    schema = GenerationAsked.model_json_schema()["properties"][name]
    assert schema["anyOf"][0] == {"type": "number", "minimum": 0, "maximum": 1}
    assert schema["default"] is None and schema["description"]
    assert name not in EditAsked.model_fields

    asked = {"prompt": "slow", "mood": ["calm"], name: 0.8}
    request = generation_request(asked, Path)
    assert getattr(request, name) == 0.8
    document = encode(request)
    assert without_texts(document, "/request", {})[name] == 0.8
    assert document.keys() - encode(GenerationRequest("slow")).keys() == {name}

    plan = plan_of(mood=("calm",), mood_intensity=0.8)
    assert "very calm" in plan.enriched_prompt
    written = plan_to_json(plan)
    assert written["controls"][name] == 0.8 and plan_from_json(written) == plan
    assert getattr(request_of(plan, None), name) == 0.8
    older = plan_to_json(plan_of(mood=("calm",)))
    assert name not in older["controls"] and plan_from_json(older).controls.mood == ("calm",)
    print(rag_audio.__file__, "found")  # noqa: T201 - the answer to the test


if __name__ == "__main__":
    look()
