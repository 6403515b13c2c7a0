"""The documents that versions of before wrote: read, and written again with the same bytes."""

from __future__ import annotations

import json
import lzma
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from rag_audio.domain import License, Stem
from rag_audio.domain.codec import decode, encode
from rag_audio.domain.credits import credit_lines
from rag_audio.domain.plan import plan_from_json, plan_to_json
from rag_audio.domain.ports import ModelInfo
from rag_audio.domain.signing import ClaimedOutput
from rag_audio.provenance.credentials.manifest import make_manifest
from rag_audio.provenance.ledger.commitments import unseal
from rag_audio.provenance.ledger.merkle import (
    consistency_path,
    frontier_of,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_at,
    verify_consistency,
    verify_inclusion,
)
from rag_audio.provenance.ledger.records import canonical, parse
from rag_audio.provenance.ledger.signed_notes import (
    LogCheckpoint,
    VerifierKey,
    open_note,
    read_checkpoint,
)

HERE = Path(__file__).parent
HOMES = sorted(one.name for one in HERE.iterdir() if (one / "facts.json").exists())
"""Every golden home; what was written is taken from its documents, where it has any."""

NO_WORDS: dict[str, Any] = {
    "prompt": "",
    "enriched_prompt": "",
    "spans": [],
    "negative_prompt": "",
    "notes": [],
}
"""Credentials quote no words, which may have been erased from a record."""


@dataclass(frozen=True)
class Written:
    """What a version wrote.

    Attributes:
        facts: what it told, with ``--json``. leaves: the documents of its ledger.
        documents: what :func:`tests.golden.make_home.documents` kept; empty: nothing.
    """

    facts: Mapping[str, Any]
    leaves: list[bytes]
    documents: Mapping[str, Any]

    @property
    def events(self) -> Iterator[dict[str, Any]]:
        return (parse(leaf) for leaf in self.leaves)


@lru_cache
def written(home: str) -> Written:
    folder = HERE / home
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    with tarfile.open(folder / "delivered.tar.xz") as archive:
        export = archive.extractfile("delivered/ledger.jsonl")
        assert export is not None
        lines = [json.loads(line) for line in export.read().splitlines()[1:]]
    leaves = [line["document"].encode() for line in lines]
    kept = folder / "documents.json.xz"
    documents = json.loads(lzma.decompress(kept.read_bytes())) if kept.exists() else {}
    return Written(facts, leaves, documents)


KEEPING = [home for home in HOMES if written(home).documents]
"""Homes whose documents were kept."""


@pytest.fixture(params=HOMES)
def of_then(request: pytest.FixtureRequest) -> Written:
    return written(str(request.param))


@pytest.fixture(params=KEEPING)
def kept(request: pytest.FixtureRequest) -> Written:
    return written(str(request.param))


def test_every_entry_of_the_ledger_is_spelled_with_the_same_bytes(of_then: Written) -> None:
    for leaf in of_then.leaves:
        assert canonical(parse(leaf)) == leaf


def test_saved_plans_are_read_and_written_with_the_same_bytes(kept: Written) -> None:
    assert len(kept.documents["plans"]) >= 9
    for name, text in kept.documents["plans"].items():
        document = json.loads(text)
        assert canonical(plan_to_json(plan_from_json(document))) == canonical(document), name


def licenses(of: Written) -> Iterator[dict[str, Any]]:
    for one in of.events:
        if one.get("kind", "output") == "library":
            yield from one["event"].get("licenses", {}).values()
        elif one.get("kind", "output") == "output":
            yield from one["plan"]["licenses"]
            for source in one["sources"]:
                yield source["license"]
                yield from (claim["license"] for claim in source.get("also", ()))


def test_every_license_is_read_and_written_with_the_same_bytes(of_then: Written) -> None:
    found = list(licenses(of_then))
    assert found
    splits = {kind for document in found for kind in document.get("splits", {})}
    assert "master" in splits
    for document in found:
        assert canonical(encode(decode(License, document))) == canonical(document)


def test_stems_are_read_and_written_with_the_same_bytes(kept: Written) -> None:
    for text in kept.documents["stems"]:
        assert canonical(encode(decode(Stem, json.loads(text)))) == text.encode()


def test_the_tree_over_the_entries_is_the_same(kept: Written) -> None:
    said = kept.documents
    hashes = [leaf_hash(leaf.encode()) for leaf in said["leaves"]]
    assert [one.hex() for one in hashes] == said["leaf_hashes"]
    assert frontier_of(hashes).pack().hex() == said["frontier"]
    assert [frontier_of(hashes[:size]).root().hex() for size in sizes(hashes)] == said["roots"]


def sizes(hashes: list[bytes]) -> range:
    return range(1, len(hashes) + 1)


def test_proofs_are_the_same_and_hold(kept: Written) -> None:
    said = kept.documents
    hashes = [leaf_hash(leaf.encode()) for leaf in said["leaves"]]
    roots = [bytes.fromhex(root) for root in said["roots"]]

    def node(level: int, place: int) -> bytes:
        if level == 0:
            return hashes[place]
        return node_hash(node(level - 1, 2 * place), node(level - 1, 2 * place + 1))

    count = len(hashes)
    for index, path in enumerate(said["inclusion"]):
        told = [bytes.fromhex(one) for one in path]
        assert inclusion_path(node, index, count) == told
        assert verify_inclusion(hashes[index], index, count, told, roots[-1])
        assert root_at(node, index + 1) == roots[index]
    for old, path in enumerate(said["consistency"], 1):
        told = [bytes.fromhex(one) for one in path]
        assert consistency_path(node, old, count) == told
        assert verify_consistency(old, count, told, roots[old - 1], roots[-1])


def test_a_signed_checkpoint_is_read_and_its_text_is_the_same(kept: Written) -> None:
    key = VerifierKey.parse(kept.documents["key"])
    assert str(key) == kept.documents["key"]
    note = kept.documents["checkpoint"]
    text = open_note(note, key)
    assert note.startswith(text)
    found = read_checkpoint(note, key)
    assert found.text == text and LogCheckpoint.parse(text) == found
    assert (found.size, found.root.hex()) == (
        len(kept.documents["leaves"]),
        kept.documents["roots"][-1],
    )


def test_the_manifest_of_every_output_is_the_same(kept: Written) -> None:
    for document in map(parse, map(str.encode, kept.documents["leaves"])):
        if document.get("kind", "output") != "output":
            continue
        record, _ = unseal(document, None)
        was = json.loads(kept.documents["manifests"][str(record.output)])
        plan = {**record.plan, **NO_WORDS}
        if "melody" in plan:
            plan["melody"] = {**plan["melody"], "notes": "0.100-0.390:67"}
        read = plan_from_json(plan)
        claim = ClaimedOutput(
            record.output,
            read,
            ModelInfo(record.model, record.model_id, "", 44100, 2, 0.0, 0, 0, 0.0, 0.0,
                      untrained=record.untrained),
            record.watermark.get("name"),
            read.duration_s,
            credit_lines(read.licenses),
        )  # fmt: skip
        made = make_manifest(claim, "audio/wav", "notAllowed")
        # The version of this program is named in it.
        made["claim_generator_info"] = was["claim_generator_info"]
        assert canonical(made) == canonical(was)
