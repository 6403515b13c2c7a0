"""Two tenants of one service try every route, and learn nothing of each other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.two_tenants import ABSENT, NOWHERE, SHORT, Tenant, TwoTenants

T = TypeVar("T")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoTenants]:
    with ExitStack() as running:
        yield TwoTenants(tmp_path_factory.mktemp("tenants"), running)


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        twin: the address of something that never was: both must be answered alike.
    """

    url: str
    json: Any = None
    content: bytes | None = None
    twin: str | None = None


@dataclass(frozen=True)
class Turn:
    """Whoever asks, whose things are asked about, and what hypothesis chooses."""

    world: TwoTenants
    own: Tenant
    their: Tenant
    data: st.DataObject

    def one_of(self, *values: T) -> T:
        return self.data.draw(st.sampled_from(values))

    def job(self, way: str = "") -> Ask:
        """A route below somebody's job."""
        theirs = self.one_of(*self.their.jobs.values())["id"]
        own = [job["id"] for job in self.own.jobs.values()]
        id_ = self.one_of(theirs, *own, NOWHERE)
        twin = f"/v1/generations/{NOWHERE}{way}" if id_ == theirs else None
        return Ask(f"/v1/generations/{id_}{way}", twin=twin)

    def stem(self, way: str = "") -> Ask:
        """A route below a stem."""
        id_ = self.one_of(*self.their.stems.values(), *self.own.stems.values(), "f" * 64)
        foreign = id_ in self.their.stems.values() and self.own.libraries is not None
        return Ask(f"/v1/stems/{id_}{way}", twin=f"/v1/stems/{'f' * 64}{way}" if foreign else None)

    def prefix(self) -> str:
        """The beginning of a stem's id, which can be that of several."""
        ids = (*self.their.stems.values(), *self.own.stems.values(), "f" * 64)
        return self.one_of(*ids)[: self.one_of(6, 12, 64)]

    def word(self) -> str:
        """Something that stands in one of the libraries, or in none."""
        words = [*self.their.words.values(), *self.own.words.values(), "warm", "nobody"]
        return self.one_of(*words)

    def sound(self) -> bytes:
        """A file of somebody's: an output as it was or changed, a stem, a score, or nothing."""
        known = [*self.their.sounds.values(), *self.own.sounds.values()]
        return self.one_of(*known, b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\0\4\0\xff\x2f\0", b"none")

    def upload(self) -> str:
        """An upload: another's, one of one's own with whatever in it, or none."""
        if self.data.draw(st.booleans()):
            return self.one_of(*self.their.uploads.values(), NOWHERE)
        sounds = {**self.own.sounds, **self.their.sounds}
        return self.world.upload(self.own, sounds[self.one_of(*sorted(sounds))])

    def fields(self) -> dict[str, Any]:
        """What generations and edits have in common."""
        options: dict[str, Callable[[], Any]] = {
            "references": lambda: [self.prefix()],
            "exclude": lambda: [self.prefix()],
            "artist": self.word,
            "seed": lambda: self.world.copy_seed(self.one_of(self.their, self.own)),
            "audio_rights": lambda: "own",
            "key": lambda: self.one_of("A minor", self.word()),
        }
        chosen = self.data.draw(st.sets(st.sampled_from(sorted(options)), max_size=3))
        return {**SHORT, **{name: options[name]() for name in sorted(chosen)}}

    def generation(self) -> dict[str, Any]:
        """A generation's body."""
        options: dict[str, Callable[[], Any]] = {
            "audio": self.upload,
            "midi": self.upload,
            "layers": lambda: [{"layer": "drums", "stem": self.prefix()}],
            "audio_as": lambda: self.one_of("melody", "search"),
            "mood": lambda: [self.word()],
        }
        chosen = self.data.draw(st.sets(st.sampled_from(sorted(options)), max_size=2))
        more = {name: options[name]() for name in sorted(chosen)}
        fields = self.fields()
        if more.keys() & {"audio", "midi"}:
            fields.setdefault("audio_rights", "own")
        return {"prompt": self.one_of("slow piano", self.word()), **fields, **more}

    def edit(self) -> dict[str, Any]:
        """An edit's body."""
        fields = {k: v for k, v in self.fields().items() if k != "duration_s"}
        jobs = [job["id"] for job in (*self.their.jobs.values(), *self.own.jobs.values())]
        of = self.one_of("generation", "upload")
        what = self.one_of(*jobs, NOWHERE) if of == "generation" else self.upload()
        return {"kind": "vary", of: what, "prompt": self.one_of("", "piano"), **fields}

    def output(self) -> Ask:
        number = self.one_of(*self.their.outputs, self.world.by_hand, *self.own.outputs, ABSENT)
        twin = None if number in self.own.outputs else f"/v1/outputs/{ABSENT}"
        return Ask(f"/v1/outputs/{number}", twin=twin)

    def seq(self) -> tuple[int, bool]:
        """An entry's number, and whether it is about an output of one's own."""
        ledger = self.world.workspace.parts.ledger
        seq = self.data.draw(st.integers(1, ledger.size() + 1))
        document = ledger.document(seq)
        about = None if document is None else json.loads(document)["output"]
        return seq, about in self.own.outputs

    def entry(self) -> Ask:
        seq, own = self.seq()
        twin = None if own else f"/v1/ledger/entries/{ABSENT}"
        return Ask(f"/v1/ledger/entries/{seq}", twin=twin)

    def proof(self) -> Ask:
        if self.data.draw(st.booleans()):
            old = self.data.draw(st.integers(0, 3))
            return Ask(f"/v1/ledger/proof?old={old}")
        seq, own = self.seq()
        twin = None if own else f"/v1/ledger/proof?seq={ABSENT}"
        return Ask(f"/v1/ledger/proof?seq={seq}", twin=twin)

    def trace(self) -> Ask:
        report = self.one_of("json", "html")
        if self.data.draw(st.booleans()):
            return Ask(f"/v1/trace?report={report}", content=self.sound())
        return Ask(f"/v1/trace?report={report}&upload={self.upload()}")

    def listed(self, route: str, *names: str) -> Ask:
        """A list, with a filter or without."""
        name = self.one_of("", *names)
        return Ask(f"{route}?{name}={self.word()}" if name else route)


CASES: dict[tuple[str, str], Callable[[Turn], Ask]] = {
    ("GET", "/healthz"): lambda turn: Ask("/healthz"),
    ("GET", "/readyz"): lambda turn: Ask("/readyz"),
    ("GET", "/metrics"): lambda turn: Ask("/metrics"),
    ("GET", "/v1/status"): lambda turn: Ask("/v1/status"),
    ("GET", "/v1/session"): lambda turn: Ask("/v1/session"),
    ("POST", "/v1/session"): lambda turn: Ask("/v1/session", {"key": turn.word()}),
    ("DELETE", "/v1/session"): lambda turn: Ask("/v1/session"),
    ("POST", "/v1/generations"): lambda turn: Ask("/v1/generations", turn.generation()),
    ("POST", "/v1/plans"): lambda turn: Ask("/v1/plans", turn.generation()),
    ("POST", "/v1/edits"): lambda turn: Ask("/v1/edits", turn.edit()),
    ("GET", "/v1/generations"): lambda turn: Ask(
        f"/v1/generations?limit=200&before={turn.one_of(2, 5, 10**6)}"
    ),
    ("GET", "/v1/generations/{id}"): lambda turn: turn.job(),
    ("POST", "/v1/generations/{id}/cancel"): lambda turn: turn.job("/cancel"),
    ("GET", "/v1/generations/{id}/plan"): lambda turn: turn.job("/plan"),
    ("GET", "/v1/generations/{id}/events"): lambda turn: turn.job("/events"),
    ("GET", "/v1/generations/{id}/record"): lambda turn: turn.job("/record"),
    ("GET", "/v1/generations/{id}/content"): lambda turn: turn.job("/content"),
    ("GET", "/v1/outputs"): lambda turn: turn.listed("/v1/outputs", "artist", "license", "holder"),
    ("GET", "/v1/outputs/{output}"): lambda turn: turn.output(),
    ("GET", "/v1/ledger/checkpoint"): lambda turn: Ask("/v1/ledger/checkpoint"),
    ("GET", "/v1/ledger/entries/{seq}"): lambda turn: turn.entry(),
    ("GET", "/v1/ledger/proof"): lambda turn: turn.proof(),
    ("POST", "/v1/revocations"): lambda turn: Ask(
        "/v1/revocations", {"of": turn.one_of("artist", "license"), "target": turn.word()}
    ),
    ("POST", "/v1/search"): lambda turn: Ask(
        "/v1/search",
        turn.one_of(
            {"text": turn.word()},
            {"text": "warm", "artist": turn.word()},
            {"text": "warm", "tags": [turn.word()]},
            {"like": [turn.prefix()]},
            {"upload": turn.upload()},
        ),
    ),
    ("GET", "/v1/stems"): lambda turn: turn.listed("/v1/stems", "q", "artist", "license", "tag"),
    ("GET", "/v1/stems/{id}"): lambda turn: turn.stem(),
    ("GET", "/v1/stems/{id}/preview"): lambda turn: turn.stem("/preview"),
    ("GET", "/v1/artists"): lambda turn: Ask("/v1/artists"),
    ("GET", "/v1/libraries"): lambda turn: Ask("/v1/libraries"),
    ("GET", "/v1/map"): lambda turn: Ask("/v1/map"),
    ("GET", "/v1/indexing"): lambda turn: Ask("/v1/indexing"),
    ("POST", "/v1/indexing"): lambda turn: Ask("/v1/indexing", {"name": turn.word()}),
    ("POST", "/v1/uploads"): lambda turn: Ask("/v1/uploads", content=turn.sound()),
    ("POST", "/v1/trace"): lambda turn: turn.trace(),
    ("POST", "/v1/guard"): lambda turn: Ask(
        "/v1/guard", {"prompts": [f"in the style of {turn.word()}"]}
    ),
}  # fmt: skip


def test_every_route_has_a_case(world: TwoTenants) -> None:
    paths = world.client.get("/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert routes == set(CASES), "say in CASES what a tenant could try there"


@pytest.mark.parametrize("route", sorted(CASES), ids=" ".join)
@given(data=st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_tenants_learn_nothing_of_each_other(
    world: TwoTenants, route: tuple[str, str], data: st.DataObject
) -> None:
    pairs = [(world.one, world.other), (world.other, world.one), (world.stranger, world.one)]
    own, their = data.draw(st.sampled_from(pairs))
    method = route[0]
    ask = CASES[route](Turn(world, own, their, data))
    more = {"json": ask.json, "content": ask.content, "headers": {"Prefer": "wait=30"}}
    answer = world.ask(own, method, ask.url, **{k: v for k, v in more.items() if v is not None})
    if ask.twin is not None:
        none = world.ask(own, method, ask.twin, headers=more["headers"])
        assert (answer.status_code, answer.content) == (none.status_code, none.content)
        assert set(answer.headers) == set(none.headers)
    learned = told_by(answer)
    said = f"{ask.url} {json.dumps(ask.json)}"
    for word in secrets_of(their, own):
        assert word in said or word not in learned, (word, learned)
    for number in (world.by_hand, *their.outputs):
        if str(number) not in said:
            assert str(number) not in learned, (number, learned)
    assert "byhandprompt" not in learned
    for path in world.server_paths:
        assert path not in learned, learned


def told_by(answer: Any) -> str:
    """All that an answer says: its headers and its body."""
    headers = [pair for pair in answer.headers.items() if pair[0] != "content-length"]
    return f"{headers} {answer.content.decode('utf-8', 'replace')}"


def secrets_of(their: Tenant, own: Tenant) -> list[str]:
    """Words that nobody else may read: of what is made by anybody, of the library by the bound."""
    if own.libraries is None:
        return [their.words["prompt"]]
    return list(their.words.values())
