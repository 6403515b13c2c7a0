"""Which General MIDI instrument words speak of."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORDS: tuple[tuple[str, str], ...] = (
    ("Electric Piano 1", "electric piano|e-piano|rhodes|keys"),
    ("Electric Piano 2", "fm piano|dx piano"),
    ("Honky-tonk Piano", "honky-tonk( piano)?"),
    ("Acoustic Grand Piano", "(grand |upright |acoustic |felt )?piano"),
    ("Harpsichord", "harpsichord|cembalo"),
    ("Clavinet", "clavinet|clav"),
    ("Celesta", "celesta|celeste"),
    ("Glockenspiel", "glockenspiel|bells?"),
    ("Music Box", "music box"),
    ("Vibraphone", "vibraphone|vibes"),
    ("Marimba", "marimba"),
    ("Xylophone", "xylophone"),
    ("Tubular Bells", "tubular bells?|chimes"),
    ("Dulcimer", "dulcimer|zither"),
    ("Church Organ", "(church|pipe) organ"),
    ("Reed Organ", "reed organ|harmonium"),
    ("Drawbar Organ", "(drawbar |jazz |hammond )?organ"),
    ("Accordion", "accordion"),
    ("Harmonica", "harmonica"),
    ("Acoustic Guitar (steel)", "steel(-string)? guitar|western guitar|folk guitar"),
    ("Distortion Guitar", "(distorted|distortion|heavy|metal) guitars?"),
    ("Overdriven Guitar", "overdriven guitars?|rock guitars?"),
    ("Electric Guitar (jazz)", "jazz guitar"),
    ("Electric Guitar (clean)", "(clean )?electric guitars?|clean guitar"),
    ("Acoustic Guitar (nylon)", "((nylon(-string)?|acoustic|classical|spanish) )?guitars?"),
    ("Acoustic Bass", "(upright|double|acoustic) bass"),
    ("Fretless Bass", "fretless bass"),
    ("Slap Bass 1", "slap bass"),
    ("Synth Bass 1", "(synth|sub|acid) bass(line)?"),
    ("Electric Bass (finger)", "(electric )?bass( guitar)?|bassline"),
    ("Violin", "violins?"),
    ("Fiddle", "fiddle"),
    ("Viola", "viola"),
    ("Cello", "cellos?"),
    ("Contrabass", "contrabass"),
    ("Pizzicato Strings", "pizzicato( strings)?"),
    ("Synth Strings 1", "synth strings"),
    ("String Ensemble 1", "strings?( ensemble| section| orchestra)?|orchestra"),
    ("Orchestral Harp", "harps?"),
    ("Choir Aahs", "choir|choral|aahs"),
    ("Voice Oohs", "voices?|vocals?|oohs"),
    ("Muted Trumpet", "muted trumpet"),
    ("Trumpet", "trumpets?|cornet"),
    ("Trombone", "trombones?"),
    ("Tuba", "tuba"),
    ("French Horn", "(french )?horns?"),
    ("Brass Section", "brass( section)?"),
    ("Soprano Sax", "soprano sax(ophone)?"),
    ("Alto Sax", "alto sax(ophone)?"),
    ("Baritone Sax", "bari(tone)? sax(ophone)?"),
    ("Tenor Sax", "(tenor )?sax(ophone)?"),
    ("Oboe", "oboe"),
    ("English Horn", "english horn|cor anglais"),
    ("Bassoon", "bassoon"),
    ("Clarinet", "clarinets?"),
    ("Piccolo", "piccolo"),
    ("Flute", "flutes?"),
    ("Recorder", "recorder"),
    ("Pan Flute", "pan ?(flute|pipes?)"),
    ("Shakuhachi", "shakuhachi"),
    ("Ocarina", "ocarina"),
    ("Whistle", "(tin )?whistle"),
    ("Pad 2 (warm)", "(warm |synth )?pads?"),
    ("Lead 2 (sawtooth)", "(saw(tooth)? |synth )?leads?|synth(esi[sz]er)?|arp"),
    ("Lead 1 (square)", "square lead|chiptune|8-bit"),
    ("Sitar", "sitar"),
    ("Banjo", "banjo"),
    ("Shamisen", "shamisen"),
    ("Koto", "koto"),
    ("Kalimba", "kalimba|thumb piano"),
    ("Bagpipe", "bagpipes?"),
    ("Steel Drums", "steel drums?|steel pan"),
)
_PATTERNS = tuple((name, re.compile(rf"(?<![\w-])(?:{words})(?![\w-])")) for name, words in _WORDS)
_NOT = re.compile(r"(?:\bno|\bnot|\bwithout)(?: an?| any| the)? (?:\w+ )?$")
_LOW = frozenset({
    "Acoustic Bass", "Fretless Bass", "Slap Bass 1", "Synth Bass 1", "Electric Bass (finger)",
    "Contrabass", "Tuba",
})  # fmt: skip
_DEEP = frozenset({"Cello", "Bassoon", "Trombone", "Baritone Sax"})
_HIGH = frozenset({"Piccolo", "Glockenspiel", "Celesta", "Music Box", "Xylophone", "Whistle"})


def instrument_in(text: str) -> str | None:
    """The General MIDI name of the instrument that a text names first; None where it names none.

    Of names that begin at the same word the longest counts ("electric piano" before "piano"). What
    follows "no" or "without" does not count.
    """
    lowered = " ".join(text.casefold().split())
    found = [
        (match.start(), -len(match.group()), name)
        for name, pattern in _PATTERNS
        for match in pattern.finditer(lowered)
        if _NOT.search(lowered[: match.start()]) is None
    ]
    return min(found)[2] if found else None


def first_instrument(texts: Iterable[str]) -> str | None:
    """The instrument of the first text that names one."""
    return next((name for text in texts if (name := instrument_in(text)) is not None), None)


def middle_of(instrument: str) -> int:
    """The MIDI pitch about which an instrument plays melodies."""
    if instrument in _LOW:
        return 40
    if instrument in _DEEP:
        return 52
    return 79 if instrument in _HIGH else 67
