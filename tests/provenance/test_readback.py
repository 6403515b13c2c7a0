from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rag_audio.domain import Channel, Influence, Key, Played, SourceUse
from rag_audio.errors import LedgerError
from rag_audio.licensing import Share, Splits
from rag_audio.provenance.readback import as_read
from rag_audio.provenance.records import record_from_json, record_to_json
from tests.provenance.builders import record, source


def with_stem(**more: Any) -> SourceUse:
    plain = source("a")
    segment = plain.reference.segment
    changed = replace(segment, stem=replace(segment.stem, **more))
    return replace(plain, reference=replace(plain.reference, segment=changed))


def with_license(**more: Any) -> SourceUse:
    plain = source("a")
    return replace(plain, license=replace(plain.license, **more))


def spelled(value: Any) -> str:
    """As ``repr``, which tells 92 from 92.0, with sets in order."""
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(spelled(one) for one in value))}}}"
    if is_dataclass(value):
        return repr([spelled(getattr(value, one.name)) for one in fields(value)])
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}{[spelled(one) for one in value]}"
    if isinstance(value, Mapping):
        return repr(sorted((spelled(name), spelled(one)) for name, one in value.items()))
    return repr(value)


BERLIN = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
SOURCES = {
    "plain": source("a"),
    "key": with_stem(key=Key(3, True), bpm=92.5, tags=("keys", "warm")),
    "whole tempo": with_stem(bpm=92),
    "no number": with_stem(loudness_lufs=float("-inf")),
    "list of tags": with_stem(tags=["keys"]),
    "day": with_license(valid_until=date(2030, 12, 31)),
    "zone": with_license(valid_from=BERLIN),
    "splits": with_license(splits=Splits(master=(Share("A", 0.5), Share("B", 0.5)))),
    "whole limit": with_license(max_similarity=1),
    "played": replace(source("a"), played=(Played("drums", 0.0, 4.0, 0.5),)),
    "causal": replace(source("a"), influence=Influence({Channel.INIT: 0.2}, 1e20, None)),
    "unused": replace(source("a"), influence=Influence({})),
}


@pytest.mark.parametrize("one", SOURCES.values(), ids=SOURCES)
def test_a_record_is_known_as_it_will_be_read(one: SourceUse) -> None:
    local = datetime(2026, 11, 22, 1, tzinfo=timezone(timedelta(hours=2)))
    made = record(2**40, one, source("b"), created=local, request={"a": (1, 2.0)})
    document = record_to_json(made)
    known, read = as_read(made, document), record_from_json(document)
    assert known == read
    assert [spelled(s) for s in known.sources] == [spelled(s) for s in read.sources]
    assert known.created.tzinfo is UTC


@pytest.mark.parametrize(
    "one",
    [with_stem(title=5), with_stem(artist_declared=1),
     with_license(credit=None), with_license(territories=frozenset({3}))],
)  # fmt: skip
def test_what_could_not_be_read_again_is_refused(one: SourceUse) -> None:
    made = record(1, one)
    document = record_to_json(made)
    with pytest.raises(LedgerError):
        as_read(made, document)
