"""Two real libraries of Debian packages, and what a listener would call right in them.

``sonic-pi-samples`` holds 165 short recordings, and ``openttd-openmsx`` 31 scores of a game. They
are indexed under licenses that are written for the measurement. What each file holds is told
without the product: by the files' own names, as their makers gave them, by the programs of the
scores, read by pretty_midi, and for loops by how many beats they were made with.
"""

from __future__ import annotations

import fnmatch
import shutil
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pretty_midi

SAMPLES = Path("/usr/share/sonic-pi/samples")
SCORES = Path("/usr/share/games/openttd/baseset/openmsx")
PACKAGES = {SAMPLES: "sonic-pi-samples", SCORES: "openttd-openmsx"}

_LICENSE = """\
[library]
name = "{name}"
[licenses.{name}]
holder = "Holder of {name}"
spdx = "LicenseRef-{name}"
uses = ["prompt", "init_audio", "style"]
territories = ["WORLD"]
credit = "{name}"
"""


class NotInstalled(Exception):
    """A package is missing; the text says what would do."""


def lay_out(folder: Path) -> list[Path]:
    """Copy the packages' files into libraries with licenses; their roots.

    Raises:
        NotInstalled: a package is missing.
    """
    roots = []
    for source, package in PACKAGES.items():
        if not source.is_dir():
            raise NotInstalled(f"{source} is missing: apt install {package}")
        root = folder / package
        root.mkdir(parents=True, exist_ok=True)
        for file in sorted((*source.glob("*.flac"), *source.glob("*.mid"))):
            if not (root / file.name).exists():
                shutil.copyfile(file, root / file.name)
        (root / "library.toml").write_text(_LICENSE.format(name=package), encoding="utf-8")
        (root / "stems.csv").write_text(f"path,license\n*,{package}\n", encoding="utf-8")
        roots.append(root)
    return roots


LOOP_BEATS = {
    "loop_amen": 4,
    "loop_amen_full": 16,
    "loop_breakbeat": 4,
    "loop_compus": 16,
    "loop_drone_g_97": 8,
    "loop_electric": 4,
    "loop_garzul": 16,
    "loop_industrial": 2,
    "loop_mehackit1": 4,
    "loop_mehackit2": 4,
    "loop_mika": 16,
    "loop_perc1": 4,
    "loop_perc2": 4,
    "loop_safari": 16,
    "loop_tabla": 16,
    "loop_weirdo": 8,
}
"""How many beats each loop of ``sonic-pi-samples`` holds: its length and its hits were looked at.
``loop_3d_printer`` is the noise of a machine and holds no number of beats."""


@dataclass(frozen=True)
class Truth:
    """What a file holds.

    Attributes:
        name: of the file, without suffix. is_score: whether it is MIDI.
        shares: of the notes of a score, by General MIDI program name in lower case; drums as
            ``drums``.
        bpm: at the start of a score, or of a loop by its beats. beats: of a bar, for a score.
    """

    name: str
    is_score: bool
    shares: Mapping[str, float]
    bpm: float | None = None
    beats: int | None = None

    def share(self, *programs: str) -> float:
        """Of the notes by programs whose names hold any of the words."""
        return sum(
            share for name, share in self.shares.items() if any(word in name for word in programs)
        )


def truth_of(file: Path) -> Truth:
    """What a file of either package holds."""
    if file.suffix != ".mid":
        beats = LOOP_BEATS.get(file.stem)
        if beats is None:
            return Truth(file.stem, False, {})
        import soundfile

        return Truth(file.stem, False, {}, 60 * beats / soundfile.info(file).duration)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = pretty_midi.PrettyMIDI(str(file))
    notes: Counter[str] = Counter()
    for part in score.instruments:
        name = "drums" if part.is_drum else pretty_midi.program_to_instrument_name(part.program)
        notes[name.lower()] += len(part.notes)
    total = max(1, notes.total())
    metres = [one.numerator for one in score.time_signature_changes if one.time < 1.0]
    tempo = float(score.get_tempo_changes()[1][0])
    shares = {name: count / total for name, count in notes.items()}
    return Truth(file.stem, True, shares, tempo, metres[0] if metres else None)


# Requests for search, with what they should find.


@dataclass(frozen=True)
class Query:
    """Words that somebody types, and how right each file is: 3 is just that, 1 is related.

    Attributes:
        files: grade of file names without suffix, by pattern; the first that matches counts.
        programs: words in the names of programs; a score is graded by their share of its notes.
        slow, fast: the score's tempo is at most, at least so much, else its grade is one lower.
        beats: of a bar; a score of another metre is not meant.
    """

    text: str
    files: Mapping[str, int]
    programs: tuple[str, ...] = ()
    slow: float | None = None
    fast: float | None = None
    beats: int | None = None

    def grade(self, truth: Truth) -> int:
        """0…3."""
        for pattern, grade in self.files.items():
            if fnmatch.fnmatchcase(truth.name, pattern):
                return grade
        if not truth.is_score or (self.beats is not None and truth.beats != self.beats):
            return 0
        share = truth.share(*self.programs) if self.programs else float(self.beats is not None)
        grade = 3 if share >= 0.2 else 2 if share >= 0.05 else 1 if share > 0 else 0
        tempo = truth.bpm or 0.0
        is_off = (self.slow is not None and tempo > self.slow) or (
            self.fast is not None and tempo < self.fast
        )
        return max(0, grade - 1) if is_off else grade


_KICK = {"bd_*": 3, "drum_heavy_kick": 3, "drum_bass_*": 3, "elec_*kick": 3}
_SNARE = {"sn_*": 3, "drum_snare_*": 3, "elec_*snare": 3}
_DRUM_LOOPS = {
    "loop_amen*": 3, "loop_breakbeat": 3, "loop_compus": 3, "loop_garzul": 2, "loop_mika": 2,
    "loop_safari": 2, "loop_electric": 2, "loop_industrial": 2, "loop_mehackit*": 2,
    "loop_perc*": 2, "loop_tabla": 2, "loop_*": 1, "drum_*": 1, "bd_*": 1, "sn_*": 1,
}  # fmt: skip
_PIANO = ("acoustic piano", "grand piano", "honky-tonk", "electric piano")
_GUITAR = {"guit_*": 3}
_BASS = {"bass_*": 3, "glitch_bass_g": 2, "drum_bass_*": 0}
_DRUM_HITS = {"drum_*": 3, "bd_*": 2, "sn_*": 2, "loop_amen*": 3, "loop_breakbeat": 3}

QUERIES: Sequence[Query] = (
    Query("piano", {"ambi_piano": 3}, _PIANO),
    Query("electric guitar", _GUITAR, ("guitar (jazz", "guitar (clean", "guitar (mut", "overdr")),
    Query("acoustic guitar", {"guit_*": 2}, ("guitar (steel", "guitar (nylon")),
    Query("harp", {}, ("harp",)),
    Query("flute", {}, ("flute", "ocarina", "whistle", "blown bottle")),
    Query("trumpet", {}, ("trumpet",)),
    Query("saxophone", {}, ("sax",)),
    Query("accordion", {}, ("accordion",)),
    Query("harpsichord", {}, ("harpsichord",)),
    Query("vibraphone", {}, ("vibraphone",)),
    Query("marimba or xylophone", {}, ("xylophone", "marimba")),
    Query("strings", {}, ("strings", "string ensemble", "violin")),
    Query("synth bass", {"bass_trance_c": 3, "bass_dnb_f": 3, "bass_*": 2}, ("synth bass",)),
    Query("tabla", {"tabla_*": 3, "loop_tabla": 3}),
    Query("choir", {"ambi_choir": 3}, ("choir", "voice oohs")),
    Query("organ", {}, ("organ",)),
    Query("bell", {"elec_bell": 3, "perc_bell*": 3, "elec_chime": 2, "drum_cowbell": 1}),
    Query("cowbell", {"drum_cowbell": 3}),
    Query("music box", {}, ("music box",)),
    Query("kick drum", _KICK),
    Query("snare drum", _SNARE),
    Query("hi-hat", {"drum_cymbal_closed": 3, "drum_cymbal_pedal": 3, "drum_cymbal_open": 3,
                     "elec_hi_snare": 0, "drum_cymbal_*": 1}),
    Query("crash cymbal", {"drum_splash_*": 3, "drum_cymbal_hard": 3, "drum_cymbal_*": 2,
                           "elec_cymbal": 2}),
    Query("tom", {"drum_tom_*": 3, "elec_fuzz_tom": 2}),
    Query("808 bass drum", {"bd_808": 3, "bd_*": 2, "drum_bass_*": 1, "drum_heavy_kick": 1}),
    Query("drum loop", _DRUM_LOOPS),
    Query("breakbeat", {"loop_breakbeat": 3, "loop_amen*": 3, "loop_compus": 2, "loop_*": 1}),
    Query("amen break", {"loop_amen*": 3, "loop_breakbeat": 2}),
    Query("drum and bass", {"bass_dnb_f": 3, "loop_amen*": 3, "loop_compus": 2,
                            "loop_breakbeat": 2}),
    Query("drum roll", {"drum_roll": 3}),
    Query("robot", {"glitch_robot*": 3, "mehackit_robot*": 3}),
    Query("telephone", {"mehackit_phone*": 3}),
    Query("vinyl scratch", {"vinyl_scratch": 3, "vinyl_backspin": 2, "vinyl_rewind": 2,
                            "vinyl_hiss": 1}),
    Query("record crackle", {"vinyl_hiss": 3, "vinyl_*": 2}),
    Query("door", {"perc_door": 3}),
    Query("bird", {"misc_crow": 3}),
    Query("cinematic boom", {"misc_cineboom": 3, "bd_boom": 2, "perc_impact*": 2}),
    Query("ambient drone", {"ambi_drone": 3, "loop_drone_g_97": 3, "ambi_*": 2}),
    Query("dark atmosphere", {"ambi_dark_woosh": 3, "ambi_haunted_hum": 3, "ambi_*": 1}),
    Query("glass", {"ambi_glass_*": 3}),
    Query("glitch percussion", {"glitch_perc*": 3, "glitch_*": 1, "perc_*": 1}),
    Query("guitar harmonics", {"guit_harmonics": 3, "guit_*": 1}),
    Query("guitar chord", {"guit_em9": 3, "guit_e_fifths": 3, "guit_*": 1}),
    Query("swoosh", {"ambi_swoosh": 3, "perc_swoosh": 3, "ambi_dark_woosh": 3, "perc_swash": 2}),
    Query("finger snap", {"perc_snap*": 3}),
    Query("fast rock guitar", {}, ("distortion", "overdr", "guitar (mut", "guitar (clean"),
          fast=150),
    Query("slow piano", {"ambi_piano": 2}, _PIANO, slow=100),
    Query("waltz", {}, beats=3),
    Query("Klavier", {"ambi_piano": 3}, _PIANO),
    Query("Gitarre", _GUITAR, ("guitar",)),
    Query("Glocke", {"elec_bell": 3, "perc_bell*": 3, "elec_chime": 2, "drum_cowbell": 1}),
    Query("Schlagzeug-Schleife", _DRUM_LOOPS),
    Query("batterie rapide", {"loop_amen*": 3, "loop_breakbeat": 3, "loop_*": 2, **_DRUM_HITS},
          ("drums",), fast=140),
    Query("guitare acoustique", {"guit_*": 2}, ("guitar (steel", "guitar (nylon")),
    Query("flûte", {}, ("flute", "ocarina", "whistle", "blown bottle")),
    Query("bajo", _BASS, ("bass",)),
    Query("piano lento", {"ambi_piano": 2}, _PIANO, slow=100),
    Query("campana", {"elec_bell": 3, "perc_bell*": 3, "elec_chime": 2, "drum_cowbell": 1}),
    Query("ピアノ", {"ambi_piano": 3}, _PIANO),
    Query("ギター", _GUITAR, ("guitar",)),
    Query("ドラムループ", _DRUM_LOOPS),
    Query("пианино", {"ambi_piano": 3}, _PIANO),
    Query("бас", _BASS, ("bass",)),
    Query("барабаны", _DRUM_HITS, ("drums",)),
)  # fmt: skip

_BELLS = {"elec_bell": 3, "perc_bell*": 3, "elec_chime": 2, "drum_cowbell": 1}
_PERC_LOOPS = {
    "loop_perc*": 3, "loop_tabla": 3, "loop_amen*": 2, "loop_breakbeat": 2, "loop_safari": 2,
    "loop_garzul": 1, "loop_compus": 1, "loop_mika": 1, "loop_mehackit*": 1, "loop_electric": 1,
    "loop_industrial": 1, "loop_weirdo": 1,
}  # fmt: skip
_CYMBALS = {"drum_cymbal_*": 3, "elec_cymbal": 3, "drum_splash_*": 3}
_STRINGS = ("strings", "string ensemble", "violin")

HELD_OUT: Sequence[Query] = (
    Query("gtr", _GUITAR, ("guitar",)),
    Query("kik", _KICK),
    Query("toms", {"drum_tom_*": 3, "elec_fuzz_tom": 2}),
    Query("trombone", {}, ("trombone",)),
    Query("steelpan", {}, ("steel drums",)),
    Query("orchestral hit", {}, ("orchestra hit",)),
    Query("distorted guitar", {"guit_*": 1}, ("distortion guitar", "overdr")),
    Query("cash register", {"perc_till": 3}),
    Query("bleep", {"elec_blip*": 3, "elec_beep": 3, "elec_ping": 2, "elec_plip": 2,
                    "elec_blup": 1, "elec_tick": 1}),
    Query("machine noise", {"loop_3d_printer": 3, "loop_industrial": 2, "vinyl_hiss": 1}),
    Query("spooky", {"ambi_haunted_hum": 3, "ambi_dark_woosh": 2}),
    Query("percussion loop", _PERC_LOOPS),
    Query("808", {"bd_808": 3}),
    Query("Basstrommel", _KICK),
    Query("Trommelwirbel", {"drum_roll": 3}),
    Query("Kuhglocke", {"drum_cowbell": 3}),
    Query("Roboterstimme", {"glitch_robot*": 3, "mehackit_robot*": 3}),
    Query("schnelle Gitarre", {"guit_*": 2}, ("guitar",), fast=135),
    Query("Trompeten", {}, ("trumpet",)),
    Query("Schallplatte", {"vinyl_*": 3}),
    Query("caisse claire", _SNARE),
    Query("cymbales", _CYMBALS),
    Query("clavecin", {}, ("harpsichord",)),
    Query("basse synthétique", {"bass_trance_c": 3, "bass_dnb_f": 3, "bass_*": 2},
          ("synth bass",)),
    Query("boucle de percussions", _PERC_LOOPS),
    Query("verre", {"ambi_glass_*": 3}),
    Query("bombo", _KICK),
    Query("guitarras eléctricas", _GUITAR,
          ("guitar (jazz", "guitar (clean", "guitar (mut", "overdr", "distortion guitar")),
    Query("bucle de batería", _DRUM_LOOPS),
    Query("arpa", {}, ("harp",)),
    Query("teléfono", {"mehackit_phone*": 3}),
    Query("acordeones", {}, ("accordion",)),
    Query("pájaro", {"misc_crow": 3}),
    Query("シンバル", _CYMBALS),
    Query("スネアドラム", _SNARE),
    Query("ロボットの声", {"glitch_robot*": 3, "mehackit_robot*": 3}),
    Query("トランペット", {}, ("trumpet",)),
    Query("速いピアノ", {"ambi_piano": 2}, _PIANO, fast=135),
    Query("гитары", _GUITAR, ("guitar",)),
    Query("барабанная петля", _DRUM_LOOPS),
    Query("скрипки", {}, _STRINGS),
    Query("колокола", _BELLS),
    Query("тёмная атмосфера", {"ambi_dark_woosh": 3, "ambi_haunted_hum": 3, "ambi_*": 1}),
    Query("дверь", {"perc_door": 3}),
)  # fmt: skip
"""Requests that were written and graded before weights were chosen on :data:`QUERIES`, and run
once, afterwards."""
