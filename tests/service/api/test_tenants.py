"""Two tenants of one service try every route, and learn nothing of each other."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from rag_audio.service.api_access import Scope
from rag_audio.service.tables import idempotency, jobs
from rag_audio.storage.database import writing
from tests.service.api.two_tenants import ABSENT, NOWHERE, SHORT, Tenant, TwoTenants

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
        foreign = id_ not in self.own.stems.values() and self.own.libraries is not None
        return Ask(f"/v1/stems/{id_}{way}", twin=f"/v1/stems/{'f' * 64}{way}" if foreign else None)

    def prefix(self) -> str:
        """The beginning of a stem's id, which can be that of several."""
        ids = (*self.their.stems.values(), *self.own.stems.values(), "f" * 64)
        return self.one_of(*ids)[: self.one_of(6, 12, 64)]

    def word(self) -> str:
        """Something that stands in one of the libraries, or in none."""
        words = [*self.their.words.values(), *self.own.words.values(), "warm", "nobody"]
        return self.one_of(*words)

    def spoken(self) -> str:
        """As :meth:`word`, in a text that is kept with what was asked: spelled otherwise, so that
        a later answer with one's own words is no leak."""
        word = self.word()
        return f"{word[:3]} {word[3:]}"

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

    def kept_upload(self) -> Ask:
        if self.data.draw(st.booleans()):
            return Ask(f"/v1/uploads/{self.upload()}")
        their = self.one_of(*self.their.uploads.values())
        return Ask(f"/v1/uploads/{their}", twin=f"/v1/uploads/{NOWHERE}")

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
            "mood": lambda: [self.spoken()],
        }
        chosen = self.data.draw(st.sets(st.sampled_from(sorted(options)), max_size=2))
        more = {name: options[name]() for name in sorted(chosen)}
        fields = self.fields()
        if more.keys() & {"audio", "midi"}:
            fields.setdefault("audio_rights", "own")
        return {"prompt": self.one_of("slow piano", self.spoken()), **fields, **more}

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
        ledger = self.world.workspace.home.ledger
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
    ("GET", "/v1/generations/{id}/credentials"): lambda turn: turn.job("/credentials?format=ogg"),
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
    ("GET", "/v1/uploads/{id}"): lambda turn: turn.kept_upload(),
    ("POST", "/v1/trace"): lambda turn: turn.trace(),
    ("POST", "/v1/guard"): lambda turn: Ask(
        "/v1/guard", {"prompts": [f"in the style of {turn.word()}"]}
    ),
    ("GET", "/v1/webhooks/secret"): lambda turn: Ask("/v1/webhooks/secret"),
    ("POST", "/v1/webhooks/secret"): lambda turn: Ask("/v1/webhooks/secret", {"overlap_hours": 1}),
}  # fmt: skip


def test_every_route_has_a_case(world: TwoTenants) -> None:
    paths = world.client.get("/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert routes == set(CASES), "say in CASES what a tenant could try there"


@pytest.mark.parametrize("route", sorted(CASES), ids=" ".join)
@given(data=st.data())
@settings(max_examples=9, deadline=None, suppress_health_check=list(HealthCheck))
def test_tenants_learn_nothing_of_each_other(
    world: TwoTenants, route: tuple[str, str], data: st.DataObject
) -> None:
    pairs = [(world.one, world.other), (world.other, world.one)]
    pairs.append((world.stranger, world.one))
    if route != ("POST", "/v1/indexing"):  # it would go on beside the tests that follow
        pairs.append((world.admin, world.one))
    own, their = data.draw(st.sampled_from(pairs))
    method = route[0]
    ask = CASES[route](Turn(world, own, their, data))
    headers = {"Prefer": "wait=30"}
    if data.draw(st.booleans()):
        headers["Idempotency-Key"] = "everybodys"
    sent = {"json": ask.json} if ask.content is None else {"content": ask.content}
    answer = world.ask(own, method, ask.url, headers=headers, **sent)
    learned = told_by(answer)
    assert answer.status_code < 500, learned
    for path in world.server_paths:
        assert path not in learned, learned
    if own is world.admin:
        return
    if ask.twin is not None:
        none = world.ask(own, method, ask.twin, headers=headers)
        assert (answer.status_code, answer.content) == (none.status_code, none.content)
        assert set(answer.headers) == set(none.headers)
    said = f"{ask.url} {json.dumps(ask.json)}"
    for word in secrets_of(their, own):
        assert word in said or word not in learned, (word, learned)
    for number in (world.by_hand, *their.outputs):
        if str(number) not in said:
            assert str(number) not in learned, (number, learned)
    assert "byhandprompt" not in learned


def test_an_output_is_seen_by_who_made_it_and_by_admins(world: TwoTenants) -> None:
    def listed(tenant: Tenant) -> dict[str, Any]:
        found: dict[str, Any] = world.ask(tenant, "GET", "/v1/outputs?limit=500").json()
        return found

    made_here = {}
    for tenant in (world.one, world.other):
        found = listed(tenant)
        made_here[tenant.name] = {row["output"] for row in found["outputs"]}
        assert set(tenant.outputs) <= made_here[tenant.name]
        assert found["total"] == len(found["outputs"])
        first = world.ask(tenant, "GET", "/v1/outputs?limit=1").json()
        assert (first["total"], len(first["outputs"])) == (found["total"], 1)
        record = world.ask(tenant, "GET", f"/v1/outputs/{tenant.outputs[0]}").json()["record"]
        assert tenant.words["prompt"] in record["request"]["prompt"]
        assert record["checks"]["compared"], "its own library is told"
        seq = found["outputs"][0]["seq"]
        proof = world.ask(tenant, "GET", f"/v1/ledger/proof?seq={seq}").json()
        assert proof["seq"] == seq
        assert world.ask(tenant, "GET", f"/v1/ledger/entries/{seq}").status_code == 403
        assert world.ask(world.admin, "GET", f"/v1/ledger/entries/{seq}").status_code == 200
    assert not made_here[world.one.name] & made_here[world.other.name]
    everything = {row["output"] for row in listed(world.admin)["outputs"]}
    assert everything >= {world.by_hand}.union(*made_here.values())
    newcomer = world.tenant("newcomer", [Scope.TRACE], None, {})
    assert listed(newcomer) == {"total": 0, "outputs": [], "next": None}


def test_events_about_libraries_are_for_admins(world: TwoTenants) -> None:
    """They hold all licenses of a library."""
    events = world.workspace.home.ledger.events("library")
    assert {one.document["state"] for one in events} == {"changing", "sealed"}
    for seq in {one.seq for one in events}:
        for tenant in (world.one, world.other, world.stranger):
            for url in ("/v1/ledger/entries/{}", "/v1/ledger/proof?seq={}"):
                answer, none = (
                    world.ask(tenant, "GET", url.format(n)) for n in (seq, world.by_hand + 10**6)
                )
                assert answer.status_code in (403, 404)
                assert (answer.status_code, answer.content) == (none.status_code, none.content)
        assert world.ask(world.admin, "GET", f"/v1/ledger/entries/{seq}").status_code == 200


def test_a_revoked_keys_outputs_are_left_to_admins(world: TwoTenants) -> None:
    leaving = world.tenant("leaves", [Scope.GENERATE], world.one.libraries, {})
    made = world.job(leaving, "/v1/generations", prompt="piano", k=0, **SHORT)
    number = made["outputs"][0]["output"]
    world.service.access.revoke(leaving.owner)
    for tenant, status in ((world.one, 404), (world.stranger, 404), (world.admin, 200)):
        assert world.ask(tenant, "GET", f"/v1/outputs/{number}").status_code == status
    assert world.service.owners.of(number) == leaving.owner


@pytest.mark.parametrize("name", ["with", "without", "with changed", "without changed"])
def test_anothers_output_cannot_be_edited_and_its_words_stay_its_owners(
    world: TwoTenants, name: str
) -> None:
    for tenant in (world.other, world.stranger):
        upload = world.upload(tenant, world.one.sounds[name])
        edit = {"kind": "vary", "upload": upload, "audio_rights": "own"}
        answer = world.ask(tenant, "POST", "/v1/edits", json=edit)
        assert answer.status_code == 403, answer.text
        assert f"upload {upload} is an output of this system" in answer.json()["detail"]
    own = world.upload(world.one, world.one.sounds[name])
    made = world.job(world.one, "/v1/edits", kind="vary", upload=own, audio_rights="own")
    assert made["state"] == "succeeded", made["problem"]
    assert world.one.words["prompt"] in made["enriched_prompt"]


def test_what_went_into_anothers_output_is_refused_without_a_name(world: TwoTenants) -> None:
    upload = world.upload(world.other, world.one.sounds["with"])
    asked = {"prompt": "piano", "audio": upload, "audio_rights": "own", **SHORT}
    for url in ("/v1/plans", "/v1/generations"):
        answer = world.ask(world.other, "POST", url, json=asked)
        assert answer.status_code == 403
        told = "it is an output of this system, made from a source of another library"
        assert answer.json()["reasons"] == [f"{told}: it may not be used"]


def without_mark(sound: bytes) -> bytes:
    """The sound with noise over it, as WAV: the mark is gone, the piece is still the piece."""
    samples, rate = soundfile.read(io.BytesIO(sound), always_2d=True)
    noise = np.random.default_rng(3).standard_normal(samples.shape)
    loud = samples + 0.15 * np.sqrt(np.mean(samples**2)) * noise
    out = io.BytesIO()
    soundfile.write(out, loud / np.abs(loud).max(), rate, format="WAV")
    return out.getvalue()


def test_anothers_output_is_recognised_when_its_mark_is_gone(world: TwoTenants) -> None:
    asked = {"prompt": "warm", "k": 1, "seed": 12, **SHORT, "duration_s": 8.0}
    made = world.job(world.one, "/v1/generations", **asked)
    whole = world.ask(world.one, "GET", made["outputs"][0]["content"]).content
    upload = world.upload(world.other, without_mark(whole))
    traced = world.ask(world.other, "POST", f"/v1/trace?upload={upload}").json()
    assert (traced["found"], traced["by"]) == (True, "fingerprint")
    edit = {"kind": "vary", "upload": upload, "audio_rights": "own"}
    assert world.ask(world.other, "POST", "/v1/edits", json=edit).status_code == 403
    asked = {"prompt": "piano", "audio": upload, "audio_rights": "own", **SHORT}
    answer = world.ask(world.other, "POST", "/v1/plans", json=asked)
    assert answer.status_code == 403, answer.text


def test_what_an_output_was_held_against_tells_nothing_of_other_libraries(
    world: TwoTenants,
) -> None:
    for output in world.other.outputs:
        checks = world.ask(world.other, "GET", f"/v1/outputs/{output}").json()["record"]["checks"]
        assert checks.get("control") is None
        assert all(one["used"] for one in checks["compared"])


def test_metrics_tell_no_measurement_of_one_output(world: TwoTenants) -> None:
    def sums() -> dict[str, float]:
        text = world.ask(world.other, "GET", "/metrics").text
        rows = (line.split(" ") for line in text.splitlines() if "_sum" in line)
        return {name: float(value) for name, value in rows if name.startswith("rag_audio_output_")}

    before = sums()
    made = world.job(world.one, "/v1/generations", prompt="flute", seed=77, **SHORT)
    quality = made["outputs"][0]["quality"]
    after = sums()
    for name in ("centroid_hz", "flatness"):
        told = after[f"rag_audio_output_{name}_sum"] - before[f"rag_audio_output_{name}_sum"]
        assert told != pytest.approx(quality[name], rel=1e-6)


def test_a_copy_of_anothers_stem_is_refused_without_its_name_and_limit(world: TwoTenants) -> None:
    asked = {"prompt": "x", "seed": world.copy_seed(world.one), "k": 0, "duration_s": 3, "steps": 2}
    theirs = world.job(world.other, "/v1/generations", **asked)["problem"]
    assert theirs["message"] == "the output is too near to a source of another library"
    own = world.job(world.one, "/v1/generations", **asked)["problem"]
    assert f"{world.one.words['path']}/a.wav" in own["message"] and "0.61" in own["message"]


def test_a_missing_file_of_anothers_library_is_told_in_the_log_alone(
    world: TwoTenants, caplog: pytest.LogCaptureFixture
) -> None:
    file = next((world.base / world.one.words["library"]).rglob("a.wav"))
    asked = {"prompt": "x", "seed": world.copy_seed(world.one), "k": 0, "duration_s": 3, "steps": 2}
    away = file.rename(file.with_suffix(".away"))
    try:
        theirs = world.job(world.other, "/v1/generations", **asked)
    finally:
        away.rename(file)
    assert theirs["problem"]["message"] == "the output cannot be checked now"
    assert "library" not in theirs["problem"]["hint"]
    (said,) = [one.getMessage() for one in caplog.records if one.name == "rag_audio.stem_player"]
    assert said.endswith(f"cannot be read: {file}")


def test_a_trace_names_ones_own_sources_in_anothers_output(world: TwoTenants) -> None:
    sound = world.one.sounds["with changed"]
    theirs = world.ask(world.other, "POST", "/v1/trace", content=sound).json()
    assert (theirs["found"], theirs["by"], theirs["sources"]) == (True, "watermark", [])
    assert theirs["hidden_sources"] == 1 and theirs["contact"] == "rights@example.org"
    free = world.ask(world.stranger, "POST", "/v1/trace", content=sound).json()
    own = world.ask(world.one, "POST", "/v1/trace", content=sound).json()
    assert free["sources"] == own["sources"] and free["hidden_sources"] == 0
    assert (free["output"], free["proof"], free["created"]) == (None, None, None)
    assert own["output"] in world.one.outputs and own["proof"]


def test_a_file_of_the_library_is_named_by_its_place_in_there(world: TwoTenants) -> None:
    tenant = world.one
    folder = world.base / tenant.words["library"] / tenant.words["path"]
    shown = f"{tenant.words['path']}/a.wav"
    asked = {"prompt": "warm", "references": [tenant.stems["a.wav"]], **SHORT, "strength": 0.5}
    with changed(folder / "a.wav", b"more"):
        made = world.job(tenant, "/v1/generations", **asked)
        assert made["problem"]["message"] == f"{shown} changed since it was indexed"
        heard = world.ask(tenant, "GET", f"/v1/stems/{tenant.stems['a.wav']}/preview")
    assert heard.status_code in (200, 422)  # it may have been made before
    upload = world.upload(tenant, world.score(seed=77))
    with changed(folder / "c.mid", None):
        made = world.ask(tenant, "POST", "/v1/plans", json={"prompt": "x", "midi": upload, **SHORT})
    notes = " ".join(made.json()["plan"]["notes"])
    assert f"was not compared with {tenant.words['path']}/c.mid: c.mid is not a MIDI file" in notes
    assert not any(path in notes for path in world.server_paths)


def test_the_same_bytes_in_two_libraries_are_to_each_its_own(
    world: TwoTenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = world.workspace.home.index
    for name in ("search_dense", "search_sparse"):  # nothing in common with the words
        monkeypatch.setattr(index, name, lambda *_: [])
    for tenant in (world.one, world.other):
        asked = {"prompt": "x", "references": [tenant.stems["both.wav"]], **SHORT}
        answer = world.ask(tenant, "POST", "/v1/plans", json=asked)
        assert answer.status_code == 200, answer.text
        (reference,) = answer.json()["plan"]["references"]
        assert tenant.words["title"] in json.dumps(reference)


@contextmanager
def changed(file: Path, more: bytes | None) -> Iterator[None]:
    """A file with something behind its end, or (None) with something else in it."""
    whole = file.read_bytes()
    file.write_bytes(b"nothing" if more is None else whole + more)
    try:
        yield
    finally:
        file.write_bytes(whole)


def told_by(answer: Any) -> str:
    """All that an answer says: its headers and its body."""
    headers = [pair for pair in answer.headers.items() if pair[0] != "content-length"]
    return f"{headers} {answer.content.decode('utf-8', 'replace')}"


def secrets_of(their: Tenant, own: Tenant) -> list[str]:
    """Words that nobody else may read: of what is made by anybody, of the library by the bound."""
    if own.libraries is None:
        return [their.words["prompt"]]
    return list(their.words.values())


def test_a_changed_row_of_a_job_shows_nobody_elses_record(world: TwoTenants) -> None:
    """Whose an output is is held against the log; what a job's row says is not enough."""
    job = next(iter(world.one.jobs.values()))
    theirs = world.other.outputs[0]
    database = world.workspace.home.database
    mine = jobs.c.id == job["id"]
    with writing(database) as db:
        before = db.execute(select(jobs.c.result).where(mine)).scalar_one()
        result = json.loads(before)
        result["outputs"][0]["output"] = theirs
        db.execute(update(jobs).where(mine).values(result=json.dumps(result)))
    try:
        address = f"/v1/generations/{job['id']}/record"
        assert world.ask(world.one, "GET", address).status_code == 404
        found = [fault.what for fault in world.workspace.home.ledger.verify()]
        assert any(f"job {job['id']}" in what for what in found)
    finally:
        with writing(database) as db:
            db.execute(update(jobs).where(mine).values(result=before))
    assert world.ask(world.one, "GET", address).status_code == 200
    assert world.workspace.home.ledger.verify() == []


def test_a_changed_idempotency_key_answers_with_nobody_elses_job(world: TwoTenants) -> None:
    theirs = next(iter(world.other.jobs.values()))["id"]
    asked = {"json": {"prompt": "again", **SHORT}, "headers": {"Idempotency-Key": "moved-1"}}
    first = world.ask(world.one, "POST", "/v1/generations", **asked)
    assert first.status_code in (200, 202)
    with writing(world.workspace.home.database) as db:
        moved = update(idempotency).where(idempotency.c.key == "moved-1")
        db.execute(moved.values(job=theirs))
    again = world.ask(world.one, "POST", "/v1/generations", **asked)
    assert again.status_code == 404 and theirs not in again.text
