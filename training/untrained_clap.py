"""Writes ``data/models/clap-mini`` with random weights: what the product runs on before training.

The layout is the one every CLAP checkpoint of this project has: ``ClapModel.save_pretrained`` in
float16 safetensors, the feature extractor, the tokenizer, ``rag_audio.json`` and a model card.

Run it::

    python -m training.untrained_clap data/models/clap-mini
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

WORDS = """
a an and at the with without of in on by for to from over under into like between bright dark warm
cold soft hard loud quiet slow fast mellow aggressive dreamy moody happy sad calm tense gritty
clean dirty lush sparse dense dry wet wide narrow deep high low rich thin vintage modern analog
digital electric acoustic live programmed humanised swung straight syncopated driving laid back
steady loose tight groove groovy rhythm rhythmic melodic harmonic percussive ambient atmospheric
cinematic epic minimal drone noise texture pulse pulsing staccato legato plucked bowed strummed
picked muted slapped tempo bpm beats per minute beat bar bars time signature key major minor mode
dorian phrygian lydian mixolydian aeolian locrian pentatonic blues chromatic sharp flat c d e f g
a b scale chord chords progression arpeggio arpeggiated melody bassline bass line lead riff hook
loop fill break breakbeat intro verse chorus bridge outro solo theme motif ostinato counterpoint
harmony unison octave fifth drum drums kick snare hat hats hihat cymbal ride crash tom toms clap
claps rimshot shaker tambourine cowbell conga bongo percussion kit machine sample sampled piano
keys keyboard rhodes wurlitzer organ hammond clavinet harpsichord celesta glockenspiel vibraphone
marimba xylophone bells chimes kalimba guitar acoustic electric nylon steel twelve string banjo
mandolin ukulele harp sitar koto lute violin viola cello contrabass strings ensemble orchestra
orchestral quartet brass trumpet trombone horn tuba section saxophone sax alto tenor soprano
baritone clarinet oboe bassoon flute piccolo recorder whistle accordion harmonica synth
synthesizer pad pads pluck stab sub reese acid saw square sine wave fm subtractive wavetable
vocoder choir voice vocal hum chant reverb delay echo chorus phaser flanger distortion overdrive
saturation compression tape vinyl crackle lofi lo fi hi fi sidechain filter sweep riser impact
house techno trance electro drum and bass jungle dubstep garage grime trap hip hop boom bap rap
rnb soul funk disco jazz bebop swing bossa nova samba latin salsa cumbia reggae ska dub afrobeat
highlife rock punk metal indie pop folk country bluegrass gospel classical baroque romantic waltz
tango march ballad shanty lullaby chiptune game synthwave vaporwave downtempo chillout trip
industrial experimental world celtic nordic eastern western one two three four five six seven
eight nine ten half double time triplet sixteenth eighth quarter note notes short long single
instrument instruments track stem stems full mix music song piece recording instrumental
"""
"""Words of music that the tokenizer is made from; general vocabulary, in no order of merit."""

SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]

CARD = """---
license: cc0-1.0
library_name: transformers
tags: [clap, audio, music]
untrained: true
---
# clap-mini (untrained)

A `transformers.ClapModel` with {parameters:,} parameters and **random weights**, made by
`training/untrained_clap.py` with seed {seed}. No recording and no text was learnt from: its vectors
tell sounds apart roughly, as random features do, and its text vectors mean nothing.
It holds the place of the trained checkpoint, which loads through the same code.

- audio: HTSAT, 48 kHz mono, windows of 10 s, 64 mel bands from 50 to 14,000 Hz
- text: RoBERTa-type, BPE over a word list of music terms
- weights: float16 safetensors
"""


def train_tokenizer(texts: list[str], vocab_size: int = 1024) -> Any:
    """A lower-casing BPE tokenizer for RoBERTa-type towers: ids ``<s>`` 0, ``<pad>`` 1, ``</s>`` 2.

    Args:
        texts: what the merges are learnt from.
        vocab_size: at most this many tokens.

    Returns:
        A ``PreTrainedTokenizerFast`` with a window of 77 tokens, as CLAP has.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))  # noqa: S106 - a token of text
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel()]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=77,
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        cls_token="<s>",  # noqa: S106
        sep_token="</s>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        mask_token="<mask>",  # noqa: S106
    )


def save_checkpoint(
    out: Path, model: Any, tokenizer: Any, extractor: Any, facts: dict[str, Any], card: str
) -> None:
    """Write a CLAP checkpoint as ``ClapEmbedder`` reads it.

    Args:
        out: the directory; made if absent.
        model: ``ClapModel``; stored in float16.
        tokenizer: the text tower's own.
        extractor: ``ClapFeatureExtractor`` with ``truncation="rand_trunc"`` (no fusion).
        facts: for ``rag_audio.json``: ``name``, ``untrained``, ``license``, …
        card: the model card, Markdown with front matter.
    """
    out.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).half().save_pretrained(out)
    # A tokenizer keeps its last truncation, and ClapProcessor would cut sound to as many samples.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(out)
    extractor.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)  # it is written for its owner alone
    (out / "rag_audio.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    (out / "README.md").write_text(card, encoding="utf-8")


def mini_config(vocab_size: int) -> Any:
    """The shape of clap-mini: HTSAT of width 32 and a text tower of two layers of width 128."""
    from transformers import ClapConfig

    return ClapConfig(
        text_config={
            "vocab_size": vocab_size,
            "hidden_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 512,
            "max_position_embeddings": 80,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
        audio_config={
            "patch_embeds_hidden_size": 32,
            "hidden_size": 256,
            "depths": [2, 2, 2, 2],
            "num_attention_heads": [2, 4, 8, 16],
            "hidden_dropout_prob": 0.0,
        },
        projection_dim=256,
    )


def build(out: Path, seed: int = 0) -> None:
    """Write an untrained clap-mini to ``out``; the same seed gives the same weights."""
    import torch
    from transformers import ClapFeatureExtractor, ClapModel

    lines = [line for line in WORDS.splitlines() if line]
    tokenizer = train_tokenizer(lines)
    extractor = ClapFeatureExtractor(
        frequency_min=50, frequency_max=14_000, truncation="rand_trunc", padding="repeatpad"
    )
    torch.manual_seed(seed)
    model = ClapModel(mini_config(len(tokenizer))).eval()
    _spread(model)
    _centre(model, extractor, tokenizer, lines, seed)
    parameters = sum(weight.numel() for weight in model.parameters())
    facts = {"name": "clap-mini (untrained)", "untrained": True, "license": "CC0-1.0", "seed": seed}
    save_checkpoint(
        out, model, tokenizer, extractor, facts, CARD.format(parameters=parameters, seed=seed)
    )


def _spread(model: Any) -> None:
    """Weights large enough that signals survive every layer: the library's own start is tiny."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            torch.nn.init.xavier_normal_(module.weight)
        elif isinstance(module, torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=0.5)


def _centre(model: Any, extractor: Any, tokenizer: Any, lines: list[str], seed: int) -> None:
    """Normalise by synthetic noises and shift both outputs to mean zero.

    Random towers map everything into a narrow cone; without its mean, what is left is what differs.
    """
    import torch

    mels = torch.from_numpy(_synthetic_mels(extractor, seed))
    norm = model.audio_model.audio_encoder.batch_norm
    norm.running_mean.copy_(mels.mean(dim=(0, 1, 2)))
    norm.running_var.copy_(mels.var(dim=(0, 1, 2)))
    tokens = tokenizer(lines, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        audio = model.audio_projection(model.audio_model(mels).pooler_output)
        text = model.text_projection(
            model.text_model(tokens["input_ids"], tokens["attention_mask"]).pooler_output
        )
    with torch.no_grad():
        _shift(model.audio_projection, audio)
        _shift(model.text_projection, text)


def _shift(projection: Any, outputs: torch.Tensor) -> None:
    projection.linear2.bias.sub_(outputs.mean(dim=0).clone())


def _synthetic_mels(extractor: Any, seed: int, count: int = 12) -> Any:
    """Log-mels ``[count, 1, frames, 64]`` of coloured noise bursts and tones at musical levels."""
    import numpy as np

    rng = np.random.default_rng(seed)
    rate = extractor.sampling_rate
    time_s = np.arange(10 * rate) / rate
    clips = []
    for index in range(count):
        noise = np.fft.rfft(rng.standard_normal(time_s.size))
        noise /= np.maximum(1.0, np.arange(noise.size)) ** rng.uniform(0.0, 1.0)
        colour = np.fft.irfft(noise, time_s.size)
        burst = np.exp(-((time_s * rng.uniform(0.5, 4.0)) % 1.0) * rng.uniform(0.0, 12.0))
        tone = np.sin(2 * np.pi * 55.0 * 2 ** (index / 2) * time_s) * rng.uniform(0.0, 1.0)
        clip = (colour / np.abs(colour).max() + tone) * burst
        clips.append((0.5 * clip / np.abs(clip).max()).astype(np.float32))
    features = extractor(clips, sampling_rate=rate, return_tensors="np")["input_features"]
    return np.asarray(features, dtype=np.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write an untrained clap-mini.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    build(arguments.out, arguments.seed)
