"""``watermark``: embed or read a mark by hand, hear whether it can be heard, change its key."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from rag_audio.audio import writing
from rag_audio.audio.channels import Block
from rag_audio.audio.headers import SoundHeader, format_of, rate_for, read_header, require_room
from rag_audio.audio.pictures import line_png
from rag_audio.audio.reading import SoundStream, load
from rag_audio.audio.writing import Excess, is_clipped_by
from rag_audio.cli.options import Home, Json
from rag_audio.cli.output import busy, err, tell
from rag_audio.domain import Audio, limits
from rag_audio.domain.ports import Detection, Mark
from rag_audio.errors import InvalidInput, OutputRefused
from rag_audio.home import Home as OpenedHome
from rag_audio.home import open_home

watermark = typer.Typer(no_args_is_help=True, help="Embed or read a mark by hand.")

_PIECE_S = 60.0


@watermark.command()
def embed(
    source: Annotated[Path, typer.Argument(help="Audio to mark.")],
    target: Annotated[Path, typer.Argument(help="Where the marked audio goes.")],
    payload: Annotated[int, typer.Option(min=0, max=limits.OUTPUT.high, help="Number to carry.")],
    subtype: Annotated[
        str | None, typer.Option(help="16, 24 or 32f; opus in an .ogg file. Default: the file's.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Mark a file with a number; such marks never point into the ledger.

    Sample rate, channels, encoding and texts (title, artist …) stay those of the file, where the
    kind of file that is written has them; whatever is changed or left out is said.
    """
    from rag_audio.watermark.quality import noise_to_mask_db, snr_db

    writing.check_writable(target, subtype)
    if target.exists() and source.exists() and target.samefile(source):
        raise InvalidInput(f"{source} would be written over its own sound", hint="name another")
    sound, header = load(source), read_header(source)
    encoding = header.subtype_in(target) if subtype is None else subtype
    require_room(target, encoding, sound.channels, sound.sample_rate)
    sound, excess = writing.fit(sound, target, encoding)
    with open_home(home) as opened, busy("marking"):
        marked = _marked(opened, source, sound, payload)
        _write(opened, marked, payload, target, encoding, header)
    below_db, mask_db = snr_db(sound, marked), noise_to_mask_db(sound, marked)
    written_hz = rate_for(format_of(target, encoding)[1], sound.sample_rate)
    notes = _changes(header, source, target, encoding, excess)
    if written_hz != sound.sample_rate:
        notes.append(f"{source.name} is at {sound.sample_rate} Hz, {target.name} at {written_hz}")
    for note in notes:
        err.print(f"note: {note}")
    document = {
        "payload": payload,
        "snr_db": below_db,
        "noise_to_mask_db": mask_db,
        "file": str(target),
        "sample_rate": written_hz,
        "channels": sound.channels,
        "subtype": format_of(target, encoding)[1],
        "gain_db": -excess.peak_db,
        "notes": notes,
    }
    tell(
        document,
        as_json,
        f"{target}: {payload}, {below_db:.1f} dB below the music, "
        f"{-mask_db:.1f} dB below what it masks",
    )


@watermark.command()
def detect(
    file: Annotated[Path, typer.Argument(help="Any audio file, of any length.")],
    plot: Annotated[Path | None, typer.Option(help="PNG of the confidence over time.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Read the mark of a file, if it has one, also where tempo or pitch were changed."""
    with open_home(home) as opened, busy("listening"):
        found = opened.watermarker.detect_pieces(_pieces(file))
    if plot is not None:
        title = "no mark" if found.mark is None else f"mark {found.mark.payload}"
        line_png(found.over_time, plot, ("time [s]", "confidence"), f"{file.name}: {title}")
    lines = [f"{file}: no mark of ours"]
    if found.mark is not None:
        lines = [f"{file}: {found.mark.payload}, {_origin(found.mark)}"]
        if (found.tempo, found.semitones) != (1.0, 0.0):
            changed = f"tempo × {found.tempo:g}, pitch {found.semitones:+g} semitones"
            lines.append(f"  found at {changed}")
        lines += [f"  also {other.payload}, {_origin(other)}" for other in found.others]
    tell(_document(found), as_json, *lines)


@watermark.command()
def abx(
    source: Annotated[Path, typer.Argument(help="Audio to mark for the comparison.")],
    folder: Annotated[Path, typer.Argument(help="New folder for the kit.")],
    trials: Annotated[int, typer.Option(min=1, max=100, help="How many comparisons.")] = 12,
    seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Length of each excerpt.")] = 8.0,
    seed: Annotated[int, typer.Option(help="Of excerpts and answers.")] = 0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write what listeners need to find out whether they hear the mark."""
    from rag_audio.watermark.quality import write_kit

    sound, excess = writing.fit(load(source), "a.wav", None)
    if excess:
        err.print(f"note: lowered by {excess.peak_db:.2f} dB, so that nothing clips")
    with open_home(home) as opened, busy("marking"):
        marked = _marked(opened, source, sound, 0)
    needed = write_kit(sound, marked, folder, trials=trials, seconds=seconds, seed=seed)
    tell(
        {"folder": str(folder), "trials": trials, "needed": needed},
        as_json,
        f"{folder}: {trials} comparisons, {needed} right ones say it is heard",
    )


@watermark.command()
def rotate(home: Home = None, as_json: Json = False) -> None:
    """Make new marks with a new key; those made with the old one are still read."""
    from rag_audio.provenance.credentials.watermark_keys import rotate_watermark

    with open_home(home) as opened:
        key = opened.folder / "keys" / "watermark.key"
        kept = rotate_watermark(opened.database, key.parent)
    tell(
        {"key": str(key), "retired": str(kept)},
        as_json,
        f"{key} is new; the one before is kept in {kept}",
    )


def _changes(
    header: SoundHeader, source: Path, target: Path, encoding: str, excess: Excess
) -> list[str]:
    """What the marked file has not as the source has it, a line each."""
    notes = []
    written = format_of(target, encoding)[1]
    if excess:
        notes.append(
            f"lowered by {excess.peak_db:.2f} dB, so that {written} does not clip the {excess}; "
            "a .wav with --subtype 32f keeps the level"
        )
    if written != header.subtype:
        notes.append(f"{source.name} is {header.subtype}, {target.name} is {written}")
    lost = header.lost_in(target)
    if lost:
        notes.append(f"not carried over from {source.name}: {', '.join(lost)}")
    return notes


def _write(
    opened: OpenedHome,
    marked: Audio,
    payload: int,
    target: Path,
    encoding: str,
    header: SoundHeader,
) -> None:
    """Write a marked sound, and see that an encoding that loses something keeps the mark.

    Raises:
        OutputRefused: it does not; nothing is left.
    """
    draft = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        writing.save(marked, draft, subtype=encoding, tags=header.tags_in(target))
        if not is_clipped_by(target, encoding) and format_of(target, encoding)[1] != "FLOAT":
            found = opened.watermarker.detect_pieces(_pieces(draft))
            marks = (found.mark, *found.others)
            if Mark(payload, by_hand=True) not in marks:
                kind = format_of(target, encoding)[1]
                raise OutputRefused(
                    f"{target.name} would not hold the mark: it is not found in {marked.channels} "
                    f"channels of {kind} at {marked.sample_rate} Hz",
                    hint="write a .flac or .wav file",
                )
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _marked(opened: OpenedHome, source: Path, sound: Audio, payload: int) -> Audio:
    marked = opened.watermarker.embed(sound, Mark(payload, by_hand=True))
    if marked is None:
        raise OutputRefused(f"{source} has too little sound to carry a mark")
    return marked


def _pieces(file: Path) -> Iterator[Audio]:
    """A file minute by minute, read once from front to back."""
    with SoundStream(file) as stream:
        size, held = round(_PIECE_S * stream.rate), 0
        blocks: list[Block] = []
        for block in stream.blocks():
            blocks.append(block)
            held += block.shape[1]
            while held >= size:
                joined = np.concatenate(blocks, axis=1)
                yield Audio(joined[:, :size], stream.rate)
                blocks, held = [joined[:, size:]], held - size
        stream.require_whole()
        if held:
            yield Audio(np.concatenate(blocks, axis=1), stream.rate)


def _origin(mark: Mark) -> str:
    return "embedded by hand" if mark.by_hand else "an output of this system"


def _document(found: Detection) -> dict[str, object]:
    mark = found.mark
    return {
        "found": mark is not None,
        "payload": None if mark is None else mark.payload,
        "by_hand": None if mark is None else mark.by_hand,
        "confidence": found.confidence,
        "tempo": found.tempo,
        "semitones": found.semitones,
        "offset_s": found.offset_s,
        "others": [{"payload": one.payload, "by_hand": one.by_hand} for one in found.others],
        "confidence_over_time": [
            {"time_s": time_s, "confidence": confidence} for time_s, confidence in found.over_time
        ],
    }
