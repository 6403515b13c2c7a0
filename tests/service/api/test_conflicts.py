"""Two tenants have the same recording: what each key is told of it, and what it may do."""

from __future__ import annotations

import json
from dataclasses import replace

from rag_audio.domain import License, Stem, Use
from rag_audio.domain.stems import FileState
from tests.service.api.conftest import FAST, Serve, Served

SECRETS = ("Other Holder", "narrow", '"other"', "other/", "several licenses")


def _claimed_by_another(app: Served) -> Stem:
    """A stem of the library, which another library now has under a license for words only."""
    catalogue = app.service.workspace.home.catalogue
    stem = next(one for one in catalogue.stems() if one.license == "full")
    narrow = License("narrow", "other", "Other Holder", "CC0-1.0", frozenset({Use.PROMPT}))
    copy = replace(stem, library="other", path="hidden/loop.wav", license="narrow")
    catalogue.put_library("other", "Other", "/nowhere")
    catalogue.put_licenses("other", [narrow])
    catalogue.put_files("other", [FileState(copy.path, 1, 1, "d", "s", copy)])
    return stem


def test_a_bound_key_is_neither_held_nor_told_by_another_library_s_claim(serve: Serve) -> None:
    app = serve()
    scopes = ("generate", "search", "trace")
    stem = _claimed_by_another(app)
    bound, free = app.key(*scopes, libraries=[stem.library]), app.key(*scopes)
    shown = {}
    for name, headers in (("bound", bound), ("free", free)):
        shown[name] = app.client.get(f"/v1/stems/{stem.id}", headers=headers).json()
    assert "init_audio" in shown["bound"]["granted"]
    assert "conflict" not in shown["bound"]
    assert shown["free"]["granted"] == ["prompt"]
    holders = {one["holder"] for one in shown["free"]["conflict"]["claims"]}
    assert holders == {"Invented Holder", "Other Holder"}
    told = app.client.get("/v1/libraries", headers=bound)
    assert told.json()["conflicts"] == []
    assert len(app.client.get("/v1/libraries", headers=free).json()["conflicts"]) == 1
    asked = {**FAST, "references": [stem.id]}
    own = app.generation(bound, **asked)
    both = app.generation(free, **asked)
    assert own["references"][0]["used"]["init"] > 0
    source = both["references"][0]
    assert source["used"]["init"] == 0
    assert {source["holder"], *(one["holder"] for one in source["also"])} == holders
    number = both["outputs"][0]["output"]
    assert app.client.get(f"/v1/outputs/{number}", headers=bound).status_code == 404
    sound = app.client.get(both["outputs"][0]["content"], headers=free).content
    traced = app.client.post("/v1/trace", content=sound, headers=bound)
    assert [one["holder"] for one in traced.json()["sources"]] == ["Invented Holder"]
    for answer in (told.text, traced.text, json.dumps(own), json.dumps(shown["bound"])):
        assert not [word for word in SECRETS if word in answer]
