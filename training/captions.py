"""Facts into words, in the manners in which people write prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rag_audio.domain import Key
from training.genres import GENRES
from training.palette import DRUM_NAMES, TONES
from training.pieces import Facts

Rng = np.random.Generator

_SHARPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_FLATS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
_ROLE_WORDS = {
    "bass": ("bassline", "bass line", "bass loop", "bass groove"),
    "chords": ("chords", "chord progression", "chord loop", "comping"),
    "arpeggio": ("arpeggio", "arp", "arpeggiated pattern", "picking pattern"),
    "melody": ("melody", "lead line", "solo", "tune", "riff"),
}
_SPEEDS = ((76, ("slow", "downtempo")), (104, ("mid-tempo", "moderate")),
           (132, ("upbeat", "uptempo")), (999, ("fast", "high-energy")))  # fmt: skip


def caption(facts: Facts, seed: int) -> str:
    """One of many true descriptions; the same seed gives the same one."""
    rng = np.random.default_rng([seed, 21])
    manner = rng.random()
    if manner < 0.45:
        return _tags(facts, rng)
    return _sentence(facts, rng) if manner < 0.85 else _brief(facts, rng)


def near_miss(facts: Facts, seed: int) -> str:
    """A caption that is true but for one thing (tempo, key or an instrument), and says that."""
    rng = np.random.default_rng([seed, 22])
    kinds = ["tempo", "instrument"] + (["key"] if facts.key else [])
    kind = kinds[int(rng.integers(len(kinds)))]
    changed = facts
    if kind == "key" and facts.key is not None:
        shift = int(rng.integers(1, 12))
        key = Key((facts.key.tonic + shift) % 12, facts.key.minor)
        changed = replace(facts, key=key, mode="minor" if key.minor else "major")
    elif kind == "tempo":
        ratio = float(rng.uniform(1.12, 1.45))
        bpm = facts.bpm * (ratio if rng.random() < 0.5 else 1 / ratio)
        changed = replace(facts, bpm=float(round(bpm)))
    else:
        changed = _other_instrument(facts, rng)
    return _tags(changed, rng, full=True)


def _other_instrument(facts: Facts, rng: Rng) -> Facts:
    at = int(rng.integers(len(facts.programs)))
    others = [t for t in TONES.values() if t.family not in facts.families]
    tone = others[int(rng.integers(len(others)))]
    programs, families = list(facts.programs), list(facts.families)
    names, roles = list(facts.instruments), list(facts.roles)
    programs[at], families[at], names[at] = tone.program, tone.family, tone.names[0]
    if roles[at] == "drums":
        roles[at] = "melody"
    return replace(
        facts, programs=tuple(programs), families=tuple(families), instruments=tuple(names),
        roles=tuple(roles), drums="drums" in roles,
    )  # fmt: skip


def _pick(options: Sequence[str], rng: Rng) -> str:
    """Earlier words are plainer, and likelier."""
    weights = np.array([1.0 / (k + 1.5) for k in range(len(options))])
    return options[int(rng.choice(len(options), p=weights / weights.sum()))]


def key_words(key: Key, mode: str, rng: Rng) -> str:
    """``A minor``, ``Am``, ``a min``, ``Bb major``, ``A#``-spellings, ``D dorian``."""
    name = (_FLATS if rng.random() < 0.5 else _SHARPS)[key.tonic]
    if mode not in ("major", "minor", "") and rng.random() < 0.6:
        return f"{name} {mode}"
    quality = "minor" if key.minor else "major"
    forms = [f"{name} {quality}"] * 5 + [
        f"{name}{'m' if key.minor else ''}",
        f"{name} {quality[:3]}",
    ]
    spoken = name.replace("#", " sharp").replace("b", " flat")
    if len(name) > 1:
        forms.append(f"{spoken} {quality}")
    return forms[int(rng.integers(len(forms)))]


def tempo_words(bpm: float, rng: Rng) -> str:
    """``120 bpm``, ``120BPM``, ``at 120 beats per minute``…"""
    n = f"{bpm:.0f}"
    forms = (f"{n} bpm", f"{n} bpm", f"{n} BPM", f"{n}bpm", f"{n} beats per minute", f"tempo {n}")
    return forms[int(rng.integers(len(forms)))]


def _speed(bpm: float, rng: Rng) -> str:
    return _pick(next(words for limit, words in _SPEEDS if bpm < limit), rng)


def _voices(facts: Facts, rng: Rng) -> list[str]:
    """Words for each voice, the lead first."""
    said = []
    for program, role in zip(facts.programs, facts.roles, strict=True):
        if role == "drums":
            said.append(_pick(DRUM_NAMES, rng))
            continue
        name = _pick(TONES[program].names, rng)
        role_word = _pick(_ROLE_WORDS[role], rng)
        if role == "bass":
            said.append(name if rng.random() < 0.5 else f"{name.replace(' bass', '')} {role_word}")
        elif rng.random() < (0.6 if facts.kind == "stem" else 0.35):
            said.append(f"{name} {role_word}")
        else:
            said.append(name)
    return said[::-1]


def _solo(facts: Facts, rng: Rng) -> str:
    """The one voice of a stem, sometimes said to be alone."""
    (voice,) = _voices(facts, rng)
    form = ("{}", "{}", "{}", "solo {}", "{} stem", "isolated {}", "{} loop", "just {}")
    return form[int(rng.integers(len(form)))].format(voice)


def _tags(facts: Facts, rng: Rng, *, full: bool = False) -> str:
    """Comma-separated tags in any order, some left out."""
    fields = [_solo(facts, rng)] if facts.kind == "stem" else _voices(facts, rng)
    if len(fields) > 2 and rng.random() < 0.3:
        fields.pop()
    if rng.random() < 0.7:
        fields.insert(0, _pick(GENRES[facts.genre].words, rng))
    if rng.random() < 0.45:
        fields.append(facts.mood)
    if rng.random() < 0.15:
        fields.append(_speed(facts.bpm, rng))
    if full or rng.random() < 0.75:
        fields.append(tempo_words(facts.bpm, rng))
    if facts.key is not None and (full or rng.random() < 0.7):
        fields.append(
            ("key of " if rng.random() < 0.15 else "") + key_words(facts.key, facts.mode, rng)
        )
    if facts.time_signature[0] == 3 and rng.random() < 0.6:
        fields.append("3/4" if rng.random() < 0.5 else "waltz time")
    if rng.random() < 0.5:
        fields = [fields[i] for i in rng.permutation(len(fields))]
    text = ("; " if rng.random() < 0.1 else ", ").join(fields)
    return text if rng.random() < 0.75 else text[0].upper() + text[1:]


def _sentence(facts: Facts, rng: Rng) -> str:
    """A sentence with fields in the usual places."""
    genre = _pick(GENRES[facts.genre].words, rng)
    mood = f"{facts.mood} " if rng.random() < 0.6 else ""
    if facts.kind == "stem":
        subject = f"{mood}{_solo(facts, rng)}"
        subject += f" for a {genre} track" if rng.random() < 0.4 else ""
        subject = f"{genre} {subject}" if rng.random() < 0.3 and "track" not in subject else subject
    else:
        voices = _voices(facts, rng)
        listed = voices[0] if len(voices) == 1 else ", ".join(voices[:-1]) + " and " + voices[-1]
        noun = ("track", "piece", "groove", "loop", "song")[int(rng.integers(5))]
        subject = f"{mood}{genre} {noun} with {listed}"
    key = tempo = ""
    if facts.key is not None and rng.random() < 0.75:
        key = f" in {key_words(facts.key, facts.mode, rng)}"
    if rng.random() < 0.8:
        tempo = (" at " if rng.random() < 0.7 else ", ") + tempo_words(facts.bpm, rng)
    text = subject + (key + tempo if rng.random() < 0.6 else tempo + key)
    lead = ("", "", "", "a ", "I want a ", "make a ")[int(rng.integers(6))]
    article = lead.replace(" a ", " an ") if text[0] in "aeiou" else lead
    article = "an " if article == "a " and text[0] in "aeiou" else article
    text = article + text
    return text if rng.random() < 0.6 else text[0].upper() + text[1:] + "."


def _brief(facts: Facts, rng: Rng) -> str:
    """A few words."""
    voice = _voices(facts, rng)[0]
    forms = [
        f"{_pick(GENRES[facts.genre].words, rng)} {voice}",
        f"{facts.mood} {voice}",
        f"{_speed(facts.bpm, rng)} {voice}",
        f"{voice} {tempo_words(facts.bpm, rng)}",
    ]
    if facts.key is not None:
        forms.append(f"{voice} {key_words(facts.key, facts.mode, rng)}")
    return forms[int(rng.integers(len(forms)))]
