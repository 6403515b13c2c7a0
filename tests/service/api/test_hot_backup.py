"""A backup while the service makes outputs: each archive comes back whole."""

from __future__ import annotations

from pathlib import Path

from rag_audio.pipeline import backup
from rag_audio.pipeline.workspace import open_workspace
from tests.service.api.conftest import FAST, Serve


def test_backups_while_the_service_makes_outputs(serve: Serve, tmp_path: Path) -> None:
    client, workspace = (served := serve()).client, served.service.workspace
    asked = [
        client.post("/v1/generations", json={**FAST, "seed": seed}).json()["id"]
        for seed in range(3)
    ]
    archives = []
    for id_ in asked:
        archives.append(tmp_path / f"{len(archives)}.tar")
        backup.create(workspace.home.folder, archives[-1])
        headers = {"Prefer": "wait=60"}
        assert client.get(f"/v1/generations/{id_}", headers=headers).status_code == 200
    for archive in (archives[0], archives[-1]):
        backup.restore(archive, tmp_path / archive.stem)
        with open_workspace(tmp_path / archive.stem) as again:
            assert again.home.ledger.verify() == []
            for entry in again.home.ledger.outputs():
                assert again.home.master(entry.record.output) is not None
            assert {point.id for point in again.home.index.scroll()} == {
                point.id for point in workspace.home.index.scroll()
            }
