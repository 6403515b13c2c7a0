"""Every route without a key, with a wrong, an expired and a lesser one; sessions; logs."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.service.api.conftest import FAST, Serve, Served

OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}
OWN_QUESTION = {("POST", "/v1/session"), ("DELETE", "/v1/session")}
SCOPE = {
    "/v1/generations": "generate", "/v1/edits": "generate", "/v1/plans": "generate",
    "/v1/guard": "generate", "/v1/webhooks": "generate",
    "/v1/search": "search", "/v1/stems": "search",
    "/v1/artists": "search", "/v1/libraries": "search", "/v1/map": "search",
    "/v1/outputs": "trace", "/v1/ledger": "trace", "/v1/revocations": "admin",
    "/v1/indexing": "admin",
}  # fmt: skip
ANY_SCOPE = {"/v1/uploads", f"/v1/uploads/{'0' * 32}", "/v1/trace", "/v1/status", "/v1/session"}


@pytest.fixture(scope="module")
def keyed(serve: Serve) -> Served:
    app = serve()
    app.key("admin")
    return app


def routes(app: Served) -> list[tuple[str, str]]:
    """Method and path of every route, with ids that exist nowhere."""
    found = []
    for path, methods in app.client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            filled = path.replace("{id}", "0" * (64 if "/stems/" in path else 32))
            found.append((method.upper(), filled.replace("{output}", "1").replace("{seq}", "1")))
    return sorted(found)


def scope_of(path: str) -> str | None:
    return next((scope for start, scope in SCOPE.items() if path.startswith(start)), None)


def test_every_route_is_accounted_for(keyed: Served) -> None:
    for method, path in routes(keyed):
        known = scope_of(path) is not None or path in ANY_SCOPE or (method, path) in OPEN
        assert known, f"{method} {path}: say here which scope it needs"


def test_without_a_valid_key_nothing_answers(keyed: Served) -> None:
    _, revoked = keyed.service.access.make("gone", list(keyed.service.access.keys()[0].scopes))
    keyed.service.access.revoke(revoked.split("_")[1])
    expired = keyed.key("admin", expires_in_s=0.001)["Authorization"].removeprefix("Bearer ")
    time.sleep(0.05)
    wrong = [
        {},
        {"Authorization": "Bearer ra_000000000000_" + "x" * 43},
        {"Authorization": f"Bearer {revoked}"},
        {"Authorization": f"Bearer {expired}"},
        {"Authorization": f"Basic {revoked}"},
        {"X-API-Key": "' OR 1=1 --"},
        {"Cookie": "rag_audio_session=nothing"},
        {"Cookie": f"rag_audio_session={revoked}"},
    ]
    for method, path in routes(keyed):
        for headers in wrong:
            answer = keyed.client.request(method, path, headers=headers, json={})
            if (method, path) in OPEN:
                assert answer.status_code == 200, path
            elif (method, path) in OWN_QUESTION:
                assert answer.status_code in (204, 401, 422)
            else:
                assert answer.status_code == 401, (method, path, headers, answer.text)
                assert answer.headers["www-authenticate"] == "Bearer"
    for page in ("/", "/healthz", "/metrics", "/openapi.json"):
        assert keyed.client.get(page).status_code == 200


def test_a_lesser_key_opens_only_what_its_scope_says(keyed: Served) -> None:
    for scope in ("generate", "search", "trace"):
        headers = keyed.key(scope)
        for method, path in routes(keyed):
            wanted = scope_of(path)
            if wanted is None:
                continue
            answer = keyed.client.request(method, path, headers=headers, json={})
            if wanted == scope:
                assert answer.status_code not in (401,), (method, path)
                assert "/problems/forbidden" not in answer.text
            else:
                assert answer.status_code == 403, (scope, method, path)
                assert answer.json()["type"] == "/problems/forbidden"


def test_a_trace_without_scope_says_only_whether_and_whom_to_ask(serve: Serve) -> None:
    app = serve(workspace={"contact": "rights@example.org"})
    made = app.generation()
    sound = app.client.get(made["outputs"][0]["content"]).content
    lesser = app.key("search")
    answer = app.client.post("/v1/trace?report=html", content=sound, headers=lesser).json()
    assert set(answer) == {"made_with_ai_by_this_system", "checked", "statement", "contact"}
    assert answer["made_with_ai_by_this_system"] is True
    assert answer["contact"] == "rights@example.org"
    whole = app.client.post("/v1/trace", content=sound, headers=app.key("admin")).json()
    assert whole["output"] == made["outputs"][0]["output"] and whole["sources"]
    assert whole["contact"] is None
    other = app.client.post("/v1/trace", content=sound, headers=app.key("trace")).json()
    assert other["found"] and other["sources"] == whole["sources"]
    assert [other[name] for name in ("output", "created", "proof")] == [None, None, None]
    assert other["contact"] == "rights@example.org"
    report = app.client.post("/v1/trace?report=html", content=sound, headers=app.key("trace"))
    assert "an output of this system" in report.text
    assert "<script" not in report.text
    assert "sandbox" in report.headers["content-security-policy"]


def test_the_page_signs_in_with_a_cookie_that_scripts_and_sites_cannot_use(keyed: Served) -> None:
    key = keyed.key("generate")["Authorization"].removeprefix("Bearer ")
    assert keyed.client.post("/v1/session", json={"key": key + "x"}).status_code == 401
    answer = keyed.client.post("/v1/session", json={"key": key})
    assert answer.status_code == 201
    said = answer.headers["set-cookie"].lower()
    assert "httponly" in said and "samesite=strict" in said and "path=/" in said
    cookie = {"Cookie": f"rag_audio_session={answer.cookies['rag_audio_session']}"}
    keyed.client.cookies.clear()
    assert keyed.client.get("/v1/generations", headers=cookie).status_code == 200
    assert key not in cookie["Cookie"]
    foreign = {**cookie, "Origin": "https://evil.example"}
    assert keyed.client.post("/v1/generations", json=FAST, headers=foreign).status_code == 403
    assert keyed.client.delete("/v1/session", headers=cookie).status_code == 204
    keyed.client.cookies.clear()
    assert keyed.client.get("/v1/generations", headers=cookie).status_code == 401


def test_a_revoked_key_ends_its_sessions(keyed: Served) -> None:
    key = keyed.key("generate")["Authorization"].removeprefix("Bearer ")
    cookies = keyed.client.post("/v1/session", json={"key": key}).cookies
    cookie = {"Cookie": f"rag_audio_session={cookies['rag_audio_session']}"}
    keyed.client.cookies.clear()
    assert keyed.client.get("/v1/session", headers=cookie).status_code == 200
    keyed.service.access.revoke(key.split("_")[1])
    assert keyed.client.get("/v1/session", headers=cookie).status_code == 401


def test_signing_in_cannot_be_tried_without_end(serve: Serve) -> None:
    app = serve(workers=0, failures_per_minute=10)
    codes = {app.client.post("/v1/session", json={"key": "ra_x"}).status_code for _ in range(40)}
    assert codes == {401, 429}


def test_only_hashes_of_keys_are_kept_and_nothing_secret_is_logged(
    serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    app = serve()
    headers = app.key("generate", "trace")
    key = headers["Authorization"].removeprefix("Bearer ")
    secret = key.split("_", 2)[2]
    asked = {**FAST, "prompt": "a melody for zanzibarella"}
    app.client.post("/v1/generations", json=asked, headers={**headers, "Prefer": "wait=60"})
    cookie = app.client.post("/v1/session", json={"key": key}).cookies["rag_audio_session"]
    home = app.service.workspace.home.folder
    audit = (home / "audit.log").read_text()
    logs = "".join(capfd.readouterr())
    for place in (audit, logs):
        for words in (secret, cookie, "zanzibarella"):
            assert words not in place
    lines = [json.loads(line) for line in audit.splitlines()]
    assert {"job accepted", "signed in"} <= {line["what"] for line in lines}
    assert stat.S_IMODE((home / "audit.log").stat().st_mode) == 0o600
    database = b"".join(file.read_bytes() for file in home.glob("ledger.db*"))
    assert secret.encode() not in database and cookie.encode() not in database


def test_others_are_not_served_without_keys(indexed_home: Path) -> None:
    command = [sys.executable, "-m", "rag_audio.cli", "serve", "--port", "0", "--host"]
    done = subprocess.run(
        [*command, "0.0.0.0", "--home", str(indexed_home)],  # noqa: S104
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "no API key is defined" in done.stderr
    assert "Traceback" not in done.stderr
