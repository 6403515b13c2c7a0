"""Requests for music from the two real libraries of :mod:`benchmarks.real_material`.

Each names a tempo, an instrument or family that the libraries hold, mostly a mood, and a key unless
it is for drums. Words are as people type them; the tempo and key are fields of the request, as a
musician would set them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Which files hold an instrument: recordings by patterns of names, scores by program names.

    ``without`` are words of program names that are another instrument all the same.
    """

    files: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


_KIT = ("drum_*", "bd_*", "sn_*", "elec_*snare", "elec_*kick", "elec_cymbal", "elec_fuzz_tom")
_BEATS = (
    "loop_amen*", "loop_breakbeat", "loop_compus", "loop_electric", "loop_garzul",
    "loop_industrial", "loop_mehackit*", "loop_mika", "loop_perc*", "loop_safari", "loop_tabla",
    "loop_weirdo",
)  # fmt: skip

FAMILIES = {
    "drums": Family((*_BEATS, *_KIT), ("drums",)),
    "tabla": Family(("tabla_*", "loop_tabla")),
    "percussion": Family(
        (*_BEATS, *_KIT, "tabla_*", "perc_*", "glitch_perc*", "elec_*"), ("drums", "agogo")
    ),
    "piano": Family(("ambi_piano",), ("piano",)),
    "guitar": Family(("guit_*",), ("guitar",), ("fret noise",)),
    "electric guitar": Family(
        ("guit_*",), ("guitar (jazz", "guitar (clean", "guitar (mut", "overdriven", "distortion")
    ),
    "acoustic guitar": Family(("guit_*",), ("guitar (steel", "guitar (nylon")),
    "bass": Family(("bass_*", "glitch_bass_g"), ("bass",), ("bass + lead",)),
    "harp": Family((), ("harp",), ("harpsichord",)),
    "flute": Family((), ("flute", "ocarina", "whistle", "blown bottle")),
    "brass": Family((), ("trumpet", "trombone", "brass", "french horn")),
    "saxophone": Family((), ("sax",)),
    "accordion": Family((), ("accordion",)),
    "harpsichord": Family((), ("harpsichord", "clavinet")),
    "bells": Family(
        ("elec_bell", "perc_bell*", "elec_chime", "elec_triangle", "drum_cowbell"),
        ("vibraphone", "celesta", "music box"),
    ),
    "vibraphone": Family((), ("vibraphone",)),
    "music box": Family((), ("music box", "celesta")),
    "xylophone": Family((), ("xylophone", "marimba")),
    "strings": Family((), ("strings", "string ensemble", "violin")),
    "choir": Family(("ambi_choir",), ("choir", "voice")),
    "organ": Family((), ("organ",)),
    "synth": Family(("bass_trance_c", "ambi_soft_buzz"), ("synth", "lead", "pad")),
    "ambient": Family(("ambi_*", "loop_drone_g_97"), ("pad", "fx")),
}
"""By name. The scores' drums are one program here, ``drums``."""

PERCUSSIVE = ("drums", "tabla", "percussion")
"""Families without pitch: their requests name no key."""


@dataclass(frozen=True)
class Asked:
    """One request. ``key`` is None where drums are asked for; ``family`` is of FAMILIES."""

    words: str
    bpm: float
    key: str | None
    family: str


REQUESTS: Sequence[Asked] = (
    # Interleaved, so that the first N of them are a mixture too: one of three for drums.
    Asked("drum loop with a hard kick", 140, None, "drums"),
    Asked("slow sad piano", 72, "A minor", "piano"),
    Asked("funky electric guitar riff", 108, "E minor", "electric guitar"),
    Asked("breakbeat, dusty and energetic", 165, None, "drums"),
    Asked("calm harp melody", 84, "C major", "harp"),
    Asked("playful flute tune", 126, "G major", "flute"),
    Asked("tabla groove, hypnotic", 96, None, "tabla"),
    Asked("deep synth bass line", 128, "F minor", "bass"),
    Asked("warm acoustic guitar, relaxed", 92, "D major", "acoustic guitar"),
    Asked("fast amen break", 170, None, "drums"),
    Asked("smoky saxophone, late night", 88, "B♭ major", "saxophone"),
    Asked("tango accordion, passionate", 116, "D minor", "accordion"),
    Asked("lo-fi drum beat, lazy", 78, None, "drums"),
    Asked("bright ragtime piano", 132, "F major", "piano"),
    Asked("choir, solemn and slow", 66, "E♭ major", "choir"),
    Asked("techno drums", 130, None, "drums"),
    Asked("vibraphone, cool and jazzy", 112, "C minor", "vibraphone"),
    Asked("orchestral strings, tense", 136, "B minor", "strings"),
    Asked("industrial percussion loop", 120, None, "percussion"),
    Asked("music box lullaby, gentle", 76, "G major", "music box"),
    Asked("trumpet fanfare, triumphant", 104, "B♭ major", "brass"),
    Asked("hip hop drums, heavy", 90, None, "drums"),
    Asked("harpsichord, baroque and lively", 124, "G minor", "harpsichord"),
    Asked("dark ambient drone", 60, "D minor", "ambient"),
    Asked("jungle drums, frantic", 174, None, "drums"),
    Asked("church organ, majestic", 80, "C major", "organ"),
    Asked("xylophone, funny and quick", 150, "C major", "xylophone"),
    Asked("rock drum groove", 118, None, "drums"),
    Asked("distorted rock guitar, aggressive", 160, "E minor", "electric guitar"),
    Asked("upbeat brass section", 144, "F major", "brass"),
    Asked("minimal percussion, sparse", 100, None, "percussion"),
    Asked("slap bass, funky", 110, "A minor", "bass"),
    Asked("bells, magical and soft", 94, "A major", "bells"),
    Asked("house beat", 124, None, "drums"),
    Asked("honky-tonk piano, cheerful", 140, "C major", "piano"),
    Asked("dreamy synth pad", 70, "F# minor", "synth"),
    Asked("batterie rapide", 155, None, "drums"),
    Asked("guitare acoustique douce", 82, "A minor", "acoustic guitar"),
    Asked("Klavier langsam traurig", 64, "E minor", "piano"),
    Asked("Schlagzeug, treibend", 135, None, "drums"),
    Asked("flauta alegre", 120, "D major", "flute"),
    Asked("ピアノ、静か", 86, "F major", "piano"),
    Asked("drum and bass beat, dark", 172, None, "drums"),
    Asked("тёмный бас", 98, "G minor", "bass"),
    Asked("ギター、明るい", 114, "G major", "guitar"),
    Asked("gritty electronic beat", 112, None, "drums"),
    Asked("jazz guitar, mellow", 102, "F major", "electric guitar"),
    Asked("ocarina, innocent", 90, "A minor", "flute"),
    Asked("trip hop drums, smoky", 82, None, "drums"),
    Asked("pizzicato strings, sneaky", 128, "D minor", "strings"),
    Asked("clean electric guitar, dreamy", 76, "B minor", "electric guitar"),
    Asked("tabla, fast and ecstatic", 144, None, "tabla"),
    Asked("grand piano, romantic", 68, "D♭ major", "piano"),
    Asked("walking upright bass, swinging", 138, "B♭ major", "bass"),
    Asked("glitchy percussion", 126, None, "percussion"),
    Asked("square lead, retro video game", 150, "C major", "synth"),
    Asked("alto sax solo, soulful", 94, "E♭ major", "saxophone"),
    Asked("snare and kick, marching", 108, None, "drums"),
    Asked("drawbar organ, groovy", 122, "D minor", "organ"),
    Asked("muted guitar, urgent", 168, "A minor", "electric guitar"),
    Asked("funk drums", 104, None, "drums"),
    Asked("steel guitar, country and sunny", 120, "G major", "guitar"),
    Asked("celesta, icy and mysterious", 88, "C# minor", "music box"),
    Asked("slow heavy drums", 66, None, "drums"),
    Asked("haunting choir with pads", 74, "G minor", "choir"),
    Asked("sawtooth lead, driving trance", 138, "A minor", "synth"),
    Asked("electro beat, robotic", 116, None, "drums"),
    Asked("harp arpeggios, sunny", 106, "E major", "harp"),
    Asked("trombones, comic", 98, "B♭ major", "brass"),
    Asked("tribal percussion, earthy", 92, None, "percussion"),
    Asked("electric piano, smooth", 86, "C minor", "piano"),
    Asked("accordion waltz, nostalgic", 132, "G major", "accordion"),
    Asked("beat with a tight hi-hat", 146, None, "drums"),
    Asked("whistling, carefree", 110, "C major", "flute"),
    Asked("ambient piano, lonely", 62, "B minor", "piano"),
    Asked("dubstep drums, menacing", 142, None, "drums"),
    Asked("acid synth bass, hypnotic", 132, "C minor", "bass"),
    Asked("nylon guitar, intimate", 72, "E minor", "acoustic guitar"),
    Asked("percussion élégante et lente", 80, None, "percussion"),
    Asked("violin, melancholic", 78, "G minor", "strings"),
    Asked("piano boogie, rousing", 156, "C major", "piano"),
    Asked("ドラムループ", 125, None, "drums"),
    Asked("harpsichord and brass, pompous", 90, "D major", "harpsichord"),
    Asked("glass pads, floating", 64, "E minor", "ambient"),
    Asked("барабаны, быстро", 160, None, "drums"),
    Asked("медленное пианино", 70, "C minor", "piano"),
    Asked("guitarra eléctrica, rápida", 152, "D minor", "electric guitar"),
    Asked("batería lenta", 74, None, "drums"),
    Asked("Glocken, feierlich", 84, "F major", "bells"),
    Asked("orgue joyeux", 118, "G major", "organ"),
    Asked("shuffle drums, bluesy", 96, None, "drums"),
    Asked("fretless bass, warm", 84, "A♭ major", "bass"),
    Asked("overdriven guitar, heroic", 134, "G minor", "electric guitar"),
    Asked("garage beat, bouncy", 132, None, "drums"),
    Asked("marimba, tropical", 116, "F major", "xylophone"),
    Asked("tenor sax, sultry", 76, "F minor", "saxophone"),
    Asked("latin percussion, festive", 106, None, "percussion"),
    Asked("string ensemble, hopeful", 100, "D major", "strings"),
    Asked("piano and bass, groovy", 120, "E minor", "piano"),
    Asked("big beat drums, loud", 128, None, "drums"),
    Asked("french horn, noble", 82, "E♭ major", "brass"),
    Asked("synth bass and lead, 80s", 112, "A minor", "synth"),
    Asked("very fast drums", 180, None, "drums"),
    Asked("blues guitar, rough", 92, "A major", "guitar"),
    Asked("vibraphone, dreamlike and slow", 68, "F# minor", "vibraphone"),
)
