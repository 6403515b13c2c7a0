"""The demo library's invented artists and what they play."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Artist:
    """An invented artist; ``license`` names one in the library's ``library.toml``."""

    name: str
    folder: str
    license: str
    sound: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One instrument's part.

    Attributes:
        role: drums, bass, chords, arpeggio or melody.
        pattern: groove, rhythm, shape or manner, by role.
        centre: middle of its range (the lowest note of a bass); None is the role's own.
        stem: whether it is also delivered alone.
    """

    name: str
    role: str
    program: int
    pattern: str
    centre: float | None = None
    pan: float = 0.0
    step: float = 0.5
    strum: float = 0.0
    power: bool = False
    stem: bool = True
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """A piece: what all of its lines share.

    Attributes:
        audio: lines that the demo renders to audio files; ``mix`` is the arrangement.
    """

    artist: str
    slug: str
    title: str
    bpm: float
    tonic: str
    mode: str
    progression: tuple[str, ...]
    lines: tuple[Line, ...]
    bars: int = 8
    beats: int = 4
    swing: float = 0.5
    swing_unit: float = 1.0
    arrangement: bool = True
    audio: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


ARTISTS: dict[str, Artist] = {
    "velda": Artist(
        "Velda Quarn", "velda-quarn", "northlight-2026",
        "deep house and techno after midnight, minor keys, 120-132 bpm",
        ("house", "electronic", "night"),
    ),
    "oryk": Artist(
        "Tessan Oryk", "tessan-oryk", "northlight-2026",
        "slow ambient pieces for pads, harp and strings, 62-76 bpm",
        ("ambient", "cinematic", "calm"),
    ),
    "copperhill": Artist(
        "Copperhill Junction Players", "copperhill-junction-players", "copperhill-train",
        "funk and soul with clavinet, brass and a busy bass, 96-112 bpm",
        ("funk", "soul", "live band"),
    ),
    "lantern": Artist(
        "The Low Lantern Five", "low-lantern-five", "lantern-words-only",
        "small-hours jazz and bossa nova, 88-168 bpm",
        ("jazz", "acoustic", "smoky"),
    ),
    "brannoch": Artist(
        "Brannoch Vey", "brannoch-vey", "brannoch-dach",
        "folk waltzes and guitar rock, major keys, 104-148 bpm",
        ("folk", "rock", "guitar"),
    ),
    "adelune": Artist(
        "Mirko Adelune", "mirko-adelune", "adelune-2024",
        "lo-fi hip hop from an attic, 74-86 bpm",
        ("lo-fi", "hip hop", "dusty"),
    ),
    "kestrel": Artist(
        "Kestrel Ninefold", "kestrel-ninefold", "northlight-2026",
        "drum and bass and trap with glassy leads, 140-174 bpm",
        ("drum and bass", "electronic", "fast"),
    ),
    "harbour": Artist(
        "Harbour Steps Sound", "harbour-steps-sound", "copperhill-train",
        "roots reggae and afrobeat with organ and horns, 70-118 bpm",
        ("reggae", "dub", "sunny"),
    ),
}  # fmt: skip

WORKS: tuple[Work, ...] = (
    Work(
        "velda", "last-tram", "Last Tram", 122, "A", "minor", ("i7", "VImaj7", "iv7", "v7"),
        (
            Line("drums", "drums", 0, "deep house"),
            Line("bass", "bass", 39, "house", tags=("synth bass",)),
            Line("keys", "chords", 4, "stabs", 62, 0.15, tags=("electric piano", "warm")),
            Line("pad", "chords", 89, "held", 64, -0.2, stem=False),
        ),
        bars=12, audio=("mix", "drums", "bass", "keys"), tags=("deep house",),
    ),
    Work(
        "velda", "glass-corridor", "Glass Corridor", 130, "F", "minor", ("i", "i", "VI", "VII"),
        (
            Line("drums", "drums", 0, "techno"),
            Line("bass", "bass", 38, "rolling", tags=("synth bass",), stem=False),
            Line("arp", "arpeggio", 81, "up down", 69, 0.2, 0.25, tags=("saw lead", "hypnotic")),
        ),
        bars=12, audio=("mix", "arp"), tags=("techno",),
    ),
    Work(
        "velda", "sodium-light", "Sodium Light", 124, "D", "dorian", ("i9", "IV9"),
        (
            Line("organ", "chords", 16, "house", 64, tags=("organ",)),
            Line("lead", "melody", 80, "syncopated", 76, tags=("square lead",)),
        ),
        bars=12, arrangement=False, tags=("house",),
    ),
    Work(
        "oryk", "tidewater", "Tidewater", 66, "D", "major", ("Imaj7", "vi7", "IVmaj7", "iii7"),
        (
            Line("pad", "chords", 89, "held", 62, tags=("warm pad",)),
            Line("harp", "arpeggio", 46, "up down", 70, 0.25, tags=("harp",), stem=False),
            Line("cello", "melody", 42, "calm", 53, -0.2, tags=("cello", "strings")),
        ),
        audio=("mix",), tags=("drifting",),
    ),
    Work(
        "oryk", "slow-snow", "Slow Snow", 74, "B", "minor", ("i", "VI", "III", "VII"),
        (
            Line("strings", "chords", 48, "held", 64, tags=("strings",), stem=False),
            Line("bells", "arpeggio", 11, "broken", 76, 0.3, 1.0, tags=("vibraphone",)),
            Line("piano", "melody", 0, "calm", 74, -0.1, tags=("piano",)),
        ),
        tags=("winter",),
    ),
    Work(
        "copperhill", "brass-ticket", "Brass Ticket", 104, "E", "mixolydian",
        ("I7", "I7", "IV7", "I7"),
        (
            Line("drums", "drums", 0, "funk"),
            Line("bass", "bass", 36, "slap", 28, tags=("slap bass",)),
            Line("clav", "chords", 7, "funk", 60, 0.3, tags=("clavinet",), stem=False),
            Line("horns", "chords", 61, "stabs", 67, -0.25, tags=("brass section",)),
        ),
        bars=12, audio=("mix", "bass"), tags=("groovy",),
    ),
    Work(
        "copperhill", "two-shift-soul", "Two-Shift Soul", 96, "G", "minor",
        ("i7", "iv7", "VImaj7", "v7"),
        (
            Line("drums", "drums", 0, "new orleans", stem=False),
            Line("bass", "bass", 33, "funk", tags=("electric bass",), stem=False),
            Line("organ", "chords", 18, "pushed", 62, tags=("organ",), stem=False),
            Line("sax", "melody", 66, "syncopated", 66, 0.1, tags=("saxophone",)),
        ),
        swing=0.56, swing_unit=0.5, tags=("soul",),
    ),
    Work(
        "lantern", "umbrella-stand", "Umbrella Stand", 132, "Bb", "major",
        ("Imaj7 vi7", "ii7 V7", "iii7 vi7", "ii7 V7"),
        (
            Line("drums", "drums", 0, "jazz swing", stem=False),
            Line("bass", "bass", 32, "walking", 31, tags=("upright bass",)),
            Line("piano", "chords", 0, "charleston", 60, -0.2, tags=("piano",), stem=False),
            Line("guitar", "melody", 26, "flowing", 70, 0.25, tags=("jazz guitar",)),
        ),
        bars=12, swing=0.64, tags=("swing",),
    ),
    Work(
        "lantern", "praca-nenhuma", "Praça Nenhuma", 118, "F", "major",
        ("Imaj7", "ii7", "V7", "Imaj7"),
        (
            Line("guitar", "chords", 24, "bossa", 60, tags=("nylon guitar",)),
            Line("flute", "melody", 73, "syncopated", 79, 0.15, tags=("flute",)),
            Line("drums", "drums", 0, "bossa", stem=False),
            Line("bass", "bass", 32, "bossa", stem=False),
        ),
        bars=12, tags=("bossa nova",),
    ),
    Work(
        "brannoch", "kiln-road", "Kiln Road", 140, "G", "major", ("I", "V", "vi", "IV"),
        (
            Line("drums", "drums", 0, "rock"),
            Line("bass", "bass", 34, "eighths", tags=("electric bass",), stem=False),
            Line("guitar", "chords", 29, "eighths", 56, power=True, tags=("overdriven guitar",)),
            Line("lead", "melody", 27, "flowing", 72, 0.2, stem=False),
        ),
        bars=12, audio=("mix",), tags=("rock",),
    ),
    Work(
        "brannoch", "millers-waltz", "The Miller's Waltz", 108, "C", "major", ("I", "IV", "V", "I"),
        (
            Line("guitar", "arpeggio", 25, "picking", 60, tags=("steel guitar", "fingerpicked")),
            Line("fiddle", "melody", 40, "flowing", 76, 0.2, tags=("violin", "fiddle")),
            Line("accordion", "chords", 21, "waltz", 64, -0.2, stem=False),
            Line("drums", "drums", 0, "folk waltz", stem=False),
        ),
        bars=12, beats=3, tags=("waltz", "folk"),
    ),
    Work(
        "adelune", "attic-rain", "Attic Rain", 78, "Eb", "major", ("Imaj7", "vi7", "ii7", "V7"),
        (
            Line("drums", "drums", 0, "lo-fi"),
            Line("keys", "chords", 5, "pushed", 61, strum=0.03, tags=("electric piano",)),
            Line("bass", "bass", 33, "boom bap", tags=("bass",), stem=False),
        ),
        swing=0.6, swing_unit=0.5, tags=("rainy",),
    ),
    Work(
        "adelune", "paper-moths", "Paper Moths", 84, "C", "minor", ("i7", "iv7", "VImaj7", "v7"),
        (
            Line("guitar", "arpeggio", 24, "alberti", 62, tags=("nylon guitar",)),
            Line("drums", "drums", 0, "boom bap", stem=False),
            Line("bass", "bass", 32, "boom bap", stem=False),
        ),
        swing=0.6, swing_unit=0.5, tags=("mellow",),
    ),
    Work(
        "kestrel", "ninth-gate", "Ninth Gate", 172, "F#", "minor", ("i", "VI", "III", "VII"),
        (
            Line("drums", "drums", 0, "breakbeat"),
            Line("bass", "bass", 38, "reese", 30, tags=("reese bass",)),
            Line("pad", "chords", 90, "held", 66, tags=("bright pad",), stem=False),
            Line("lead", "melody", 98, "calm", 78, 0.2, tags=("crystal bells",), stem=False),
        ),
        bars=16, audio=("drums",), tags=("jungle",),
    ),
    Work(
        "kestrel", "cold-chain", "Cold Chain", 144, "C#", "minor", ("i", "i", "VI", "v"),
        (
            Line("drums", "drums", 0, "trap"),
            Line("bass", "bass", 39, "sub", 28, tags=("808 bass", "sub bass"), stem=False),
            Line("bells", "arpeggio", 10, "broken", 79, -0.2, 0.5, tags=("music box", "dark")),
        ),
        bars=12, tags=("trap",),
    ),
    Work(
        "harbour", "ferry-at-noon", "Ferry at Noon", 74, "A", "major", ("I", "IV", "I", "V"),
        (
            Line("drums", "drums", 0, "reggae one drop"),
            Line("bass", "bass", 33, "one drop", 28, tags=("dub bass",)),
            Line("skank", "chords", 27, "skank", 64, 0.3,
                 tags=("clean guitar", "offbeat"), stem=False),
            Line("organ", "chords", 16, "bubble", 60, -0.25, tags=("organ",), stem=False),
        ),
        swing=0.56, audio=("mix",), tags=("roots reggae",),
    ),
    Work(
        "harbour", "salt-market", "Salt Market", 116, "D", "minor", ("i7", "i7", "iv7", "VII"),
        (
            Line("drums", "drums", 0, "afrobeat", stem=False),
            Line("horns", "melody", 61, "syncopated", 67, tags=("brass",)),
            Line("bass", "bass", 33, "afro", stem=False),
            Line("guitar", "arpeggio", 28, "picking", 62, 0.3, 0.5, stem=False),
        ),
        bars=12, tags=("afrobeat",),
    ),
)  # fmt: skip
