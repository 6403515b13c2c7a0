"""Real sounds of one instrument each, and which label of the derived tags is true of them.

Three sets of Debian packages: the samples of ``lmms-common``, by their folders and names, those of
``sonic-pi-samples``, by their names, and the parts of the scores of ``openttd-openmsx``, each
program by itself, played by ``timgm6mb-soundfont``, which the embedded models never heard.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory

import pretty_midi

from benchmarks.real_material import PACKAGES, SAMPLES, SCORES, NotInstalled
from rag_audio.audio import channels, midi
from rag_audio.audio.reading import hear
from rag_audio.domain import Audio
from rag_audio.errors import UnreadableFile

LMMS = Path("/usr/share/lmms/samples")
SOUNDFONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
_NEEDED = {**PACKAGES, LMMS: "lmms-common", SOUNDFONT: "timgm6mb-soundfont"}
_PART_S = 10.0
_FEWEST_NOTES = 12

_OF_LMMS = {
    "drums/zap*": "", "drums/nasty_bass*": "", "drums/*": "drums", "beats/*": "drums",
    "*/*pluck*": "", "*/techno_synth*": "synth lead", "*/synth_acid*": "synth lead",
    "bassloops/briff*": "", "basses/*": "bass", "bassloops/*": "bass", "instruments/bass*": "bass",
    "*/cello*": "strings", "*/*organ*": "organ", "*/e_piano*": "electric piano",
    "*/flute*": "flute", "*/harpsichord*": "piano", "*/piano*": "piano", "*guitar*": "guitar",
    "*/trumpet*": "brass", "*/violin*": "strings", "*/latin_brass*": "brass",
    "*/bell_choir*": "bells", "*choir*": "vocals", "*/chorus*": "vocals", "*/*string*": "strings",
    "*/juno_pad*": "synth pad", "*/korg*": "synth pad", "*/nord_ambient*": "synth pad",
    "*/wind_chimes*": "bells", "*/dong*": "bells", "*": "",
}  # fmt: skip
_OF_SONIC_PI = {
    "bd_*": "drums", "sn_*": "drums", "drum_*": "drums", "tabla_*": "drums", "perc_*": "drums",
    "bass_*": "bass", "guit_*": "guitar", "glitch_bass*": "bass", "glitch_perc*": "drums",
    "elec_cymbal": "drums", "elec_*snare": "drums", "elec_*tom": "drums", "elec_*kick": "drums",
    "elec_wood": "drums", "elec_triangle": "drums", "elec_tick": "drums", "elec_twang": "guitar",
    "elec_bell": "bells", "elec_chime": "bells", "elec_bong": "bells", "elec_ping": "bells",
    "ambi_choir": "vocals", "ambi_piano": "piano", "ambi_drone": "synth pad",
    "ambi_glass*": "synth pad", "ambi_*_hum": "synth pad", "ambi_lunar*": "synth pad",
    "ambi_soft_buzz": "synth pad", "loop_drone*": "synth pad", "loop_amen*": "drums",
    "loop_breakbeat": "drums", "loop_perc?": "drums", "loop_tabla": "drums",
    "loop_industrial": "drums", "loop_safari": "drums", "loop_mehackit?": "drums",
    "loop_compus": "drums", "loop_electric": "drums", "*": "",
}  # fmt: skip
"""By pattern, the first that matches; empty: none of the labels. Loops were listened to."""
_OF_PROGRAMS = (
    (range(4), "piano"), (range(4, 6), "electric piano"), (range(6, 7), "piano"),
    (range(7, 8), "electric piano"), (range(8, 15), "bells"), (range(15, 16), "plucked strings"),
    (range(16, 24), "organ"), (range(24, 32), "guitar"), (range(32, 40), "bass"),
    (range(40, 46), "strings"), (range(46, 47), "plucked strings"), (range(47, 48), "drums"),
    (range(48, 52), "strings"), (range(52, 55), "vocals"), (range(56, 64), "brass"),
    (range(64, 72), "reeds"), (range(72, 80), "flute"), (range(80, 88), "synth lead"),
    (range(88, 96), "synth pad"), (range(104, 108), "plucked strings"), (range(108, 109), "bells"),
    (range(112, 120), "drums"),
)  # fmt: skip
"""Labels of General MIDI programs; others are none of them."""

Sound = tuple[Audio, str]
"""A sound of one channel, and its label."""


def sets() -> Mapping[str, Iterator[Sound]]:
    """The three sets by name, the one to fit with first.

    Raises:
        NotInstalled: a package is missing.
    """
    for place, package in _NEEDED.items():
        if not place.exists():
            raise NotInstalled(f"{place} is missing: apt install {package}")
    return {"lmms": _lmms(), "sonic-pi": _sonic_pi(), "openmsx parts": _parts()}


def _lmms() -> Iterator[Sound]:
    for folder in ("drums", "beats", "basses", "bassloops", "instruments", "latin",
                   "stringsnpads", "misc", "effects"):  # fmt: skip
        for file in sorted((LMMS / folder).glob("*.ogg")):
            try:
                yield _heard(file), _label(_OF_LMMS, f"{folder}/{file.stem}")
            except UnreadableFile:  # two of them are broken
                continue


def _sonic_pi() -> Iterator[Sound]:
    for file in sorted(SAMPLES.glob("*.flac")):
        yield _heard(file), _label(_OF_SONIC_PI, file.stem)


def _parts() -> Iterator[Sound]:
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in sorted(SCORES.glob("*.mid")):
            score = pretty_midi.PrettyMIDI(str(file))
            for is_drum, program in sorted({(p.is_drum, p.program) for p in score.instruments}):
                alone = _alone(score, is_drum, program)
                if alone is None:
                    continue
                alone.write(str(Path(folder) / "part.mid"))
                made = midi.render(Path(folder) / "part.mid", soundfont=SOUNDFONT)
                last = round(_PART_S * made.sample_rate)
                sound = channels.heard(Audio(made.samples[:, :last], made.sample_rate), None)
                yield sound, "drums" if is_drum else _label_of(program)


def _alone(
    score: pretty_midi.PrettyMIDI, is_drum: bool, program: int
) -> pretty_midi.PrettyMIDI | None:
    """The first seconds in which a program plays; None: it hardly does."""
    notes = [
        note
        for part in score.instruments
        if (part.is_drum, part.program) == (is_drum, program)
        for note in part.notes
    ]
    if len(notes) < _FEWEST_NOTES:
        return None
    start = min(note.start for note in notes)
    made, part = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(program, is_drum)
    part.notes = [
        pretty_midi.Note(one.velocity, one.pitch, one.start - start, one.end - start)
        for one in notes
        if one.start - start < _PART_S
    ]
    made.instruments.append(part)
    return made


def _heard(file: Path) -> Audio:
    found = hear(file)
    return channels.heard(found.audio, found.layout)


def _label(patterns: Mapping[str, str], name: str) -> str:
    return next(label for pattern, label in patterns.items() if fnmatchcase(name, pattern))


def _label_of(program: int) -> str:
    return next((label for programs, label in _OF_PROGRAMS if program in programs), "")
