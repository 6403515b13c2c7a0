"""The instruments that the corpus knows: program, family, the words people use, the range."""

from __future__ import annotations

from dataclasses import dataclass

DRUMS = "drums"


@dataclass(frozen=True)
class Tone:
    """A General MIDI program as the corpus uses it.

    Attributes:
        family: what a listener would call its kind.
        names: words for it, the plainest first.
        low, high: MIDI notes between which it sounds like itself.
        sustains: whether notes hold for as long as they are played.
    """

    program: int
    family: str
    names: tuple[str, ...]
    low: int
    high: int
    sustains: bool = False

    @property
    def centre(self) -> float:
        return (self.low + self.high) / 2


TONES: dict[int, Tone] = {
    tone.program: tone
    for tone in (
        Tone(0, "piano", ("piano", "grand piano", "acoustic piano"), 45, 88),
        Tone(1, "piano", ("bright piano", "piano"), 48, 86),
        Tone(3, "piano", ("honky-tonk piano", "saloon piano"), 50, 84),
        Tone(4, "electric piano", ("electric piano", "tine piano", "e-piano"), 45, 84),
        Tone(5, "electric piano", ("FM electric piano", "electric piano", "digital piano"), 48, 84),
        Tone(6, "piano", ("harpsichord",), 48, 84),
        Tone(7, "electric piano", ("clavinet", "clav"), 45, 79),
        Tone(8, "mallet", ("celesta",), 62, 96),
        Tone(9, "mallet", ("glockenspiel", "bells"), 69, 98),
        Tone(10, "mallet", ("music box",), 64, 96),
        Tone(11, "mallet", ("vibraphone", "vibes"), 55, 88),
        Tone(12, "mallet", ("marimba",), 48, 88),
        Tone(13, "mallet", ("xylophone",), 62, 96),
        Tone(14, "mallet", ("tubular bells", "church bells"), 58, 80),
        Tone(16, "organ", ("organ", "drawbar organ", "electric organ"), 42, 86, True),
        Tone(18, "organ", ("rock organ", "organ", "overdriven organ"), 42, 84, True),
        Tone(19, "organ", ("church organ", "pipe organ"), 40, 84, True),
        Tone(21, "organ", ("accordion",), 52, 86, True),
        Tone(22, "organ", ("harmonica",), 60, 88, True),
        Tone(24, "guitar", ("nylon guitar", "classical guitar", "acoustic guitar"), 42, 78),
        Tone(25, "guitar", ("steel guitar", "acoustic guitar", "steel-string guitar"), 42, 78),
        Tone(26, "guitar", ("jazz guitar", "hollow-body guitar", "electric guitar"), 42, 78),
        Tone(27, "guitar", ("clean electric guitar", "clean guitar", "electric guitar"), 42, 79),
        Tone(28, "guitar", ("muted guitar", "palm-muted guitar"), 42, 74),
        Tone(
            29, "guitar", ("overdriven guitar", "crunchy guitar", "electric guitar"), 42, 81, True
        ),
        Tone(30, "guitar", ("distorted guitar", "distortion guitar", "metal guitar"), 42, 81, True),
        Tone(32, "bass", ("upright bass", "double bass", "acoustic bass"), 28, 52),
        Tone(33, "bass", ("electric bass", "bass guitar", "finger bass"), 28, 52),
        Tone(34, "bass", ("picked bass", "bass guitar"), 28, 52),
        Tone(35, "bass", ("fretless bass",), 28, 52),
        Tone(36, "bass", ("slap bass",), 28, 52),
        Tone(38, "bass", ("synth bass", "saw bass", "analog bass"), 28, 52, True),
        Tone(39, "bass", ("synth bass", "sub bass", "square bass"), 28, 52, True),
        Tone(40, "strings", ("violin", "fiddle"), 57, 91, True),
        Tone(42, "strings", ("cello",), 38, 69, True),
        Tone(44, "strings", ("tremolo strings",), 48, 84, True),
        Tone(45, "strings", ("pizzicato strings", "pizzicato"), 45, 86),
        Tone(46, "plucked", ("harp",), 43, 92),
        Tone(48, "strings", ("strings", "string section", "string ensemble"), 43, 88, True),
        Tone(49, "strings", ("slow strings", "lush strings", "strings"), 43, 86, True),
        Tone(50, "strings", ("synth strings", "string machine"), 45, 86, True),
        Tone(52, "voice", ("choir", "choir aahs", "vocal choir"), 48, 79, True),
        Tone(53, "voice", ("voice oohs", "oohs", "vocal oohs"), 48, 77, True),
        Tone(54, "voice", ("synth voice", "synth vox"), 52, 79, True),
        Tone(56, "brass", ("trumpet",), 55, 84, True),
        Tone(57, "brass", ("trombone",), 41, 69, True),
        Tone(59, "brass", ("muted trumpet",), 57, 82, True),
        Tone(60, "brass", ("french horn", "horn"), 41, 70, True),
        Tone(61, "brass", ("brass section", "brass", "horn section"), 45, 80, True),
        Tone(62, "brass", ("synth brass",), 45, 80, True),
        Tone(64, "reed", ("soprano sax", "saxophone"), 60, 86, True),
        Tone(65, "reed", ("alto sax", "saxophone", "sax"), 56, 80, True),
        Tone(66, "reed", ("tenor sax", "saxophone", "sax"), 46, 74, True),
        Tone(68, "reed", ("oboe",), 59, 86, True),
        Tone(70, "reed", ("bassoon",), 38, 65, True),
        Tone(71, "reed", ("clarinet",), 52, 86, True),
        Tone(72, "pipe", ("piccolo",), 72, 98, True),
        Tone(73, "pipe", ("flute",), 62, 91, True),
        Tone(74, "pipe", ("recorder",), 65, 91, True),
        Tone(75, "pipe", ("pan flute", "pan pipes"), 60, 86, True),
        Tone(78, "pipe", ("whistle", "whistling"), 69, 93, True),
        Tone(80, "synth lead", ("square lead", "chiptune lead", "synth lead"), 55, 88, True),
        Tone(81, "synth lead", ("saw lead", "synth lead", "analog lead"), 52, 88, True),
        Tone(86, "synth lead", ("fifths lead", "power synth lead"), 50, 80, True),
        Tone(88, "synth pad", ("new age pad", "synth pad", "glassy pad"), 50, 84, True),
        Tone(89, "synth pad", ("warm pad", "synth pad", "pad"), 45, 79, True),
        Tone(90, "synth pad", ("polysynth", "synth pad", "bright pad"), 48, 82, True),
        Tone(92, "synth pad", ("bowed glass pad", "synth pad"), 52, 84, True),
        Tone(95, "synth pad", ("sweep pad", "synth pad"), 48, 79, True),
        Tone(98, "mallet", ("crystal bells", "crystal synth"), 60, 92),
        Tone(104, "plucked", ("sitar",), 46, 74),
        Tone(105, "plucked", ("banjo",), 50, 79),
        Tone(107, "plucked", ("koto",), 50, 81),
        Tone(108, "mallet", ("kalimba", "thumb piano"), 58, 84),
        Tone(114, "mallet", ("steel drum", "steel pan"), 57, 84),
    )
}
"""By program."""

FAMILIES: tuple[str, ...] = (*sorted({tone.family for tone in TONES.values()}), DRUMS)
"""Every family that a stem can have, in a fixed order."""

DRUM_NAMES = ("drums", "drum kit", "beat", "drum loop", "groove", "breakbeat", "percussion")
