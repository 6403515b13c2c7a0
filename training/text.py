"""The tokenizer of both small models: words of music, with one token for a tempo and for a key.

``92 bpm``, ``92BPM`` and ``tempo: 92`` share the token ``92``; ``A minor``, ``Am`` and ``a min``
become one and the same token. The embeddings of these tokens start as smooth functions of tempo
and of the place on the circle of fifths, so that neighbours share what is learned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

NUMBERS = range(40, 241)
_NOTES = {
    0: ("C", "B#"), 1: ("C#", "Db"), 2: ("D",), 3: ("D#", "Eb"), 4: ("E", "Fb"), 5: ("F", "E#"),
    6: ("F#", "Gb"), 7: ("G",), 8: ("G#", "Ab"), 9: ("A",), 10: ("A#", "Bb"), 11: ("B", "Cb"),
}  # fmt: skip
_ACCIDENTAL = {"#": "(?:#|♯|[ -]?sharp)", "b": "(?:b|♭|[ -]?flat)"}
GEMMA_SPECIALS = ("<pad>", "<eos>", "<bos>", "<unk>")
ROBERTA_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def key_word(tonic: int, minor: bool) -> str:
    """The word that every spelling of a key becomes: no other text holds it."""
    return f"qk{'abcdefghijkl'[tonic]}{'n' if minor else 'j'}"


def _spelling(note: str) -> str:
    return note[0] + (_ACCIDENTAL[note[1]] if len(note) > 1 else "")


def _key_rules() -> list[Any]:
    from tokenizers import Regex, normalizers

    rules = []
    for tonic, notes in _NOTES.items():
        any_note = "|".join(_spelling(note) for note in notes)
        for minor in (True, False):
            long, short = ("minor|min|moll", "m|min") if minor else ("major|maj|dur", "maj|M")
            word = f" {key_word(tonic, minor)} "
            patterns = (
                rf"(?i)\b(?:{any_note})[ -]?(?:{long})\b",
                rf"\b(?:{any_note})(?:{short})\b",
            )
            rules += [normalizers.Replace(Regex(pattern), word) for pattern in patterns]
    return rules


def train_tokenizer(captions: Iterable[str], vocabulary: int, window: int, *, gemma: bool) -> Any:
    """Byte-pair merges of the captions' words; unseen words fall into pieces.

    Args:
        captions: what the merges are learned from.
        vocabulary: tokens at most. window: tokens of a text at most, with the closing one.
        gemma: ids and closing token of T5Gemma, else those of RoBERTa-type text towers.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    specials = GEMMA_SPECIALS if gemma else ROBERTA_SPECIALS
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"))  # noqa: S106
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), *_key_rules(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(r"\d+|[a-z]+|[^a-z\d]"), "isolated"),
        ]
    )
    letters = [chr(code) for code in range(33, 127)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(specials),
        initial_alphabet=[*letters, *(f"##{letter}" for letter in letters)],
        continuing_subword_prefix="##",
        show_progress=False,
    )
    tokenizer.train_from_iterator([*captions, *_whole_words()], trainer)
    if gemma:
        end, start = "<eos>", None
        tokenizer.post_processor = TemplateProcessing(
            single="$A <eos>", pair="$A $B <eos>", special_tokens=[("<eos>", 1)]
        )
        named = {"bos_token": "<bos>"}
    else:
        end, start = "</s>", "<s>"
        tokenizer.post_processor = TemplateProcessing(
            single="<s> $A </s>",
            pair="<s> $A </s> $B </s>",
            special_tokens=[("<s>", 0), ("</s>", 2)],
        )
        named = {"bos_token": start, "cls_token": start, "sep_token": end, "mask_token": "<mask>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=window,
        padding_side="right",
        eos_token=end,
        pad_token="<pad>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        **named,
    )


def _whole_words() -> list[str]:
    """Lines that make every tempo and key frequent enough for a token of its own."""
    tempos = [" ".join(str(number) for number in NUMBERS)] * 400
    keys = [" ".join(key_word(t, minor) for t in range(12) for minor in (True, False))] * 400
    return tempos + keys


@torch.no_grad()
def place_numbers(table: Tensor, tokenizer: Any) -> None:
    """Start the embeddings ``[V, D]`` of tempi and keys as smooth functions, at its scale."""
    size = table.shape[1]
    spread = float(table.std())
    vocabulary = tokenizer.get_vocab()
    generator = torch.Generator().manual_seed(0)
    mixes = {
        name: torch.randn(count, size, generator=generator) * spread * (2.0 / count) ** 0.5
        for name, count in (("tempo", 16), ("key", 15))
    }
    for number in NUMBERS:
        token = vocabulary.get(str(number))
        if token is not None:
            table[token] = _waves(math.log2(number / 40) / 3, 8) @ mixes["tempo"]
    for tonic in range(12):
        for minor in (True, False):
            token = vocabulary.get(key_word(tonic, minor))
            if token is not None:
                table[token] = _key_features(tonic, minor) @ mixes["key"]


def _waves(position: float, octaves: int) -> Tensor:
    angles = math.pi * position * torch.arange(1, octaves + 1) * 2
    return torch.cat([angles.cos(), angles.sin()])


def _key_features(tonic: int, minor: bool) -> Tensor:
    """The scale's notes as twelve flags, the tonic's place on the circle of fifths, the mode."""
    scale = (0, 2, 3, 5, 7, 8, 10) if minor else (0, 2, 4, 5, 7, 9, 11)
    flags = torch.full((12,), -0.7)
    flags[[(tonic + step) % 12 for step in scale]] = 0.5
    angle = 2 * math.pi * (7 * tonic % 12) / 12
    return torch.cat(
        [flags, torch.tensor([math.cos(angle), math.sin(angle), 1.0 if minor else -1.0])]
    )


def encode(tokenizer: Any, texts: Sequence[str], window: int) -> tuple[Tensor, Tensor]:
    """Ids and mask ``[N, window]`` (int64), padded as the pipelines pad."""
    made = tokenizer(
        list(texts), padding="max_length", max_length=window, truncation=True, return_tensors="pt"
    )
    return made["input_ids"], made["attention_mask"]
