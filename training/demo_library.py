"""Write ``data/demo``: scores of invented artists, under licenses that differ in what they grant.

Each artist has a sound of their own: tempos, keys, progressions, instruments, feel. A work is a few
voices over a progression; from it come an arrangement and stems. Everything is CC0 in truth; the
licenses are made up to show what licenses can say. The same code writes the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag_audio.domain import Key
from training import parts
from training.demo_works import ARTISTS, WORKS, Artist, Line, Work
from training.grooves import GROOVES, WALTZES, play
from training.score import Event, Song, Voice, humanised, midi_bytes, swung
from training.theory import Scale

if TYPE_CHECKING:
    from rag_audio.domain import Audio

LICENSES = """# A library of invented artists. All of it is CC0 in truth; the licenses below are
# made up, so that the demo can show what licenses say.

[library]
name = "rag-audio demo library"

[licenses.northlight-2026]
holder = "Northlight Yard Recordings"
spdx = "LicenseRef-Northlight-AI-1"
uses = ["prompt", "init_audio", "style"]
territories = ["WORLD"]
valid_from = 2026-01-01
valid_until = 2036-12-31
credit = "Contains Northlight Yard Recordings material"

[licenses.copperhill-train]
holder = "Copperhill Junction Co-operative"
spdx = "LicenseRef-Copperhill-Open-2"
uses = ["prompt", "init_audio", "style", "train"]
territories = ["WORLD"]
credit = "With kind permission of the Copperhill Junction Co-operative"

[licenses.lantern-words-only]
holder = "Low Lantern Press"
spdx = "LicenseRef-LowLantern-Prompt-1"
uses = ["prompt"]
territories = ["WORLD"]
credit = "Described with words from the Low Lantern catalogue"

[licenses.brannoch-dach]
holder = "Vey und Töchter Musikverlag"
spdx = "LicenseRef-Vey-DACH-1"
uses = ["prompt", "init_audio", "style"]
territories = ["DE", "AT", "CH"]
credit = "Vey und Töchter Musikverlag"
max_similarity = 0.9

[licenses.adelune-2024]
holder = "Attic Window Tapes"
spdx = "LicenseRef-AtticWindow-1"
uses = ["prompt", "init_audio", "style"]
territories = ["WORLD"]
valid_from = 2023-01-01
valid_until = 2024-12-31
credit = "Attic Window Tapes"
"""

README = """# The demo library

{scores} scores of {artists} **invented** artists: no such person, band or label is meant to exist,
and any likeness of a name is chance. Composed by this project's code (`training/demo_library.py`,
`training/demo_works.py`; building it again writes the same bytes) and dedicated to the public:
**CC0-1.0**. The licenses in `library.toml` are made up to show what licenses can say: one grants
everything but training, one training too, one only words, one counts in three countries, and one
has expired.

- `*/*.mid`: arrangements and stems (drums, bass, chords, leads), each at least 16 seconds long.
- `library.toml`, `stems.csv`: what the indexer reads.
- `demo.json`: what `rag-audio demo` does: which scores it renders into `audio/*.wav`, what it
  searches for, asks for, and is refused.

| artist | sound | license |
|---|---|---|
{table}
"""

STORY: dict[str, Any] = {
    "search": "warm electric piano chords for a deep house track",
    "refused_prompt": "a slow waltz in the style of The Low Lantern Five",
    "request": {
        "prompt": "late night deep house with warm electric piano and a rolling bassline",
        "artist": "Velda Quarn",
        "bpm": 122,
        "key": "A minor",
        "duration_s": 10.0,
        "seed": 7,
    },
}


@dataclass(frozen=True)
class Entry:
    """A file of the library with its row in ``stems.csv``."""

    path: str
    song: Song
    artist: Artist
    title: str
    tags: tuple[str, ...]
    key: Key | None


def _line_events(work: Work, line: Line, plan: parts.Harmony) -> tuple[Event, ...]:
    """The notes of one line: its own stream of chance, so that stems equal the arrangement."""
    rng = np.random.default_rng(zlib.crc32(f"{work.slug}/{line.name}".encode()))
    made = _write(line, plan, work, rng)
    if work.swing != 0.5:
        made = swung(made, work.swing, work.swing_unit)
    return humanised(made, rng, work.bpm, 0.004)


def _write(
    line: Line, plan: parts.Harmony, work: Work, rng: np.random.Generator
) -> Iterable[Event]:
    writers: dict[str, Callable[[], list[Event]]] = {
        "drums": lambda: play(
            {**GROOVES, **WALTZES}[line.pattern], plan.bars, rng, beats=work.beats
        ),
        "bass": lambda: parts.bass(plan, line.pattern, rng, round(line.centre or 29)),
        "chords": lambda: parts.chords(
            plan, line.pattern, line.centre or 62, strum=line.strum, power=line.power
        ),
        "arpeggio": lambda: parts.arpeggio(plan, line.pattern, line.step, line.centre or 66),
        "melody": lambda: parts.melody(plan, rng, manner=line.pattern, centre=line.centre or 74),
    }
    return writers[line.role]()


def _song(work: Work, lines: Iterable[Line], title: str) -> Song:
    scale = Scale(Key.parse(work.tonic).tonic, work.mode)
    plan = parts.harmony(scale, work.progression, work.bars, work.beats)
    voices = tuple(
        Voice(line.role, line.program, _line_events(work, line, plan), line.pan) for line in lines
    )
    tonal = any(not voice.drum for voice in voices)
    return Song(title, work.bpm, scale if tonal else None, work.bars, voices, work.beats)


def entries() -> list[Entry]:
    """Every file of the library: per work an arrangement (if wanted) and the chosen stems."""
    made = []
    for work in WORKS:
        artist = ARTISTS[work.artist]
        key = Scale(Key.parse(work.tonic).tonic, work.mode).key
        if work.arrangement:
            title = work.title
            tags = (*artist.tags, *work.tags, "arrangement")
            path = f"{artist.folder}/{work.slug}.mid"
            made.append(Entry(path, _song(work, work.lines, title), artist, title, tags, key))
        for line in work.lines:
            if not line.stem:
                continue
            title = f"{work.title} ({line.name})"
            tags = (*artist.tags, *work.tags, *line.tags, line.role)
            path = f"{artist.folder}/{work.slug}-{line.name.replace(' ', '-')}.mid"
            sounding = None if line.role == "drums" else key
            made.append(Entry(path, _song(work, [line], title), artist, title, tags, sounding))
    return made


def _audio_path(entry: Entry) -> str:
    return "audio/" + Path(entry.path).stem + ".wav"


def rendered(library: Iterable[Entry]) -> list[Entry]:
    """Those that the demo renders to audio, as :attr:`Work.audio` names them."""
    wanted = {
        work.slug if name == "mix" else f"{work.slug}-{name}"
        for work in WORKS
        for name in work.audio
    }
    return [entry for entry in library if Path(entry.path).stem in wanted]


def _stems_csv(library: list[Entry]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        ("path", "license", "artist", "title", "bpm", "key", "tags", "isrc", "downbeat_s")
    )
    for path, entry in [(e.path, e) for e in library] + [
        (_audio_path(e), e) for e in rendered(library)
    ]:
        tags = ";".join(dict.fromkeys(entry.tags))
        table.writerow(
            (path, entry.artist.license, entry.artist.name, entry.title, f"{entry.song.bpm:g}",
             entry.key or "", tags, "", "0")
        )  # fmt: skip
    return out.getvalue()


def _readme(library: list[Entry]) -> str:
    rows = "\n".join(f"| {a.name} | {a.sound} | `{a.license}` |" for a in ARTISTS.values())
    return README.format(scores=len(library), artists=len(ARTISTS), table=rows)


def build(out: Path) -> list[Path]:
    """Write the library into ``out`` (made if missing).

    Returns:
        The files written.
    """
    library = entries()
    renders = [{"audio": _audio_path(e), "midi": e.path} for e in rendered(library)]
    files: dict[str, bytes] = {e.path: midi_bytes(e.song) for e in library}
    texts = {
        "library.toml": LICENSES,
        "stems.csv": _stems_csv(library),
        "README.md": _readme(library),
        "demo.json": json.dumps({"renders": renders, **STORY}, indent=2, ensure_ascii=False) + "\n",
    }
    files.update({name: text.encode("utf-8") for name, text in texts.items()})
    written = []
    for name, data in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        written.append(path)
    return written


def render_audio(library: Path, render: Callable[[Path], Audio]) -> list[Path]:
    """Render the scores that ``demo.json`` lists into the library's ``audio`` folder.

    Args:
        render: plays a MIDI file, for instance ``rag_audio.audio.midi.render``.
    """
    from rag_audio.audio import writing

    story = json.loads((library / "demo.json").read_text(encoding="utf-8"))
    made = []
    for job in story["renders"]:
        target = library / job["audio"]
        target.parent.mkdir(parents=True, exist_ok=True)
        writing.save(render(library / job["midi"]), target, subtype="PCM_16")
        made.append(target)
    return made
