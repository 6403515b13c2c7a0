"""The forms of Create and of an edit as tests work them; what they send is caught on its way."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soundfile

from tests.service.web.site import Site

JOB = "a" * 32
"""A job that answers whatever is asked for."""


@dataclass
class Desk:
    """One page. What it asks to be made is kept in ``sent`` and never reaches the service.

    Attributes:
        plans: bodies of ``/v1/plans``, which reach it where ``plans_for_real``.
        jobs: answers for ids of jobs.
    """

    page: Any
    site: Site
    sent: list[dict[str, Any]] = field(default_factory=list)
    plans: list[dict[str, Any]] = field(default_factory=list)
    plans_for_real: bool = False
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.watch(self.page)

    def clean(self) -> None:
        """Forget all that a test has said."""
        self.page.unroute_all()
        self.watch(self.page)
        self.jobs.clear()
        self.sent.clear()
        self.plans.clear()
        self.plans_for_real = False

    def watch(self, page: Any) -> None:
        """Catch what a page asks to be made."""
        page.route("**/v1/generations", self._asked)
        page.route("**/v1/edits", self._asked)
        page.route("**/v1/plans", self._planned)
        page.route("**/v1/generations/**", self._job)

    def _asked(self, route: Any) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        self.sent.append(json.loads(route.request.post_data))
        route.fulfill(status=422, json={"status": 422, "detail": "caught on its way"})

    def _planned(self, route: Any) -> None:
        self.plans.append(json.loads(route.request.post_data))
        if self.plans_for_real:
            route.continue_()
        else:
            route.fulfill(status=422, json={"status": 422, "detail": "no plan is made here"})

    def _job(self, route: Any) -> None:
        path = route.request.url.split("/v1/generations/")[1].split("?")[0]
        if path.endswith("/content"):
            route.fulfill(body=silence(4.0), content_type="audio/wav")
        elif path in self.jobs:
            # As a server writes it: numbers of any length.
            route.fulfill(body=json.dumps(self.jobs[path]), content_type="application/json")
        else:
            route.continue_()

    def open(self, path: str = "#/create", **stored: Any) -> Any:
        """The page as one opens it who has nothing stored on this machine but this."""
        self.page.evaluate(
            """([path, stored]) => {
              sessionStorage.clear(); localStorage.clear();
              for (const [name, text] of Object.entries(stored))
                localStorage.setItem(`rag-audio.${name}`, text);
              history.replaceState(null, "", path);
            }""",
            [
                f"/{path}",
                {name: v if isinstance(v, str) else json.dumps(v) for name, v in stored.items()},
            ],
        )
        self.page.reload(wait_until="commit")
        if "create" in path:
            ready(self.page)
        return self.page

    def again(self, page: Any = None) -> None:
        """Load the page anew."""
        (page or self.page).reload(wait_until="commit")
        ready(page or self.page)

    def generate(self, page: Any = None, words: str | None = "warm piano") -> dict[str, Any]:
        """The body that Generate sends."""
        page = page or self.page
        if words is not None:
            page.get_by_label("Prompt").fill(words)
        before = len(self.sent)
        page.get_by_role("button", name="Generate", exact=True).click()
        page.get_by_text("Caught on its way").wait_for()
        assert len(self.sent) == before + 1
        return self.sent[-1]

    def refused(self) -> list[str]:
        """What is said beside the controls when Generate sends nothing."""
        before = len(self.sent)
        self.page.get_by_role("button", name="Generate", exact=True).click()
        self.page.get_by_text("Nothing was sent").wait_for()
        assert len(self.sent) == before
        return self.faults()

    def faults(self) -> list[str]:
        """What is said beside the controls."""
        found: list[str] = self.page.locator(".fault").all_inner_texts()
        return found

    def form(self) -> Any:
        """All that the form shows: what is in its controls, is open or listed."""
        return self.page.evaluate(
            """() => [
              [...document.querySelectorAll("main input, main select, main textarea")].map(
                (one) => [one.type, one.checked ?? null, one.value, one.disabled]),
              [...document.querySelectorAll("main details")].map((one) => one.open),
              [...document.querySelectorAll("main section:not([hidden]) li, main .fault")].map(
                (one) => one.textContent),
              [...document.querySelectorAll("[aria-pressed]")].map((one) => one.ariaPressed),
            ]"""
        )

    def stems(self) -> list[str]:
        """Ids of stems of the library that may be references."""
        found = self.page.request.get(f"{self.site.url}/v1/stems?kind=audio").json()["stems"]
        return [one["stem"] for one in found if one["granted"]]


def ready(page: Any) -> None:
    """Wait until the form has all that it fetches."""
    page.get_by_label("Copper Lantern Trio").wait_for()


def silence(seconds: float) -> bytes:
    """A WAV file."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(round(8000 * seconds)), 8000, format="WAV")
    return file.getvalue()


def job(request: dict[str, Any], kind: str = "generation", takes: int = 2) -> dict[str, Any]:
    """A finished job of takes of four seconds, as the API shows one."""
    outputs = [
        {
            "take": i + 1, "output": i + 1, "seed": str(int(request.get("seed", 0)) + i),
            "duration_s": 4.0, "sample_rate": 8000, "channels": 1, "quality": {}, "unmet": [],
            "content": f"/v1/generations/{JOB}/content?take={i + 1}",
        }
        for i in range(takes)
    ]  # fmt: skip
    return {
        "id": JOB, "kind": kind, "state": "succeeded", "created": "2026-01-01T00:00:00+00:00",
        "prompt": request.get("prompt", ""), "enriched_prompt": "words", "request": request,
        "outputs": outputs, "references": [], "notes": [], "problem": None,
        "links": {"plan": f"/v1/generations/{JOB}/plan"},
    }  # fmt: skip
