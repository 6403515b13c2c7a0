"""Which prompts may be asked (:mod:`.prompts`), and which outputs delivered (:mod:`.output`)."""

from rag_audio.guardrails.name_import import ImportedNames, load_imported
from rag_audio.guardrails.names import Artist
from rag_audio.guardrails.output import (
    Inspection,
    Nearness,
    SourceSegment,
    allowed_similarity,
    check_output,
    inspect_output,
    require_distance,
)
from rag_audio.guardrails.policy import (
    Action,
    Decision,
    Policy,
    Roster,
    counts,
    load_roster,
    log_to,
    make_policy,
    parse_actions,
    read_artists,
)
from rag_audio.guardrails.prompts import check, judge, require, require_artist

__all__ = [
    "Action", "Artist", "Decision", "ImportedNames", "Inspection", "Nearness", "Policy", "Roster",
    "SourceSegment", "allowed_similarity", "check", "check_output", "counts",
    "inspect_output", "judge",
    "load_imported", "load_roster", "log_to", "make_policy", "parse_actions", "read_artists",
    "require", "require_artist", "require_distance",
]  # fmt: skip
