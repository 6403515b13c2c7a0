"""Controls in the words that a family of checkpoints is asked in: one template per family."""

from __future__ import annotations

from dataclasses import dataclass

from rag_audio.domain import Controls, Key


@dataclass(frozen=True)
class Wording:
    """Templates, each with one ``{}``: of an instrument, a mood, the tempo, the key, a metre."""

    instrument: str
    mood: str
    tempo: str
    key: str
    time_signature: str


# The own examples of both families write the tempo in capitals: "128 BPM tech house drum loop"
# (model card of Stable Audio Open 1.0), "120 BPM house loop" (inference guide of
# Stability-AI/stable-audio-3). Neither shows a key or a metre; those are put plainly, and how well
# they are followed is not known but for the embedded checkpoint, whose captions have "A minor" and
# "3/4", and whose tokenizer tells no capitals from small letters.
WORDINGS = {
    "stable-audio": Wording("{}", "{}", "{} BPM", "{}", "{} time"),
    "stable-audio-3": Wording("{}", "{}", "{} BPM", "{}", "{}"),
}


def wording_of(family: str) -> Wording:
    """The templates of a family; an unknown one is spoken to like Stable Audio 3."""
    return WORDINGS.get(family, WORDINGS["stable-audio-3"])


def tempo_and_key_words(
    wording: Wording, bpm: float | None = None, key: Key | None = None
) -> tuple[str, ...]:
    """Tempo, then key, in words."""
    tempo = () if bpm is None else (wording.tempo.format(f"{bpm:.0f}"),)
    return tempo if key is None else (*tempo, wording.key.format(key))


def words_before(wording: Wording, controls: Controls) -> tuple[str, ...]:
    """What stands before tempo and key: instruments and moods."""
    instruments = (wording.instrument.format(_plain(word)) for word in controls.instrumentation)
    return (*instruments, *(wording.mood.format(_plain(word)) for word in controls.mood))


def words_after(wording: Wording, controls: Controls) -> tuple[str, ...]:
    """What stands after them: the metre. Four quarters are what models play unasked."""
    if controls.time_signature is None or controls.time_signature == (4, 4):
        return ()
    beats, unit = controls.time_signature
    return (wording.time_signature.format(f"{beats}/{unit}"),)


def _plain(text: str) -> str:
    return " ".join(text.split())
