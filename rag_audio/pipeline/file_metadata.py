"""What stands beside the sound of a delivered file: credits, tempo, key, beats and loop points, and
what an edited file had."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rag_audio.audio.carried_metadata import CREDENTIALS, WAVE_ENDINGS, CarriedMetadata
from rag_audio.audio.headers import KINDS, format_of, rate_for
from rag_audio.audio.metadata_reading import read_metadata
from rag_audio.audio.wave_chunks import MusicalForm, SoundChange, chunks_of
from rag_audio.domain import Audio, ConditioningPlan, unmet_promises
from rag_audio.domain.controls import Aim
from rag_audio.domain.credits import ARTIST, file_tags
from rag_audio.domain.music import COMMON
from rag_audio.generation.take_selection import unmet_line
from rag_audio.pipeline.edit_orders import EXTEND

_SAME_S = 0.005
FLOAT = "FLOAT"
_FLOATS = (FLOAT, "DOUBLE")
_WRITTEN_ANEW = frozenset({"acid", "smpl", "cue", "adtl"})


def edited_subtype(was: str, target: Path) -> str | None:
    """The encoding of an edit that nobody asked for one: floats stay floats where the kind of file
    has them; None: the usual one.

    Args:
        was: libsndfile's name of the encoding of the file that was edited.
    """
    return FLOAT if was in _FLOATS and FLOAT in KINDS[target.suffix.lower()].subtypes else None


def edited_metadata(
    beside: CarriedMetadata, plan: ConditioningPlan, audio: Audio, target: Path, subtype: str | None
) -> CarriedMetadata:
    """What an edited file had beside its sound, as it is true of the edit and fits its file.

    Args:
        beside: the sound of the file that was edited. audio: the edit, at the rate of that file.
        plan: of the edit. target, subtype: how it is written.
    """
    encoding = format_of(target, subtype)[1]
    rate, edit = audio.sample_rate, plan.edit
    added_s = ahead_s = 0.0
    if edit is not None and edit.kind == EXTEND:
        added_s = sum(end - start for start, end in edit.regions)
        ahead_s = next((end for start, end in edit.regions if start == 0.0), 0.0)
    to_hz = rate_for(encoding, rate)
    change = SoundChange(
        from_hz=rate,
        to_hz=to_hz,
        from_frames=audio.frames - round(added_s * rate),
        to_frames=round(audio.frames * to_hz / rate),
        ahead_s=ahead_s,
        is_new=True,
        channels=audio.channels,
        process="edited with AI",
        encoding=encoding,
    )
    made = _but_credentials(beside.into(target, change))
    if edit is not None and edit.parent is not None:
        # An output's own tempo, key and loop are written anew, as they are true of the edit.
        told = tuple(name for name in made.lost if name.split(" (")[0] not in _WRITTEN_ANEW)
        made = replace(made, lost=told)
    return made


def copied_metadata(file: Path, audio: Audio, target: Path) -> CarriedMetadata:
    """What a delivered file has beside its sound, fit for a copy in another format.

    Raises:
        UnreadableFile: the file cannot be read any more.
    """
    to_hz = rate_for(format_of(target)[1], audio.sample_rate)
    frames = round(audio.frames * to_hz / audio.sample_rate)
    change = SoundChange(audio.sample_rate, to_hz, audio.frames, frames, channels=audio.channels)
    return _but_credentials(read_metadata(file).into(target, change))


def _but_credentials(data: CarriedMetadata) -> CarriedMetadata:
    """A file's own manifest is not lost: it travels as an ingredient of the new one."""
    return replace(data, lost=tuple(name for name in data.lost if name != CREDENTIALS))


def output_metadata(
    output: int,
    plan: ConditioningPlan,
    checks: Mapping[str, Any],
    audio: Audio,
    target: Path,
    carried: CarriedMetadata | None = None,
) -> CarriedMetadata:
    """What is written beside the sound of an output.

    Tempo and key are those of the plan; one that was enforced and is not met is left out. Nothing
    quotes the prompt, which may be erased later.

    Args:
        checks: what was measured of it, as the ledger keeps it.
        carried: from the file that it was edited or copied from, fit for this one.
    """
    form = form_of(plan, checks, audio.duration_s)
    data = carried or CarriedMetadata()
    tags = file_tags(output, plan.licenses, map(unmet_line, unmet_promises(checks)))
    named: dict[str, str] = {"title": f"Output {output}"}
    if plan.edit is None or plan.edit.parent is not None:  # not somebody's own recording
        named["artist"] = ARTIST
    if form.bpm is not None:
        named["bpm"] = _number(form.bpm)
        named["title"] += f", {named['bpm']} bpm"
    if form.tonic is not None and plan.key is not None:
        named["key"] = str(plan.key).replace(" major", "").replace(" minor", "m")
        named["title"] += f", {plan.key}"
    # What an earlier output said of itself is not said of this one.
    is_own = carried is not None and (plan.edit is None or plan.edit.parent is not None)
    old = {*tags, *named} if is_own else set[str]()
    data = data.with_texts(target, tags, named, without=old)
    if target.suffix.lower() not in WAVE_ENDINGS:
        return data
    own = chunks_of(form, audio.frames, audio.sample_rate)
    kept = data.chunks
    if is_own:
        kept = tuple(one for one in kept if one[0] not in {name for name, _ in own})
    there = {name for name, _ in kept}
    if b"cue " in there:  # labels belong to the points beside them
        there.add(b"LIST")
    return replace(data, chunks=(*kept, *(one for one in own if one[0] not in there)))


def form_of(plan: ConditioningPlan, checks: Mapping[str, Any], duration_s: float) -> MusicalForm:
    """Tempo, key, metre and parts of a finished piece, and whether it is a loop."""
    unmet = {promise["aim"] for promise in unmet_promises(checks)}
    bpm = None if Aim.TEMPO.value in unmet else plan.bpm
    tonic = None if plan.key is None or Aim.KEY.value in unmet else plan.key.tonic
    starts = sorted({part.start_s for part in plan.seed_parts})
    sections: tuple[tuple[float, str], ...] = ()
    bar_s = 0.0 if bpm is None else plan.bar_s
    if len(starts) > 1:
        sections = tuple((at, _section(n, at, bar_s)) for n, at in enumerate(starts, 1))
    return MusicalForm(
        bpm=bpm,
        tonic=tonic,
        signature=plan.controls.time_signature or COMMON,
        is_loop=_is_loop(plan, bar_s, duration_s),
        sections=sections,
    )


def _is_loop(plan: ConditioningPlan, bar_s: float, duration_s: float) -> bool:
    """Whether it is whole bars from a bar line on, to within 5 ms."""
    if bar_s <= 0.0 or duration_s < bar_s - _SAME_S:
        return False
    line_s = 0.0 if plan.edit is None else plan.edit.bar_line_s
    return all(
        abs(seconds - round(seconds / bar_s) * bar_s) < _SAME_S for seconds in (duration_s, line_s)
    )


def _section(number: int, at_s: float, bar_s: float) -> str:
    if bar_s > 0.0:
        return f"bar {round(at_s / bar_s) + 1}"
    return f"part {number}"


def _number(bpm: float) -> str:
    """A tempo as tags have it: whole where it all but is."""
    return f"{round(bpm)}" if math.isclose(bpm, round(bpm), abs_tol=0.005) else f"{bpm:.2f}"
