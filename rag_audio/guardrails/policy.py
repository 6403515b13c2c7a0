"""Whose style may be asked for, and what is done about the rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any

from rag_audio.domain import Rights, Stem, Use, names
from rag_audio.domain.conflicts import Conflict
from rag_audio.domain.refusals import Refusal, most_curable
from rag_audio.errors import ConfigError, Match
from rag_audio.guardrails.name_import import ImportedNames
from rag_audio.guardrails.name_index import NameIndex
from rag_audio.guardrails.names import Artist, Reading, Roster, artist_of, shipped_roster
from rag_audio.guardrails.normalise import fold

RULES = ("named-artist", "style-phrase", "song", "described-artist")
"""What can speak about a prompt:

``named-artist``: a protected name, however it is written. ``style-phrase``: somebody who is not
licensed, known or not, after a phrase such as "in the style of". ``song``: a famous title that
stands for its artist. ``described-artist``: somebody described by a title, "the band behind …".
"""


class Action(StrEnum):
    """What a guardrail decides; ``transform`` rewrites the prompt.

    ``transform-licensed`` is what a rule may be told: put the nearest licensed artist in place of
    the name, and musical descriptors only where none is near. The decision is then ``transform``.
    """

    ALLOW = "allow"
    TRANSFORM = "transform"
    TRANSFORM_LICENSED = "transform-licensed"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Decision:
    """What was decided about one text, and why.

    Attributes:
        prompt_out: what may be used; the prompt itself unless the action is transform.
        artist: the licensed artist whose style it now asks for, where one was put in.
        cure: what would let the library's artists be asked for who are named; empty where none is.
    """

    prompt: str
    action: Action
    prompt_out: str
    matches: tuple[Match, ...] = ()
    reason: str = ""
    artist: str | None = None
    cure: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "prompt": self.prompt,
            "decision": self.action.value,
            "prompt_out": self.prompt_out,
            "matches": [
                {"span": [m.start, m.end], "text": m.text, "rule": m.rule, "name": m.name}
                for m in self.matches
            ],
            "reason": self.reason,
            "artist": self.artist,
            "cure": self.cure,
        }


def _nobody_knows(artist: str) -> Refusal | None:
    return None


@dataclass(frozen=True)
class Policy:
    """Whose style may be asked for.

    Attributes:
        licensed: names (:func:`.exact`) of artists whose style is licensed here
            and today.
        protected: further names that are refused: the library's artists that are not licensed.
        roster: known artists with their aliases, songs and facts.
        actions: what is done when a rule speaks; a rule that is not named refuses.
        styles: for each licensed artist the words of its stems' tags, most frequent first.
        unlicensed: the library's artists whose style is not licensed, as written.
        why_not: why one of those may not be asked for; worked out when it is asked.
    """

    licensed: frozenset[str]
    protected: frozenset[str]
    roster: Roster | None = None
    actions: Mapping[str, Action] = field(default_factory=dict, hash=False)
    styles: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    unlicensed: frozenset[str] = frozenset()
    why_not: Callable[[str], Refusal | None] = field(default=_nobody_knows, compare=False)

    @cached_property
    def known(self) -> frozenset[str]:
        """All names of artists that are looked up."""
        return self.licensed | self.protected

    def action_for(self, rule: str) -> Action:
        return self.actions.get(rule, Action.REFUSE)

    def describing(self) -> Policy:
        """The same, but names become descriptors and never somebody else's: for what to avoid."""
        actions = {
            rule: Action.TRANSFORM if action is Action.TRANSFORM_LICENSED else action
            for rule, action in self.actions.items()
        }
        return replace(self, actions=actions)

    def indexes(self) -> tuple[NameIndex | ImportedNames, ...]:
        """Indexes of the protected names; made once for the same names."""
        found: list[NameIndex | ImportedNames] = []
        if self.roster is not None:
            found.append(self.roster.index)
            if self.roster.imported is not None:
                found.append(self.roster.imported)
        if self.protected:
            found.append(index_of(self.protected))
        return tuple(found)

    def is_licensed(self, name: str) -> bool:
        """Whether the artist of that (canonical) name is licensed.

        A name that is written so decides; else one that folds to the same, where it is one alone.
        """
        found = names.lookup(name, self.known)
        return (
            len(found.names) == 1
            and found.by is not names.Matched.LOOSE
            and found.names[0] in self.licensed
        )

    def licensed_index(self) -> NameIndex | None:
        return _index_of_licensed(self.licensed) if self.licensed else None

    def artist(self, name: str) -> Artist | None:
        """What is known of a protected artist."""
        known = self.roster.find(name) if self.roster is not None else None
        known = known or shipped_roster().find(name)
        if known is None and self.roster is not None and self.roster.imported is not None:
            known = self.roster.imported.find(name)
        return known


def parse_actions(text: str) -> dict[str, Action]:
    """``named-artist=transform,song=refuse`` → actions by rule.

    Raises:
        ConfigError: a rule or an action has another name.
    """
    found: dict[str, Action] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        rule, _, action = (piece.strip() for piece in part.partition("="))
        if rule not in RULES or action not in tuple(Action):
            raise ConfigError(
                f"guard actions: {part!r} is not RULE=ACTION",
                hint=f"rules: {', '.join(RULES)}; actions: {', '.join(Action)}",
            )
        found[rule] = Action(action)
    return found


def make_policy(
    stems: Iterable[Stem],
    rights: Rights,
    protected: Iterable[str] | Roster,
    actions: Mapping[str, Action] | None = None,
    withheld: Iterable[tuple[str, str, str]] = (),
) -> Policy:
    """Licensed: artists that ``stems.csv`` names under a license with ``style``, valid now.

    Other artists of the library, and ``protected`` ones, are refused.
    """
    licensed: set[str] = set()
    refused: dict[str, list[Stem]] = defaultdict(list)
    tags: dict[str, Counter[str]] = defaultdict(Counter)
    for stem in stems:
        if not stem.artist:
            continue
        artist = names.exact(stem.artist)
        if rights.why_no_style(stem) is None:
            licensed.add(artist)
            tags[artist].update(stem.tags)
        else:
            refused[artist].append(stem)
    claimed: dict[str, list[Conflict]] = defaultdict(list)
    for conflict in rights.conflicts.values():
        for claim in conflict.claims:
            if claim.artist:
                claimed[names.exact(claim.artist)].append(conflict)

    ended: dict[str, list[str]] = defaultdict(list)
    for artist, library, license in withheld:
        ended[names.exact(artist)].append(f"{library}/{license}")

    def why_not(artist: str) -> Refusal | None:
        found = [rights.why_no_style(stem) for stem in refused.get(artist, ())]
        found += [rights.why_conflict(one, Use.STYLE) for one in claimed.get(artist, ())]
        found += [rights.why_not_indexed(key, artist) for key in ended.get(artist, ())]
        return most_curable(one for one in found if one is not None)

    allowed = {names.fold(name) for name in licensed}
    roster = protected if isinstance(protected, Roster) else None
    more = () if isinstance(protected, Roster) else protected
    listed = {names.exact(name) for name in more if names.fold(name) not in allowed}
    unlicensed = {*refused, *claimed, *ended} - licensed
    barred = unlicensed | listed
    styles = {name: tuple(tag for tag, _ in tags[name].most_common(8)) for name in licensed}
    return Policy(
        frozenset(licensed),
        frozenset(barred),
        roster,
        actions or {},
        styles,
        frozenset(unlicensed),
        why_not,
    )


@lru_cache(maxsize=16)
def index_of(wanted: frozenset[str]) -> NameIndex:
    """The index of a set of bare names, with the famous songs of those who have some."""
    artists = [artist_of(name) for name in sorted(wanted)]
    folded = {fold(artist.name) for artist in artists} - {""}
    songs = [song for song in shipped_roster().songs if fold(song.artist) in folded]
    return NameIndex(artists, songs)


@lru_cache(maxsize=64)
def _index_of_licensed(wanted: frozenset[str]) -> NameIndex:
    forms = [form for name in sorted(wanted) for form in _aliases(name)]
    return NameIndex([Artist(form, reading=Reading.NAME) for form in forms])


def _aliases(name: str) -> list[str]:
    known = shipped_roster().find(name)
    forms = [form for form, _ in known.forms()] if known else []
    # Who only looks like somebody known has no part in their other names.
    if names.fold(name) not in {names.fold(form) for form in forms}:
        forms = []
    return list(dict.fromkeys([name, *forms]))
