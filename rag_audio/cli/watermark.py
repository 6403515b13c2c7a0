"""``watermark``: embed or read a mark by hand, hear whether it can be heard, change its key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag_audio.audio import writing
from rag_audio.audio.pictures import line_png
from rag_audio.audio.reading import load
from rag_audio.cli.options import Home, Json
from rag_audio.cli.output import busy, err, tell
from rag_audio.domain import Audio, limits
from rag_audio.domain.ports import Detection, Mark
from rag_audio.errors import InvalidInput, OutputRefused
from rag_audio.home import Home as OpenedHome
from rag_audio.home import open_home
from rag_audio.watermark.marked_file import mark_file, pieces_of

watermark = typer.Typer(no_args_is_help=True, help="Embed or read a mark by hand.")


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

    Sample rate, channels, encoding and what stands beside the sound (texts, cover, time code, cue
    points, loops …) stay those of the file, where the kind of file that is written has them;
    whatever is changed or left out is said. A .wav of more than 4 GB is written as RF64.
    """
    writing.check_writable(target, subtype)
    if target.exists() and source.exists() and target.samefile(source):
        raise InvalidInput(f"{source} would be written over its own sound", hint="name another")
    with open_home(home) as opened, busy("marking"):
        made = mark_file(opened.watermarker, source, target, payload, subtype)
    for note in made.notes:
        err.print(f"note: {note}")
    document = {
        "payload": payload,
        "snr_db": made.snr_db,
        "noise_to_mask_db": made.noise_to_mask_db,
        "file": str(target),
        "sample_rate": made.sample_rate,
        "channels": made.channels,
        "subtype": made.subtype,
        "gain_db": made.gain_db,
        "notes": list(made.notes),
    }
    tell(
        document,
        as_json,
        f"{target}: {payload}, {made.snr_db:.1f} dB below the music, "
        f"{-made.noise_to_mask_db:.1f} dB below what it masks",
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
        notices: list[str] = []
        found = opened.watermarker.detect_pieces(pieces_of(file, notices))
    for notice in notices:
        err.print(f"note: {file.name}: {notice}")
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

    notices: list[str] = []
    sound, excess = writing.fit(load(source, notices=notices), "a.wav", None)
    for notice in notices:
        err.print(f"note: {source.name}: {notice}")
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
        key = opened.keys / "watermark.key"
        kept = rotate_watermark(opened.database, key.parent)
    tell(
        {"key": str(key), "retired": str(kept)},
        as_json,
        f"{key} is new; the one before is kept in {kept}",
    )


def _marked(opened: OpenedHome, source: Path, sound: Audio, payload: int) -> Audio:
    marked = opened.watermarker.embed(sound, Mark(payload, by_hand=True))
    if marked is None:
        raise OutputRefused(f"{source} has too little sound to carry a mark")
    return marked


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
