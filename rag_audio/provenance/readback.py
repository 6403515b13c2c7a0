"""What a record is when it is read back, without reading all of it.

The sources are most of a record, and they are made of frozen nouns. One whose fields have exactly
the types that they declare comes back equal, so that reading it would only copy it; this is seen
from the types alone. Any other is read in earnest, so that nothing enters the log that could not be
read from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from rag_audio.domain import AttributionRecord, Channel, Key, SourceUse, Stem, StemKind, Use
from rag_audio.licensing import License, Splits
from rag_audio.provenance.records import record_from_json

_NO_SPLITS = Splits()
_TEXT, _REAL, _MAYBE_REAL = {str}, {float}, {float, type(None)}


def as_read(record: AttributionRecord, document: Mapping[str, Any]) -> AttributionRecord:
    """The same as ``record_from_json(document)``.

    Args:
        document: what :func:`rag_audio.provenance.records.record_to_json` made of the record.

    Raises:
        LedgerError: it cannot be read back.
    """
    known = all(map(_comes_back_equal, record.sources))
    return record_from_json(document, tuple(record.sources) if known else None)


def _comes_back_equal(source: SourceUse) -> bool:
    reference, influence = source.reference, source.influence
    required = (
        reference.segment.start_s, reference.segment.duration_s, reference.score,
        *influence.used.values(),
    )  # fmt: skip
    return (
        set(map(type, required)) == _REAL
        and {type(influence.causal), type(influence.similar)} <= _MAYBE_REAL
        and all(type(channel) is Channel for channel in influence.used)
        and type(reference.rank) is int
        and not source.played
        and not source.also
        and _is_plain_stem(reference.stem)
        and _is_plain_license(source.license)
    )


def _is_plain_stem(stem: Stem) -> bool:
    texts = (
        stem.id, stem.library, stem.path, stem.license, stem.artist, stem.title, stem.isrc,
        stem.iswc, *stem.tags, *stem.instruments,
    )  # fmt: skip
    required = (stem.duration_s, stem.bpm_confidence, stem.key_confidence)
    return (
        set(map(type, texts)) == _TEXT
        and set(map(type, required)) == _REAL
        and {type(stem.bpm), type(stem.downbeat_s), type(stem.loudness_lufs)} <= _MAYBE_REAL
        and type(stem.tags) is tuple is type(stem.instruments)
        and type(stem.kind) is StemKind
        and type(stem.artist_declared) is bool
        and (stem.key is None or type(stem.key) is Key)
        and (stem.time_signature is None or tuple(map(type, stem.time_signature)) == (int, int))
    )


def _is_plain_license(license: License) -> bool:
    """Date-times come back with a fixed offset in place of their zone, so they are read."""
    texts = (
        license.id, license.library, license.holder, license.spdx, license.credit,
        license.timezone, license.ipi, *license.territories, *license.excluded,
    )  # fmt: skip
    ends = (license.valid_from, license.valid_until)
    return (
        set(map(type, texts)) == _TEXT
        and type(license.max_similarity) is float
        and all(end is None or type(end) is date for end in ends)
        and all(type(use) is Use for use in license.uses)
        and license.splits == _NO_SPLITS
    )
