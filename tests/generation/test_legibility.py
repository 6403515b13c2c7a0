"""What a plan says of words that its model cannot read."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from rag_audio.domain import ConditioningPlan, GenerationRequest
from rag_audio.generation.legibility import is_unread, reading_notes, search_notes, unread_words
from rag_audio.generation.planning import make_plan
from rag_audio.models.unknown_tokens import text_reader
from tests.generation.test_planning import INFO, RIGHTS, reference, words

QUIET, WILD = "静かなピアノの曲", "激しいドラムの曲"
"""A quiet piano piece; a wild drum piece."""

BEAR, ZORB = "クマの絵", "ゾルブの絵"
"""Words that the lexicon has not: the picture of a bear, of a zorb."""


def ascii_only(text: str) -> bool:
    return text.isascii()


def every_script(text: str) -> bool:
    return True


def notes_of(prompt: str, negative: str = "") -> tuple[str, ...]:
    return reading_notes("M", prompt, negative, ascii_only)


def test_a_prompt_of_which_nothing_can_be_read_is_said_to_sound_like_any_other() -> None:
    for prompt in (BEAR, ZORB):
        (note,) = notes_of(prompt)
        assert note == (
            f"the model M cannot read {prompt}: prompts that it cannot read sound alike; "
            "describe it in English"
        )


def test_of_a_mixed_prompt_the_words_are_named_that_cannot_be_read() -> None:
    assert notes_of("warm ゾルブ, slow 🎹 ゾルブ") == (
        "the model M cannot read ゾルブ, 🎹: describe it in English",
    )
    assert notes_of("soft flügelhorn") == ("the model M reads flügelhorn without ü",)
    assert notes_of("soft", negative="うるさい") == (
        "the model M cannot read うるさい of the negative prompt: prompts that it cannot read "
        "sound alike; describe it in English",
    )


def test_of_many_words_a_few_are_named() -> None:
    (note,) = notes_of("piano " + " ".join("あいうえおかきくけこ") + " " + "さ" * 40)
    assert note == (
        "the model M cannot read あ, い, う, え, お, か and 5 more words: describe it in English"
    )


def test_nothing_is_said_of_what_can_be_read_nor_of_punctuation() -> None:
    assert notes_of("warm piano, 120 BPM – “slow” … ♯ — 4/4") == ()
    assert reading_notes("M", "größer, José's café", "", every_script) == ()


def test_a_model_that_reads_every_script_is_said_to_know_english() -> None:
    (note,) = reading_notes("M", f"{BEAR} with piano", "", every_script)
    assert note == (
        "the model M was trained with descriptions in English as far as is known, and may not "
        f"understand {BEAR}: describe it in English"
    )


def test_a_decomposed_letter_is_its_composed_form() -> None:
    latin = set("sofflgehrn tü")
    assert unread_words("soft flu\u0308gelhorn", lambda text: set(text) <= latin) == ()


def test_the_search_says_which_words_it_cannot_read() -> None:
    (note,) = search_notes("E", f"{BEAR} flügelhorn piano", ascii_only)
    assert note.startswith(f"the search by meaning (E) cannot read {BEAR}: ")
    assert search_notes("E", "flügelhorn piano", ascii_only) == ()


def test_words_of_references_that_cannot_be_read_are_left_out() -> None:
    plan = make_plan(
        GenerationRequest("slow"), (reference("a", tags=("ゾルブ", "soft")),),
        rights=RIGHTS, info=INFO, count_tokens=words, seed=1, can_read=ascii_only,
    )  # fmt: skip
    assert "soft" in plan.enriched_prompt and "ゾルブ" not in plan.enriched_prompt
    assert "left out of the prompt, the model cannot read it: 'ゾルブ'" in plan.notes


def test_a_plan_whose_words_can_be_read_is_as_it_was() -> None:
    def plan(**how: object) -> object:
        return make_plan(
            GenerationRequest("slow and größer"), (reference("a"),),
            rights=RIGHTS, info=INFO, count_tokens=words, seed=1, **how,  # type: ignore[arg-type]
        )  # fmt: skip

    assert plan() == plan(can_read=every_script)


def test_a_tokenizer_reads_what_it_has_tokens_for() -> None:
    vocab = {"<unk>": 0, **{char: 1 + i for i, char in enumerate("abcdefghijklmnop")}}
    for model in (
        models.BPE(vocab, [], unk_token="<unk>"),  # noqa: S106 - a token of text
        models.BPE({k: v for k, v in vocab.items() if k != "<unk>"}, []),  # drops what it lacks
        models.Unigram([(token, 0.0) for token in vocab], unk_id=0),
    ):
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.enable_truncation(2)
        reads = text_reader(tokenizer.to_str())
        assert reads("cafe ") and reads("") and reads("a b c d e")
        assert not reads("a b c d é")
        assert not reads(QUIET)


def test_is_unread_asks_for_all_words() -> None:
    assert is_unread(QUIET, ascii_only) and is_unread(f"{QUIET} – {WILD} {QUIET}", ascii_only)
    assert not is_unread(f"{QUIET} 3/4", ascii_only)
    assert not is_unread("", ascii_only) and not is_unread("–", ascii_only)


def test_nothing_is_said_of_words_that_are_understood() -> None:
    for prompt in (QUIET, WILD, "тёмный бас", "Klavier langsam traurig"):
        assert notes_of(prompt) == search_notes("E", prompt, ascii_only) == ()
    (note,) = notes_of(f"{QUIET} {BEAR}")
    assert note == f"the model M cannot read {BEAR}: describe it in English"
    (note,) = notes_of("soft", negative="ピアノ")  # which nothing is added to
    assert "ピアノ of the negative prompt" in note


def plan_of(prompt: str, *tags: str) -> ConditioningPlan:
    found = (reference("a", tags=tags),)
    return make_plan(
        GenerationRequest(prompt), found,
        rights=RIGHTS, info=INFO, count_tokens=words, seed=1, can_read=ascii_only,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "english"),
    [
        (QUIET, "calm piano music"),
        (WILD, "intense drum music"),
        ("batterie rapide", "fast drums"),
        ("Klavier langsam traurig", "slow sad piano"),
        ("тёмный бас", "dark bass"),
    ],
)
def test_a_prompt_in_another_language_is_said_to_the_model_in_english_too(
    prompt: str, english: str
) -> None:
    plan = plan_of(prompt)
    assert plan.enriched_prompt.startswith(f"{prompt}, {english}")
    assert [span.stem for span in plan.spans[:2]] == [None, None]
    assert plan.spans[1].text == english
    assert f'understood: "{prompt}" as "{english}"' in plan.notes


def test_tags_in_other_languages_are_said_in_english() -> None:
    plan = plan_of("slow", "ピアノ", "traurig", "soft")
    said = {span.text: span.stem for span in plan.spans}
    stem = reference("a").stem.id
    assert said["piano"] == said["sad"] == said["soft"] == stem


def test_an_english_prompt_is_not_understood_anew() -> None:
    plan = plan_of("in the style of Zorblax Prince, dark bass die hard")
    assert not any(note.startswith("understood") for note in plan.notes)
