"""Which texts a tokenizer has tokens for, the unknown token not counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def reads_all(tokenizer: Any, text: str) -> bool:
    """Whether a tokenizer of ``transformers`` has a token for all of a text.

    A tokenizer that falls back to bytes has one for everything.
    """
    unknown = tokenizer.unk_token_id
    for word in text.split():
        ids = tokenizer(word, add_special_tokens=False, verbose=False).input_ids
        if not ids or unknown in ids:
            return False
    return True


def text_reader(tokenizer: str) -> Callable[[str], bool]:
    """The same of a ``tokenizers.Tokenizer``, given as its JSON."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_str(tokenizer)
    made.no_truncation()
    made.no_padding()
    model = json.loads(tokenizer)["model"]
    unknown = model.get("unk_id")
    if unknown is None and model.get("unk_token") is not None:
        unknown = made.token_to_id(model["unk_token"])

    def reads(text: str) -> bool:
        for word in text.split():
            ids = made.encode(word, add_special_tokens=False).ids
            if not ids or unknown in ids:
                return False
        return True

    return reads
