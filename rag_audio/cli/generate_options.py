"""The options of ``generate``, one name for each, so that its signature stays readable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag_audio import limits

Prompt = Annotated[str, typer.Argument(help="What the music should be like.", show_default=False)]
Out = Annotated[Path | None, typer.Option("--out", help="WAV, FLAC, MP3, OGG or Opus file.")]
Artist = Annotated[str | None, typer.Option(help="A licensed artist's style.")]
NamedReferences = Annotated[
    list[str] | None,
    typer.Option(help="Stem that must be used, or STEM@4-12 for a part of it; repeatable."),
]
SoundLike = Annotated[
    Path | None,
    typer.Option(help="Hummed: follow its melody; else find references like it."),
]
SoundAs = Annotated[
    str | None,
    typer.Option(help="melody or search: what --audio is for; left out, its sound decides."),
]
ScoreLike = Annotated[Path | None, typer.Option(help="Find references like this score.")]
Count = Annotated[
    int | None, typer.Option(min=0, max=limits.MOST_REFERENCES, help="How many to retrieve (3).")
]
Strength = Annotated[
    str | None,
    typer.Option(help="More than 0, at most 1: how far to leave the references' sound; or auto."),
]
Negative = Annotated[str, typer.Option(help="What it should not be.")]
Bpm = Annotated[float | None, typer.Option(min=limits.BPM.low, max=limits.BPM.high, help="Tempo.")]
WantedKey = Annotated[str | None, typer.Option(help="Such as 'A minor'.")]
TimeSignature = Annotated[str | None, typer.Option(help="Such as 3/4.")]
Bars = Annotated[
    int | None,
    typer.Option(min=1, max=limits.BAR.high, help="Length in bars, in place of seconds."),
]
Instrumentation = Annotated[str, typer.Option(help="Such as 'electric piano,upright bass'.")]
Mood = Annotated[str, typer.Option(help="Such as 'calm,dusty'.")]
Duration = Annotated[
    float | None,
    typer.Option(min=limits.DURATION_S.low, max=limits.DURATION_S.high, help="Seconds."),
]
Seed = Annotated[
    int | None, typer.Option(min=0, max=limits.SEED.high, help="Same seed, same music.")
]
Steps = Annotated[int | None, typer.Option(min=1, max=limits.STEPS.high, help="Denoising steps.")]
Guidance = Annotated[
    float | None, typer.Option(min=0, max=limits.GUIDANCE.high, help="How closely to follow words.")
]
Model = Annotated[str | None, typer.Option(help="Checkpoint: directory or hub id.")]
Variations = Annotated[int, typer.Option(min=1, max=limits.VARIATIONS.high, help="How many takes.")]
Channels = Annotated[str, typer.Option(help="How references reach the model.")]
Weights = Annotated[str | None, typer.Option(help="One per reference, or per --reference: 2,1,1.")]
Excluded = Annotated[list[str] | None, typer.Option(help="Never this stem.")]
AudioRights = Annotated[
    str | None, typer.Option(help="own or licensed: what you state about --audio.")
]
OlderPlan = Annotated[
    Path | None,
    typer.Option(help="Make this older plan (from --dry-run --json), if it is still allowed."),
]
SavePlan = Annotated[Path | None, typer.Option(help="Also write the plan here, as JSON.")]
MixingIn = Annotated[str, typer.Option(help="waveform or latent: where references are mixed.")]
LayersOf = Annotated[
    list[str] | None,
    typer.Option(help="drums=STEM or harmony=STEM: only that of a stem; may be repeated."),
]
Arrange = Annotated[str, typer.Option(help="Who plays in which bars: STEM:1-4,STEM:5-8.")]
Enforce = Annotated[
    str, typer.Option(help="tempo,key: make candidates, keep the best, conform what is off.")
]
Candidates = Annotated[
    int | None,
    typer.Option(
        min=1, max=limits.CANDIDATES.high, help="How many takes --enforce chooses from (4)."
    ),
]
BestEffort = Annotated[
    bool, typer.Option(help="Exit with 0 although what --enforce asks for was not met.")
]
MidiInstruments = Annotated[
    str, typer.Option(help="General MIDI names that play the scores, such as Vibraphone.")
]
Influence = Annotated[
    str, typer.Option(help="none, fast or exact: measure what each source did; costs runs.")
]
Subtype = Annotated[
    str | None, typer.Option(help="16, 24, 32f; opus in an .ogg file. Default: 24, Vorbis.")
]
Picture = Annotated[
    Path | None, typer.Option(help="Draw waveform, spectrogram and sources into this PNG.")
]
BatchFile = Annotated[
    Path | None,
    typer.Option(help="CSV or JSONL of requests, a row each; --out is then a folder."),
]
DryRun = Annotated[bool, typer.Option(help="Print the plan and make nothing.")]
