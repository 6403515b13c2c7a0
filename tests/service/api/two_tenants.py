"""A running service with two tenants whose every word is known, without weights.

Each tenant has a library, a key that is bound to it, jobs, uploads and outputs. Whatever one of
them wrote, or the library says, holds a word that stands nowhere else.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from sqlalchemy import update

from indexer.build import index_library
from rag_audio.domain import Audio, GenerationRequest
from rag_audio.domain.ports import Detection, DiffusionInput, Mark, Progress, StopAsked
from rag_audio.pipeline.workspace import Workspace
from rag_audio.provenance.credentials.signers import NoSigner
from rag_audio.provenance.ledger.tables import counter, counter_checksum
from rag_audio.service.api.app import make_app
from rag_audio.service.api.services import Service
from rag_audio.service.api_access import Scope
from rag_audio.service.settings import ServeSettings
from rag_audio.settings import Settings
from rag_audio.storage.database import writing
from tests.indexer.library import use_quick_analysis
from tests.support.fakes import FakeEmbedder, FakeIndex
from tests.support.rights_world import FakeGenerator, write_score
from tests.support.small_library import RATE, chords

FIRST_OUTPUT = 48_260_000
"""Numbers of outputs begin here: none is mistaken for another figure."""
KINDS = ("title", "artist", "tag", "holder", "license", "spdx", "credit", "library", "path", "file")
NOWHERE = "0" * 32
ABSENT = 2**39
SHORT = {"duration_s": 1.0, "steps": 2, "strength": 0.9}


@dataclass
class Tenant:
    """One key's holder.

    Attributes:
        words: what a tenant's library and requests say, by where it stands.
        headers: with the key. sounds: bytes by name.
    """

    name: str
    headers: dict[str, str]
    words: dict[str, str]
    libraries: tuple[str, ...] | None
    owner: str
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    uploads: dict[str, str] = field(default_factory=dict)
    sounds: dict[str, bytes] = field(default_factory=dict)
    stems: dict[str, str] = field(default_factory=dict)

    @property
    def outputs(self) -> list[int]:
        """Numbers of all outputs."""
        made = [take["output"] for job in self.jobs.values() for take in job["outputs"]]
        return sorted(set(made))


class Imitator(FakeGenerator):
    """Makes noise; for some seeds it plays what is in a file."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: dict[int, np.ndarray] = {}

    def generate(
        self,
        batch: DiffusionInput,
        progress: Progress | None = None,
        stop_asked: StopAsked | None = None,
    ) -> tuple[Audio, ...]:
        made = list(super().generate(batch, progress, stop_asked))
        for i, seed in enumerate(batch.seeds):
            if seed in self.copies:
                played = self.copies[seed][: made[i].frames]
                made[i] = Audio(played[None, :], self.info.sample_rate)
        return tuple(made)


class Remembering:
    """A watermarker that knows a sound again by how it begins."""

    name = "remembering"

    def __init__(self) -> None:
        self._known: list[tuple[np.ndarray, int]] = []

    def embed(self, audio: Audio, mark: Mark) -> Audio:
        self._known.append((audio.samples[0, :400].copy(), mark.payload))
        return audio

    def detect(self, audio: Audio) -> Detection:
        heard = audio.samples[0, :400]
        for begins, number in self._known:
            if heard.size == begins.size and np.allclose(heard, begins, atol=1e-3):
                return Detection(Mark(number), 0.99)
        return Detection(None, 0.0)


class TwoTenants:
    """The service, its tenants, and what nobody may learn.

    Attributes:
        stranger: holds a key that is bound to no library and made nothing.
        by_hand: number of an output that the command line made.
    """

    def __init__(self, base: Path, running: ExitStack) -> None:
        # A space, so that nobody takes a path for a word.
        self.base = base / "server place"
        self.workspace = Workspace(Settings(home=self.base / "home", contact="rights@example.org"))
        home = self.workspace.home
        (home.folder / "index").mkdir(parents=True)  # where the server's socket goes
        home.embedder, home.index = FakeEmbedder(), FakeIndex()
        home.watermarker, home.signer = Remembering(), NoSigner()
        self.generator = Imitator()
        home.generator = lambda model: self.generator  # type: ignore[method-assign]
        home.ledger.next_output_id()
        with writing(home.database) as db:
            given = {"last_output": FIRST_OUTPUT, "checksum": counter_checksum(FIRST_OUTPUT)}
            db.execute(update(counter).values(**given))
        words = {
            name: {kind: f"{name}{kind}" for kind in (*KINDS, "prompt", "reason")}
            for name in ("vexorine", "quillomba")
        }
        for seed, (name, own) in enumerate(words.items()):
            self._library(name, own, seed)
        self.service = Service(
            self.workspace,
            ServeSettings(requests_per_minute=1_000_000, queue=10_000, queue_per_key=10_000),
            ("testserver",),
        )
        self.by_hand = self._by_hand()
        self.client = running.enter_context(
            TestClient(make_app(self.service), raise_server_exceptions=False)
        )
        scopes = [Scope.GENERATE, Scope.SEARCH, Scope.TRACE]
        self.admin = self.tenant("admin", [Scope.ADMIN], None, {})
        self.one, self.other = (
            self.tenant(name, scopes, (own["library"],), own) for name, own in words.items()
        )
        self.stranger = self.tenant("stranger", scopes, None, {})
        for tenant in (self.one, self.other):
            self._live(tenant)

    @property
    def server_paths(self) -> tuple[str, ...]:
        """What no answer may hold."""
        return (str(self.base), str(self.base.resolve()), "server place", "site-packages")

    def ask(self, tenant: Tenant, method: str, url: str, **more: Any) -> Any:
        """A request of a tenant's."""
        headers = {**tenant.headers, **more.pop("headers", {})}
        return self.client.request(method, url, headers=headers, **more)

    def upload(self, tenant: Tenant, sound: bytes) -> str:
        """The id of a new upload."""
        answer = self.ask(tenant, "POST", "/v1/uploads", content=sound)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def job(self, tenant: Tenant, url: str, **asked: Any) -> dict[str, Any]:
        """A job that has ended."""
        wait = {"Prefer": "wait=60"}
        answer = self.ask(tenant, "POST", url, json=asked, headers=wait)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def _library(self, name: str, words: dict[str, str], seed: int) -> None:
        root = self.base / words["library"]
        (root / words["path"]).mkdir(parents=True)
        folder = words["path"]
        (root / "library.toml").write_text(
            f'[library]\nname = "{words["library"]}"\nid = "{words["library"]}"\n'
            f'[licenses.{words["license"]}]\nholder = "{words["holder"]}"\n'
            f'spdx = "LicenseRef-{words["spdx"]}"\nuses = ["prompt", "init_audio", "style"]\n'
            f'credit = "{words["credit"]}"\nmax_similarity = 0.61\n'
        )
        rows = [
            f"{folder}/{file},{words['license']},{words['artist']},{words['title']} {i},90,,"
            f"{words['tag']};warm"
            for i, file in enumerate(("a.wav", f"{words['file']}.wav", "c.mid", "both.wav"))
        ]
        (root / "stems.csv").write_text(
            "\n".join(["path,license,artist,title,bpm,key,tags", *rows])
        )
        for i, file in enumerate(("a.wav", f"{words['file']}.wav")):
            sound = chords(90, 150.0 + 90 * seed + 40 * i, 6.0, seed=10 * seed + i)
            soundfile.write(root / folder / file, sound, RATE)
        # The same bytes lie in both libraries, under other names and licenses.
        soundfile.write(root / folder / "both.wav", chords(90, 400.0, 5.0, seed=99), RATE)
        write_score(root / folder / "c.mid", seed=seed)
        home = self.workspace.home
        with pytest.MonkeyPatch.context() as patch:
            use_quick_analysis(patch.setattr)
            index_library(
                root,
                embedder=home.embedder,
                index=home.index,
                catalogue=home.catalogue,
                render=_hum,
                workers=0,
            )

    def _by_hand(self) -> int:
        request = GenerationRequest("byhandprompt", duration_s=1.0, steps=2, k=1)
        (made,) = self.workspace.pipeline.generate(request, self.base / "by hand.wav")
        return made.record.output

    def tenant(
        self,
        name: str,
        scopes: Sequence[Scope],
        libraries: tuple[str, ...] | None,
        words: dict[str, str],
    ) -> Tenant:
        """The holder of a new key."""
        key, text = self.service.access.make(name, list(scopes), libraries)
        return Tenant(name, {"Authorization": f"Bearer {text}"}, words, libraries, key.id)

    def _live(self, tenant: Tenant) -> None:
        """What a tenant did before anybody asks."""
        word = tenant.words["prompt"]
        stems = self.ask(tenant, "GET", "/v1/stems").json()["stems"]
        tenant.stems = {Path(stem["path"]).name: stem["stem"] for stem in stems}
        copied = next(stem for stem in stems if stem["path"].endswith("a.wav"))
        root = self.base / tenant.words["library"]
        file = root / copied["path"]
        tenant.sounds["stem"] = file.read_bytes()
        tenant.sounds["score"] = next(root.rglob("*.mid")).read_bytes()
        heard, rate = soundfile.read(file, dtype="float32")
        steps = np.arange(0, heard.size, rate / self.generator.info.sample_rate)
        self.generator.copies[self.copy_seed(tenant)] = np.interp(
            steps, np.arange(heard.size), heard
        ).astype(np.float32)
        tenant.sounds["own"] = wav(np.random.default_rng(len(word)).normal(0, 0.1, RATE))
        tenant.uploads = {name: self.upload(tenant, tenant.sounds[name]) for name in ("own",)}
        tenant.jobs["with"] = self.job(
            tenant, "/v1/generations", prompt=f"warm {word}", k=1, **SHORT
        )
        tenant.jobs["without"] = self.job(
            tenant, "/v1/generations", prompt=f"slow {word}", k=0, **SHORT
        )
        for name, job in list(tenant.jobs.items()):
            assert job["state"] == "succeeded", job["problem"]
            made = self.ask(tenant, "GET", job["outputs"][0]["content"]).content
            tenant.sounds[name] = made
            samples, rate = soundfile.read(io.BytesIO(made), dtype="float32")
            tenant.sounds[f"{name} changed"] = wav(np.append(samples, np.zeros(50)), rate)
        tenant.jobs["edit"] = self.job(
            tenant, "/v1/edits", kind="vary", generation=tenant.jobs["with"]["id"]
        )
        assert tenant.jobs["edit"]["state"] == "succeeded", tenant.jobs["edit"]["problem"]
        refused = {"prompt": f"{word} in the style of Protected Person"}
        self.ask(tenant, "POST", "/v1/generations", json=refused)

    def score(self, seed: int) -> bytes:
        """A score of the melody with a seed; that of each library has one of its own."""
        return write_score(self.base / f"{seed}.mid", seed=seed).read_bytes()

    def copy_seed(self, tenant: Tenant) -> int:
        """The seed for which the model plays a stem of a tenant's."""
        return 7_000 + len(tenant.name)


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.float32), rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def _hum(path: Path) -> Audio:
    t = np.arange(11 * 16_000) / 16_000
    return Audio((0.3 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)[None, :], 16_000)
