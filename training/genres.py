"""Genres as recipes: tempo, feel, harmony, and who plays what."""

from __future__ import annotations

from dataclasses import dataclass

_POP_MAJOR = ("I V vi IV", "I vi IV V", "I IV vi V", "I IV V I", "I iii IV V", "I V IV I")
_POP_MINOR = (
    "i VI III VII", "i iv VI v", "i VII VI VII", "i III VII i", "i VI iv i", "i v VI i",
    "i VI VII i",
)  # fmt: skip
_DEEP_MINOR = ("i7 iv7", "i7 VImaj7 iv7 i7", "i9 iv9 i9 v7", "i7 v7 VImaj7 i7", "i7 VII i7 iv7")
_DEEP_MAJOR = ("Imaj7 vi7", "Imaj7 vi7 ii7 V7", "Imaj7 IVmaj7", "Imaj7 iii7 IVmaj7 V7",
               "Imaj7 ii7 V7 Imaj7")  # fmt: skip
_STATIC_MINOR = ("i i VI VII", "i i i VII", "i VI", "i i iv i", "i VII")
_STATIC_MAJOR = ("I I IV I", "I I V I", "I I vi IV", "I V")
_JAZZ_MAJOR = ("Imaj7 vi7 ii7 V7", "Imaj7 ii7 V7 Imaj7", "I6 vi7 ii7 V7", "Imaj7 IVmaj7 iii7 V7",
               "I6 ii7 V7 I6")  # fmt: skip
_JAZZ_MINOR = ("i7 iv7 V7 i7", "i7 iim7b5 V7 i7", "i7 VImaj7 iim7b5 V7", "i6 iv7 V7 i6")
_BLUES = (
    "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7", "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 I7",
)  # fmt: skip
_FOLK = ("I IV I V", "I V I I", "I I IV V", "I vi IV V", "I IV V I", "I V vi V")
_CLASSIC_MAJOR = ("I IV V I", "I vi ii V", "I V vi iii", "I ii V I", "I V I V7")
_CLASSIC_MINOR = ("i iv V i", "i VI iv V", "i VII VI V", "i iv V7 i", "i V i iv")


@dataclass(frozen=True)
class Genre:
    """A recipe.

    Attributes:
        words: how people name it, the plainest first.
        tempo: usual range in bpm.
        grooves: names of drum grooves; empty means no drums.
        basses, chords, arps, leads: (patterns, programs).
        major, minor: progressions, a chord a bar; a random one of them is used.
        minor_share: how often the minor ones are.
        swing: 0.5 straight … 0.667; ``swing_unit`` 1 swings eighths, 0.5 sixteenths.
        room: typical reverb level 0…1; drive: how much saturation it likes.
    """

    words: tuple[str, ...]
    tempo: tuple[int, int]
    grooves: tuple[str, ...]
    basses: tuple[tuple[str, ...], tuple[int, ...]]
    chords: tuple[tuple[str, ...], tuple[int, ...]]
    arps: tuple[tuple[str, ...], tuple[int, ...]]
    leads: tuple[tuple[str, ...], tuple[int, ...]]
    major: tuple[str, ...]
    minor: tuple[str, ...]
    minor_share: float = 0.5
    swing: float = 0.5
    swing_unit: float = 1.0
    waltz: bool = False
    room: float = 0.25
    drive: float = 0.1
    moods: tuple[str, ...] = ("warm", "upbeat", "mellow")


_ARPS = ("up", "down", "up down", "broken", "alberti", "picking")

GENRES: dict[str, Genre] = {
    "house": Genre(
        ("house", "deep house", "club", "electronic"), (118, 128),
        ("four on the floor", "deep house"), (("house", "offbeat", "octaves"), (38, 39)),
        (("stabs", "house", "offbeat"), (4, 5, 16, 90, 0)), (_ARPS, (81, 80, 10, 11)),
        (("syncopated", "flowing"), (80, 81, 73, 65)), _DEEP_MAJOR, _DEEP_MINOR, 0.7,
        room=0.2, moods=("groovy", "late-night", "warm", "deep"),
    ),
    "techno": Genre(
        ("techno", "dark techno", "warehouse", "electronic"), (124, 142), ("techno",),
        (("rolling", "offbeat", "eighths"), (38, 39)), (("held", "gated", "stabs"), (89, 90, 95)),
        (_ARPS, (81, 80, 86, 98)), (("syncopated", "calm"), (81, 80, 86)),
        _STATIC_MAJOR, _STATIC_MINOR, 0.9, drive=0.3,
        moods=("hypnotic", "dark", "driving", "industrial"),
    ),
    "disco": Genre(
        ("disco", "nu disco", "dance"), (108, 126), ("disco", "four on the floor"),
        (("octaves", "funk"), (33, 34, 38)), (("funk", "stabs", "offbeat"), (27, 50, 4, 0)),
        (_ARPS, (81, 46, 7)), (("syncopated", "flowing"), (48, 61, 65, 73)),
        _DEEP_MAJOR, _POP_MINOR, 0.6, moods=("groovy", "glittering", "upbeat", "happy"),
    ),
    "synthwave": Genre(
        ("synthwave", "retro synth", "80s electronic"), (84, 118),
        ("rock", "four on the floor", "half time"),
        (("eighths", "octaves", "driving"), (38, 39)), (("held", "halves", "gated"),
        (90, 89, 62, 50)),
        (_ARPS, (81, 80, 90)), (("flowing", "calm"), (81, 86, 80)), _POP_MAJOR, _POP_MINOR, 0.8,
        room=0.4, moods=("nostalgic", "neon", "driving", "dreamy"),
    ),
    "rock": Genre(
        ("rock", "indie rock", "alternative rock"), (100, 160),
        ("rock", "driving rock", "half time"),
        (("eighths", "driving", "root fifth"), (33, 34)), (("eighths", "pushed", "quarters"),
        (29, 30, 27)),
        (("picking", "broken", "up down"), (27, 25)), (("flowing", "syncopated"), (29, 30, 18)),
        _POP_MAJOR, _POP_MINOR, 0.45, drive=0.35, room=0.15,
        moods=("energetic", "gritty", "powerful", "raw"),
    ),
    "pop": Genre(
        ("pop", "indie pop", "mainstream pop"), (92, 128), ("pop", "rock", "four on the floor"),
        (("root fifth", "eighths", "boom bap"), (33, 38, 39)), (("held", "pushed", "quarters"),
        (0, 4, 25, 89, 48)),
        (_ARPS, (0, 81, 46, 25)), (("flowing", "syncopated"), (73, 80, 40, 0, 54)),
        _POP_MAJOR, _POP_MINOR, 0.35, moods=("bright", "catchy", "uplifting", "happy"),
    ),
    "hip hop": Genre(
        ("hip hop", "boom bap", "rap beat", "old school hip hop"), (80, 100), ("boom bap", "funk"),
        (("boom bap", "sub", "funk"), (33, 32, 39)), (("pushed", "charleston", "stabs"),
        (4, 0, 26, 50)),
        (("alberti", "broken", "picking"), (11, 0, 24)), (("syncopated", "calm"), (73, 56, 59, 65)),
        _DEEP_MAJOR, _DEEP_MINOR, 0.75, 0.57, 0.5, room=0.12, drive=0.2,
        moods=("gritty", "laid-back", "dusty", "jazzy"),
    ),
    "lo-fi": Genre(
        ("lo-fi", "lo-fi hip hop", "chillhop", "study beats"), (68, 90), ("lo-fi", "boom bap"),
        (("boom bap", "whole", "sub"), (32, 33, 39)), (("pushed", "held", "charleston"),
        (4, 5, 26, 0)),
        (("alberti", "broken", "picking"), (24, 11, 108)), (("calm", "syncopated"),
        (11, 26, 66, 73)),
        _DEEP_MAJOR, _DEEP_MINOR, 0.5, 0.58, 0.5, room=0.3, drive=0.2,
        moods=("chill", "dusty", "mellow", "sleepy"),
    ),
    "trap": Genre(
        ("trap", "dark trap", "808 beat"), (120, 160), ("trap",), (("sub", "whole"), (39, 38)),
        (("held", "halves"), (89, 52, 88, 48)), (_ARPS, (10, 98, 9, 24)),
        (("calm", "syncopated"), (10, 73, 98, 80)), _STATIC_MAJOR, _STATIC_MINOR, 0.95,
        moods=("dark", "hard", "menacing", "moody"),
    ),
    "drum and bass": Genre(
        ("drum and bass", "dnb", "jungle", "liquid drum and bass"), (160, 178),
        ("breakbeat", "two-step"),
        (("reese", "sub", "whole"), (38, 39)), (("held", "halves"), (89, 90, 4, 48)),
        (_ARPS, (81, 98, 11)), (("calm", "syncopated"), (54, 81, 73)), _DEEP_MAJOR, _POP_MINOR, 0.8,
        moods=("fast", "energetic", "liquid", "rolling"),
    ),
    "funk": Genre(
        ("funk", "soul", "groove", "p-funk"), (88, 116), ("funk", "new orleans"),
        (("funk", "slap", "octaves"), (33, 36, 34)), (("funk", "stabs", "charleston"),
        (7, 28, 27, 16, 61)),
        (("picking", "broken"), (28, 7)), (("syncopated", "busy"), (61, 65, 56, 66)),
        ("I7 IV7", "I7 I7 IV7 I7", "I7 bVII IV7 I7"), _DEEP_MINOR, 0.5, 0.54, 0.5, room=0.1,
        moods=("groovy", "funky", "tight", "playful"),
    ),
    "reggae": Genre(
        ("reggae", "dub", "roots reggae", "rocksteady"), (66, 92), ("reggae one drop", "steppers"),
        (("one drop", "dub", "root fifth"), (33, 32, 35)), (("skank", "bubble", "offbeat"),
        (27, 16, 0)),
        (("picking", "broken"), (28, 27)), (("syncopated", "calm"), (57, 65, 61, 22)),
        _FOLK, _STATIC_MINOR, 0.45, 0.56, room=0.35, moods=("laid-back", "sunny", "heavy",
        "relaxed"),
    ),
    "bossa nova": Genre(
        ("bossa nova", "samba", "latin jazz", "brazilian"), (104, 144), ("bossa", "samba"),
        (("bossa", "samba"), (32, 33)), (("bossa", "charleston"), (24, 0, 26)),
        (("picking", "broken"), (24, 25)), (("syncopated", "flowing"), (73, 66, 71, 24)),
        _JAZZ_MAJOR, _JAZZ_MINOR, 0.35, moods=("breezy", "relaxed", "romantic", "sunny"),
    ),
    "salsa": Genre(
        ("salsa", "latin", "afro-cuban", "mambo"), (88, 120), ("salsa",), (("tumbao", "bossa"),
        (32, 33)),
        (("montuno", "stabs"), (0, 3, 61)), (("up down", "broken"), (0, 114)),
        (("syncopated", "busy"), (56, 61, 57, 73)), _FOLK, _CLASSIC_MINOR, 0.55,
        moods=("fiery", "festive", "lively", "danceable"),
    ),
    "afrobeat": Genre(
        ("afrobeat", "afro funk", "highlife"), (98, 124), ("afrobeat",), (("afro", "funk"),
        (33, 34)),
        (("stabs", "funk"), (16, 27, 61)), (("picking", "up down"), (27, 28, 108, 12)),
        (("syncopated", "flowing"), (61, 66, 56)), _FOLK, _STATIC_MINOR, 0.55,
        moods=("polyrhythmic", "sunny", "hypnotic", "lively"),
    ),
    "jazz": Genre(
        ("jazz", "swing", "bebop", "cool jazz"), (96, 180), ("jazz swing", "brushes"),
        (("walking",), (32, 32, 33)),
        (("charleston", "comp", "held"), (0, 26, 16)), (("broken", "up down"), (11, 26)),
        (("flowing", "syncopated", "busy"),
        (66, 65, 56, 59, 71, 26, 11)), _JAZZ_MAJOR, _JAZZ_MINOR, 0.35, 0.64,
        moods=("smoky", "cool", "sophisticated", "swinging"),
    ),
    "blues": Genre(
        ("blues", "electric blues", "slow blues", "shuffle"), (66, 126), ("shuffle", "rock"),
        (("walking", "root fifth", "eighths"), (33, 32, 34)),
        (("charleston", "quarters", "stabs"), (27, 18, 3, 0)),
        (("broken", "picking"), (25, 27)), (("syncopated", "flowing"), (29, 22, 26, 65)), _BLUES,
        ("i7 i7 iv7 i7", "i7 iv7 i7 v7"), 0.3, 0.64, drive=0.25, moods=("gritty", "soulful",
        "raw", "smoky"),
    ),
    "folk": Genre(
        ("folk", "acoustic", "country", "americana"), (84, 140), ("march", "pop"),
        (("root fifth", "whole"), (32, 33)), (("quarters", "pushed", "halves"), (25, 21, 24, 105)),
        (("picking", "alberti", "broken"), (25, 24, 105, 46)), (("flowing", "calm"),
        (40, 22, 73, 74, 78)),
        _FOLK, _CLASSIC_MINOR, 0.25, waltz=True, moods=("rustic", "warm", "heartfelt", "gentle"),
    ),
    "classical": Genre(
        ("classical", "chamber music", "orchestral", "baroque"), (60, 150), (),
        (("whole", "root fifth"), (42, 32)),
        (("held", "halves", "quarters"), (48, 19, 6, 52)), (("alberti", "up down", "broken"),
        (0, 46, 6, 45)),
        (("flowing", "calm", "busy"),
        (40, 42, 68, 71, 73, 60, 56, 0)), _CLASSIC_MAJOR, _CLASSIC_MINOR, 0.5,
        waltz=True, room=0.5, drive=0.0, moods=("elegant", "majestic", "delicate", "stately"),
    ),
    "ambient": Genre(
        ("ambient", "drone", "atmospheric", "new age"), (60, 92), ("ambient",), (("whole",),
        (39, 35, 42)),
        (("held",), (89, 88, 92, 95, 52, 53, 49)), (("up down", "broken", "up"),
        (46, 98, 11, 0, 88)),
        (("calm",), (73, 75, 42, 54, 0, 11)),
        ("Imaj7 IVmaj7", "Imaj7 vi7 IVmaj7 V", "Iadd9 IVadd9", "Imaj7 iii7"),
        ("i7 VImaj7", "i VI III VII", "iadd9 VImaj7"), 0.5, room=0.65, drive=0.0,
        moods=("dreamy", "ethereal", "calm", "floating", "meditative"),
    ),
    "cinematic": Genre(
        ("cinematic", "film score", "epic orchestral", "soundtrack"), (66, 140),
        ("march", "half time"),
        (("whole", "eighths"), (42, 38)), (("held", "halves", "eighths"), (48, 44, 61, 52, 60)),
        (("up down", "broken", "alberti"), (48, 45, 0, 46)), (("calm", "flowing"),
        (60, 56, 40, 52, 42)),
        _POP_MAJOR, _POP_MINOR, 0.75, waltz=True, room=0.5, moods=("epic", "tense", "dramatic",
        "heroic"),
    ),
    "chiptune": Genre(
        ("chiptune", "8-bit", "video game music"), (110, 176), ("rock", "four on the floor"),
        (("octaves", "eighths"), (39,)), (("gated", "stabs"), (80,)), (_ARPS, (80,)),
        (("busy", "flowing", "syncopated"),
        (80, 81)), _POP_MAJOR, _POP_MINOR, 0.4, room=0.0, drive=0.0,
        moods=("playful", "retro", "energetic", "happy"),
    ),
}  # fmt: skip
"""By plain name."""
