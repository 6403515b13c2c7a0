"""Whether the name of a folder looks like an artist's, for a starter that a person will read."""

from __future__ import annotations

import re

from indexer.name_hints import NameHints, hints_of

_MOST_WORDS = 6
_LONGEST = 80
_FORMULA = tuple("=+-@\t\r")
"""With these a spreadsheet takes a cell for a formula."""

# Words of folders that hold kinds of sound, formats or steps of work.
_COMMON = frozenset(
    "audio sound sounds sample samples loop loops stem stems track tracks song songs music midi "
    "mid wav wave waves flac mp3 aif aiff ogg drum drums kick kicks snare snares hat hats hihat "
    "hihats clap claps perc percs percussion percussions cymbal cymbals tom toms break breaks "
    "breakbeats bass basses sub subs guitar guitars piano pianos key keys keyboard keyboards "
    "organ organs synth synths lead leads pad pads pluck plucks arp arps chord chords melody "
    "melodies melodic string strings brass horn horns sax woodwind woodwinds flute vocal vocals "
    "vox voice voices acapella acapellas choir choirs fx sfx effect effects riser risers impact "
    "impacts atmosphere atmospheres ambience ambiences texture textures foley noise oneshot "
    "oneshots one shot shots hit hits fill fills top tops full mix mixes mixed master masters "
    "mastered mixdown mixdowns bounce bounces export exports render renders recording "
    "recordings session sessions project projects take takes raw edit edits final finals draft "
    "drafts demo demos old new backup backups archive archives tmp temp misc other others "
    "unsorted various artists artist compilation compilations va album albums ep eps single "
    "singles release releases catalog catalogue library libraries label labels pack packs kit "
    "kits preset presets instrument instruments construction vol volume part disc disk cd side "
    "data files folder incoming inbox delivery deliveries dry wet stereo mono left right live "
    "acoustic electronic house techno trance dubstep trap hiphop hip hop rap rnb soul funk "
    "disco jazz blues rock metal punk pop folk country reggae dub dancehall ambient cinematic "
    "classical lofi lo fi dnb jungle garage edm latin afro afrobeat world orchestral score "
    "scores bpm and the of for a in to by from all my untitled media content resources "
    "assets".split()
)

_OF_BANDS = frozenset("the of and my soul world house funk".split())
"""Common words with which names of bands begin or end as well."""


def artist_of_folder(name: str) -> str:
    """The artist that a folder is named after, else empty: ``Velda Quarn``, ``velda-quarn`` and
    ``Velda Quarn - Last Tram EP`` name one, ``Drums``, ``Vol. 2`` and ``120bpm`` do not."""
    first, dash, _ = name.partition(" - ")
    spaced = first if dash or " " in first else re.sub(r"[-_]+", " ", first)
    words = spaced.replace("_", " ").split()
    if not 0 < len(words) <= _MOST_WORDS or any(word[0].isdigit() for word in words):
        return ""
    if hints_of(f"{first}/x") != NameHints() or not any(len(word) > 1 for word in words):
        return ""
    plain = [re.sub(r"\W", "", word).casefold() for word in words]
    if not any(plain) or all(word in _COMMON or not word for word in plain):
        return ""
    if {plain[0], plain[-1]} & (_COMMON - _OF_BANDS):
        return ""
    artist = " ".join(words)
    return spoken_name(artist.title() if artist.islower() and artist.isascii() else artist)


def spoken_name(artist: str) -> str:
    """The name, fit for a cell of a table; empty where a spreadsheet would take it for a formula,
    or it is too long for a name."""
    name = " ".join("".join(sign if sign.isprintable() else " " for sign in artist).split())
    return "" if name.startswith(_FORMULA) or len(name) > _LONGEST else name
