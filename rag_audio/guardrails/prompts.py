"""Decide about a text: find what speaks against it, apply the policy's actions, say why."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from heapq import nsmallest
from pathlib import Path
from typing import Any

from rag_audio.domain.refusals import Refusal, most_curable
from rag_audio.errors import InvalidInput, Match, RequestRefused
from rag_audio.guardrails.disguises import backwards, has_letters, is_disguised
from rag_audio.guardrails.indirect_references import (
    described_people,
    described_spans,
    rhymed_names,
    song_spans,
)
from rag_audio.guardrails.name_evidence import (
    cuts_a_word,
    evident_names,
    innocent_words,
    is_named,
    misspelled_beside,
)
from rag_audio.guardrails.name_finder import NameHit
from rag_audio.guardrails.names import Artist, SentenceReading, Spelling
from rag_audio.guardrails.normalise import NormalisedText, Word, read, variants
from rag_audio.guardrails.policy import Action, Decision, Policy, note, telling_words
from rag_audio.guardrails.policy_tables import rule_words
from rag_audio.guardrails.private_people import is_private, is_relation
from rag_audio.guardrails.style_leads import KNOWN_ONLY, find_leads
from rag_audio.guardrails.style_phrases import StyleReader
from rag_audio.guardrails.vocabulary import is_ordinary
from rag_audio.guardrails.written_names import NamesWritten, find_names, leads_to, read_names
from rag_audio.resources import data_dir

# Put something licensed in place of a name.
#
# Musical descriptors: genre, era, instruments and tempo, as far as they are known. Or, where the
# rule is told so, the licensed artist whose stems' tags are nearest to those descriptors.


@dataclass(frozen=True)
class Rewritten:
    """A prompt without the names, and in words what was done.

    Attributes:
        artist: the licensed artist who was put in; None where there is none, or several.
    """

    prompt: str
    what: str
    artist: str | None = None


@dataclass(frozen=True)
class Genre:
    """What a genre usually sounds like; the tempo is a range of beats per minute."""

    instruments: tuple[str, ...]
    tempo_bpm: str


def rewrite(prompt: str, matches: tuple[Match, ...], policy: Policy) -> Rewritten | None:
    """The prompt with every match replaced; None when somebody is named of whom nothing is known.

    The first mention of an artist is described in full, further ones by era and genre.
    """
    pieces: list[str] = []
    done: list[str] = []
    described: set[str] = set()
    styles: set[str] = set()
    at = 0
    for match in sorted(matches, key=lambda m: m.start):
        if match.start < at:
            continue
        artist = _artist_of(match, policy)
        if artist is None or not artist.genre:
            return None
        to_licensed = policy.action_for(match.rule) is Action.TRANSFORM_LICENSED
        near = nearest_licensed((match,), policy) if to_licensed else None
        if near is not None:
            put, said = near, f"{match.name} became the licensed {near}, the nearest to"
            done.append(f"{said} {describe(artist)!r}")
            styles.add(near)
        else:
            put = describe(artist, full=artist.name not in described)
            described.add(artist.name)
            none = ", no licensed artist being near" if to_licensed else ""
            done.append(f"{match.name} became {put!r}{none}")
        end = match.end
        for possessive in ("'s", "’s"):
            if prompt.startswith(possessive, end):
                end += len(possessive)
                put += "'s" if near is not None else ""
        pieces += [prompt[at : match.start], put]
        at = end
    near = None if styles else nearest_licensed(matches, policy)
    hint = f"; the nearest licensed artist is {near}" if near else ""
    artist_now = next(iter(styles)) if len(styles) == 1 else None
    return Rewritten("".join([*pieces, prompt[at:]]), "; ".join(done) + hint, artist_now)


def describe(artist: Artist, *, full: bool = True) -> str:
    """``1950s jazz with trumpet, double bass, brushed drums at 90-180 bpm``."""
    words = f"{artist.era} {artist.genre}".strip()
    genre = _genres().get(artist.genre)
    if genre is None or not full:
        return words
    return f"{words} with {', '.join(genre.instruments)} at {genre.tempo_bpm} bpm"


def nearest_licensed(matches: tuple[Match, ...], policy: Policy) -> str | None:
    """The licensed artist whose tags share most with what is asked for; None: none shares a word.

    Words of the genre count twice, those of the usual instruments once; an artist's more frequent
    tags decide between equals.
    """
    wanted: dict[str, int] = {}
    for match in matches:
        artist = _artist_of(match, policy)
        if artist is None:
            continue
        genre = _genres().get(artist.genre)
        for instrument in genre.instruments if genre is not None else ():
            wanted |= dict.fromkeys(telling_words(instrument), 1)
        wanted |= dict.fromkeys(telling_words(artist.genre), 2)
    scores: dict[str, tuple[int, float]] = {}
    for name in {name for word in wanted for name in policy.tagged.get(word, ())}:
        rank: dict[str, int] = {}
        for place, tag in enumerate(policy.styles[name]):
            for word in telling_words(tag):
                rank.setdefault(word, place)
        shared = [word for word in rank if word in wanted]
        scores[name] = (sum(wanted[w] for w in shared), sum(1 / (1 + rank[w]) for w in shared))
    best = max(sorted(scores), key=lambda name: scores[name], default=None)
    return best if best is not None and scores[best][0] else None


def _artist_of(match: Match, policy: Policy) -> Artist | None:
    return policy.artist(match.name.partition(" (")[0])


@cache
def _genres() -> dict[str, Genre]:
    with (data_dir("policy") / "genres.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["genre"]: Genre(tuple(row["instruments"].split(";")), row["tempo_bpm"])
            for row in csv.DictReader(file)
        }


_WORKS = rule_words("prompts", "works")
_ROLES = rule_words("prompts", "roles")
_ARTICLES = rule_words("prompts", "articles")
_MAX_CHARACTERS = 20_000
_SHOWN = 20
"""Licensed artists that a refusal names."""


def check(prompt: str, policy: Policy) -> Decision:
    """Decide about one text. Never raises for a text, and leaves no trace; see :func:`judge`."""
    matches = _find(prompt[:_MAX_CHARACTERS], policy)
    if not matches:
        return Decision(prompt, Action.ALLOW, prompt)
    actions = {policy.action_for(match.rule) for match in matches}
    reason, cure = _reason(matches, policy)
    if Action.REFUSE in actions:
        return Decision(prompt, Action.REFUSE, prompt, matches, reason, cure=cure)
    if actions == {Action.ALLOW}:
        return Decision(prompt, Action.ALLOW, prompt, matches, f"allowed by the policy: {reason}")
    done = rewrite(prompt, matches, policy)
    if done is None:
        said = f"{reason}; nothing is known to put instead"
        return Decision(prompt, Action.REFUSE, prompt, matches, said, cure=cure)
    # What was put in is checked like what was there.
    if any(policy.action_for(m.rule) is not Action.ALLOW for m in _find(done.prompt, policy)):
        return Decision(prompt, Action.REFUSE, prompt, matches, reason, cure=cure)
    said = f"{reason}; {done.what}"
    return Decision(prompt, Action.TRANSFORM, done.prompt, matches, said, done.artist, cure)


def judge(prompt: str, policy: Policy, where: str = "prompt") -> Decision:
    """As :func:`check`, logged as a security event and counted.

    Args:
        where: what the text is: ``prompt``, ``negative``, ``enriched``, ``stem``.
    """
    decision = check(prompt, policy)
    note(decision, where)
    return decision


def require(prompt: str, policy: Policy, where: str = "prompt") -> Decision:
    """As :func:`judge`, and

    Raises:
        RequestRefused: the decision is to refuse.
    """
    decision = judge(prompt, policy, where)
    if decision.action is Action.REFUSE:
        raise RequestRefused(
            f"refused: {decision.reason}",
            hint=decision.cure or _licensed_hint(policy),
            matches=decision.matches,
        )
    return decision


def require_artist(artist: str, policy: Policy) -> str:
    """The licensed artist as the library writes the name.

    Raises:
        RequestRefused: nobody licensed for style has that name; the message says what stands
            against the artist of that name, the hint what would help.
        InvalidInput: several artists are written so.
    """
    written = policy.resolve(artist)
    if written in policy.licensed:
        return written
    match = Match(0, len(artist), artist, "named-artist", artist)
    refused = Decision(artist, Action.REFUSE, artist, (match,))
    note(refused, "artist")
    why = None if written is None else policy.why_not(written)
    if written is None or why is None:
        raise RequestRefused(
            f"refused: {artist} is not licensed for style: no indexed stem is by that name",
            hint=_licensed_hint(policy),
            matches=[match],
        )
    raise RequestRefused(
        f"refused: {written} may not be asked for: {why.reason}",
        hint=why.cure,
        reasons=[why.reason],
        matches=[match],
    )


def _reason(matches: tuple[Match, ...], policy: Policy) -> tuple[str, str]:
    """Why those who are named may not be asked for, and what would help with the library's own."""
    strangers: list[str] = []
    known: dict[str, Refusal] = {}
    for name in dict.fromkeys(match.name for match in matches):
        found = policy.unlicensed_called(name)
        whys = {written: why for written in found if (why := policy.why_not(written)) is not None}
        known |= whys
        if not whys:
            strangers.append(name)
    said = [f"{name} may not be asked for: {why.reason}" for name, why in known.items()]
    if strangers:
        said.insert(0, f"not a licensed artist: {', '.join(strangers)}")
    best = None if strangers else most_curable(known.values())
    return "; ".join(said), "" if best is None else best.cure


def _licensed_hint(policy: Policy) -> str:
    if not policy.licensed:
        return "no artist of this library is licensed for style; describe the music instead"
    shown = ", ".join(nsmallest(_SHOWN, policy.licensed))
    more = len(policy.licensed) - _SHOWN
    return f"licensed for style: {shown}" + (f", and {more} more" if more > 0 else "")


def _find(prompt: str, policy: Policy) -> tuple[Match, ...]:
    """All that speaks against a text, one match for the same words, in order."""
    text = read(prompt)
    written = read_names(text, policy.written_licensed, policy.written_protected)
    found: list[Match] = list(_matches(text, policy, written))
    for other in variants(text):
        found.extend(_matches(other, policy, written, text))
    found.extend(_read_otherwise(text, policy))
    # A licensed name that stands there as it is written is nobody else's in disguise.
    found = [match for match in found if not _is_licensed(match, text, written)]
    found += [_written_match(text, one.start, one.end, one.name) for one in written.asked]
    found += [_written_match(text, start, end) for start, end in written.strange]
    found.sort(key=lambda m: (m.start, -m.end, m.rule))
    kept: list[Match] = []
    for match in found:
        if not any(k.start <= match.start and match.end <= k.end for k in kept):
            kept.append(match)
    return tuple(kept)


def _read_otherwise(text: NormalisedText, policy: Policy) -> Iterator[Match]:
    """Names from right to left, and those in scripts of their own: by their sound, or as they are
    written there where a style is asked for."""
    for index in policy.indexes():
        spans = [(start, end, "named-artist", hit.form.artist)
                 for start, end, hit in backwards(text, index)]  # fmt: skip
        spans += [(start, end, "named-artist", form.artist)
                  for start, end, form in index.abroad(text.raw)]  # fmt: skip
        spans += [(start, end, "style-phrase", artist)
                  for start, end, artist in index.native(text.raw)]  # fmt: skip
        for start, end, rule, artist in spans:
            if not policy.is_licensed(artist.name):
                yield Match(start, end, text.raw[start:end], rule, artist.name)


def _is_licensed(match: Match, text: NormalisedText, written: NamesWritten) -> bool:
    """Whether a match lies in a licensed name, only leads to it ("the band …"), or reads letters
    into a name that is made of signs."""
    for start, end in written.licensed:
        if start <= match.start and match.end <= end:
            return True
        introduces = match.start < start and leads_to(text.raw, match.start, start)
        if introduces and (match.end <= start or match.end == end):
            return True
    spans = (*written.licensed, *((one.start, one.end) for one in written.barred))
    return any(
        match.start < end
        and start < match.end
        and not any(sign.isalnum() for sign in text.raw[start:end])
        for start, end in spans
    )


def _written_match(text: NormalisedText, start: int, end: int, name: str = "") -> Match:
    words = text.raw[start:end]
    return Match(start, end, words, "style-phrase", name or words)


def _matches(
    text: NormalisedText, policy: Policy, written: NamesWritten, base: NormalisedText | None = None
) -> Iterator[Match]:
    """Args: base: the plain reading, where ``text`` is another; only what differs is looked at."""
    if not text.words:
        return
    generic, only = base is None, None
    if base is not None:
        read_before = {(w.text, text_at) for w, text_at in _places(base)}
        only = frozenset(
            i
            for i, place in enumerate(_places(text))
            if (place[0].text, place[1]) not in read_before
        )
        if not only:
            return
    licensed = _licensed_words(text, policy, written) | innocent_words(text)
    hits = [hit for hit in policy.hits(text, only) if not _covered(hit, licensed)]
    hits = [hit for hit in hits if not policy.is_licensed(hit.form.artist.name)]
    # How a single letter is written and what follows it decide: see read_names.
    hits = [hit for hit in hits if len(hit.form.letters) > 1]
    if not generic:
        hits = [hit for hit in hits if has_letters(text, hit)]
    leads = tuple(find_leads(text))
    asked = {lead.at for lead in leads if not lead.after and lead.strength not in KNOWN_ONLY}
    hits = [hit for hit in hits if not is_private(text, hit, asked)]
    hits = [hit for hit in hits if not cuts_a_word(text, hit)]
    words = text.words
    for hit in hits:
        named = hit.reading is SentenceReading.NAME or (not generic and is_disguised(text, hit))
        if named or _means_artist(text, hit) or is_named(text, hit, hits):
            yield _match(text, hit.first, hit.last, "named-artist", hit.form)
    styles = StyleReader(text, hits, licensed, generic)
    for lead in leads:
        for finding in styles.read(lead):
            if (
                finding.form is None
                and finding.first
                and is_relation(words[finding.first - 1].text)
            ):
                continue  # "for our son …"
            yield _match(text, finding.first, finding.last, "style-phrase", finding.form)
    for index in policy.indexes():
        titles = [one for one in index.songs(text) if not policy.is_licensed(one[2].artist)]
        for hit in evident_names(text, hits, titles):
            yield _match(text, hit.first, hit.last, "named-artist", hit.form)
        titles = [one for one in titles if one[0] not in licensed]
        for first, last, song in (*song_spans(text, titles), *misspelled_beside(text, titles)):
            yield _match(text, first, last, "song", None, f"{song.artist} ({song.title})")
    if generic:
        for first, last, name in described_people(text) if policy.roster is not None else ():
            if not policy.is_licensed(name) and not licensed & set(range(first, last + 1)):
                yield _match(text, first, last, "described-artist", None, name)
        for start, end in rhymed_names(text):
            yield _plain_match(text, start, end, "described-artist")
        offsets = {at for i in licensed for at in range(text.words[i].start, text.words[i].end)}
        for start, end in find_names(text, offsets):
            yield _plain_match(text, start, end, "style-phrase")
        for start, end in described_spans(text):
            if not offsets & set(range(start, end)):
                yield _plain_match(text, start, end, "described-artist")


def _places(text: NormalisedText) -> list[tuple[Word, int]]:
    """Each word with the offset in the original where it starts."""
    return [(word, text.origin[word.start]) for word in text.words]


def _licensed_words(text: NormalisedText, policy: Policy, written: NamesWritten) -> set[int]:
    """Words of licensed names, by their letters; not those that the library writes as another's."""
    found: set[int] = set()
    for hit in policy.licensed_names.exact(text):
        words = text.words[hit.first : hit.last + 1]
        start, end = text.raw_span(words[0].start, words[-1].end)
        theirs = any(one.start < end and start < one.end for one in written.barred)
        single = len(hit.form.letters) == 1 and (start, end) not in written.licensed
        if not theirs and not single:
            found.update(range(hit.first, hit.last + 1))
    return found


def _covered(hit: NameHit, licensed: set[int]) -> bool:
    """Whether a hit lies within licensed names (a longer name that contains one does not)."""
    span = set(range(hit.first, hit.last + 1))
    return span <= licensed or (not hit.exact and bool(span & licensed))


def _means_artist(text: NormalisedText, hit: NameHit) -> bool:
    """Whether a name that is a word too is a name here, outside of style phrases."""
    words = text.words
    role = hit.first > 0 and words[hit.first - 1].text in _ROLES
    if role and words[hit.first].capital and text.capitals_mean and hit.exact:
        return True
    if hit.reading is SentenceReading.MASS or not hit.sure:
        return False
    named = words[hit.first : hit.last + 1]
    proper = len(named) > 1 and text.capitals_mean and all(w.capital for w in named[-2:])
    if not hit.exact:  # misspelled words that are in no dictionary cannot be meant as words
        return proper and not all(is_ordinary(word.text) for word in named)
    first, last = named[0], named[-1]
    before = words[hit.first - 1] if hit.first else None
    after = words[hit.last + 1].text if hit.last + 1 < len(words) else ""
    article = before is not None and before.text in _ARTICLES
    raw = text.raw_words(hit.first, hit.last)
    if len(hit.form.letters) <= 4 and first is last and sum(c.isupper() for c in raw) > 1:
        return raw == hit.form.text.replace(".", "") and text.capitals_mean
    if last.possessive:
        return after in _WORKS and not article
    if proper:
        return True
    if not (first.capital and text.capitals_mean) or after not in _WORKS:
        return False
    return (before is None or not before.capital) and first.text != "the"


def _match(
    text: NormalisedText, first: int, last: int, rule: str, form: Spelling | None, name: str = ""
) -> Match:
    start, end = text.raw_span(text.words[first].start, text.words[last].end)
    if form is not None:  # the signs that a name ends with belong to it: "Zanther!"
        signs = form.text[len(form.text.rstrip("!?.*+&")) :]
        if signs and text.raw.startswith(signs, end):
            end += len(signs)
    words = text.raw[start:end]
    return Match(start, end, words, rule, name or (form.artist.name if form else words))


def _plain_match(text: NormalisedText, start: int, end: int, rule: str) -> Match:
    begin, stop = text.raw_span(start, end)
    return Match(begin, stop, text.raw[begin:stop], rule, text.raw[begin:stop])


# How well the guardrails do on labelled prompts: a CSV with ``label, class, prompt``.
#
# ``label`` is ``attack`` or ``innocent``; ``class`` says of which kind, for the table.

ATTACK, INNOCENT = "attack", "innocent"


@dataclass(frozen=True)
class Labelled:
    """A prompt that somebody judged."""

    label: str
    kind: str
    prompt: str


@dataclass(frozen=True)
class Evaluation:
    """A confusion matrix, and the prompts on its wrong side.

    Attributes:
        caught, missed: attacks that were stopped (refused or rewritten), and that were not.
        stopped, passed: innocent prompts that were stopped, and that were not.
        wrong: the missed attacks and the stopped innocents.
        by_kind: (right, all) for each label and class.
    """

    name: str
    caught: int
    missed: int
    stopped: int
    passed: int
    wrong: tuple[Labelled, ...]
    by_kind: dict[tuple[str, str], tuple[int, int]]

    @property
    def recall(self) -> float:
        """Share of the attacks that were stopped; 1 where there are none."""
        return self.caught / max(1, self.caught + self.missed) if self.caught + self.missed else 1.0

    @property
    def false_refusals(self) -> float:
        """Share of the innocent prompts that were stopped."""
        return self.stopped / max(1, self.stopped + self.passed)

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.name,
            "attack": {"stopped": self.caught, "passed": self.missed},
            "innocent": {"stopped": self.stopped, "passed": self.passed},
            "recall": self.recall,
            "false_refusals": self.false_refusals,
            "wrong": [{"label": w.label, "class": w.kind, "prompt": w.prompt} for w in self.wrong],
            "by_class": [
                {"label": label, "class": kind, "right": right, "prompts": count}
                for (label, kind), (right, count) in sorted(self.by_kind.items())
            ],
        }


def read_labelled(path: Path) -> tuple[Labelled, ...]:
    """Labelled prompts of a CSV file.

    Raises:
        InvalidInput: it cannot be read, or a row is wrong; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"label", "prompt"} <= set(rows.fieldnames or ()):
                raise InvalidInput(
                    f"{path}: the first line lacks label or prompt", hint="label,class,prompt"
                )
            return tuple(_labelled(path, rows.line_num, row) for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path} cannot be read as CSV in UTF-8: {error}") from error


def evaluate(name: str, prompts: tuple[Labelled, ...], policy: Policy) -> Evaluation:
    """Decide about every prompt and compare with its label."""
    counts: Counter[tuple[str, bool]] = Counter()
    right: Counter[tuple[str, str]] = Counter()
    every: Counter[tuple[str, str]] = Counter()
    wrong = []
    for item in prompts:
        stopped = check(item.prompt, policy).action is not Action.ALLOW
        counts[item.label, stopped] += 1
        every[item.label, item.kind] += 1
        if stopped == (item.label == ATTACK):
            right[item.label, item.kind] += 1
        else:
            wrong.append(item)
    return Evaluation(
        name,
        caught=counts[ATTACK, True],
        missed=counts[ATTACK, False],
        stopped=counts[INNOCENT, True],
        passed=counts[INNOCENT, False],
        wrong=tuple(wrong),
        by_kind={key: (right[key], count) for key, count in every.items()},
    )


def _labelled(path: Path, line: int, row: dict[str, str]) -> Labelled:
    label = (row["label"] or "").strip()
    if label not in (ATTACK, INNOCENT):
        raise InvalidInput(
            f"{path}, line {line}: label {label!r}", hint=f"labels: {ATTACK}, {INNOCENT}"
        )
    return Labelled(label, (row.get("class") or "").strip(), row["prompt"] or "")
