"""Who is protected, whose style may be asked for, and what is done and logged about the rest."""

from __future__ import annotations

import csv
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import structlog

from rag_audio.domain import Rights, Stem, Use, names
from rag_audio.domain.conflicts import Conflict
from rag_audio.domain.holdings import LibraryHoldings, most_frequent
from rag_audio.domain.refusals import Refusal, most_curable
from rag_audio.errors import ConfigError, Match
from rag_audio.guardrails.known_names import KnownNames, ScopedKnownNames
from rag_audio.guardrails.library_names import LibraryNames
from rag_audio.guardrails.name_finder import NameFinder, NameHit
from rag_audio.guardrails.name_import import ImportedNames
from rag_audio.guardrails.name_index import NameIndex, SongTitles
from rag_audio.guardrails.names import KINDS, Artist, SentenceReading, Song, without_collection
from rag_audio.guardrails.normalise import NormalisedText, fold
from rag_audio.guardrails.policy_tables import rule_words
from rag_audio.guardrails.vocabulary import is_ordinary
from rag_audio.resources import data_dir
from rag_audio.storage.files import LineLog

# Who is protected.


@dataclass(frozen=True, eq=False)
class Roster:
    """Protected artists and songs; the index over them is made once, on first use.

    Attributes:
        imported: a long list beside them, of which exact spellings are found only.
    """

    artists: tuple[Artist, ...] = field(repr=False)
    songs: tuple[Song, ...] = field(default=(), repr=False)
    imported: ImportedNames | None = field(default=None, repr=False)

    @cached_property
    def by_fold(self) -> dict[str, Artist]:
        """Artists by their folded names and aliases; a name counts before an alias."""
        forms = {fold(form): a for a in reversed(self.artists) for form, _ in a.forms()}
        forms |= {fold(artist.name): artist for artist in reversed(self.artists)}
        return forms

    @cached_property
    def index(self) -> NameIndex:
        shipped = shipped_roster()
        if self is not shipped and (self.artists, self.songs) == (shipped.artists, shipped.songs):
            return shipped.index
        with without_collection():
            return NameIndex(self.artists, self.songs, surnames=True)

    def find(self, name: str) -> Artist | None:
        """The artist of that name or alias."""
        folded = fold(name)
        return self.by_fold.get(folded) if folded else None

    def with_artists(self, more: Iterable[Artist]) -> Roster:
        """A roster with further artists; those that are there already are replaced."""
        added = tuple(more)
        replaced = {fold(artist.name) for artist in added}
        kept = tuple(a for a in self.artists if fold(a.name) not in replaced)
        return replace(self, artists=(*kept, *added)) if added else self


@cache
def shipped_roster() -> Roster:
    """The artists and songs of ``data/policy``."""
    with without_collection():
        folder = data_dir("policy")
        with (folder / "songs.csv").open(encoding="utf-8", newline="") as file:
            songs = tuple(
                Song(row["title"], row["artist"], row["common"] == "yes")
                for row in csv.DictReader(file)
            )
        more = (replace(one, well_known=False) for one in read_artists(folder / "artists_more.csv"))
        return Roster((*read_artists(folder / "artists.csv"), *more), songs)


def read_artists(path: Path) -> tuple[Artist, ...]:
    """Artists of a CSV file (columns: :mod:`.names`); unknown columns are ignored.

    Raises:
        ConfigError: the file cannot be read, has no ``name`` column, or a row is wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if rows.fieldnames is None or "name" not in rows.fieldnames:
                raise ConfigError(
                    f"{path}: the first line has no column 'name'",
                    hint="columns: name, aliases (separated by ;), common, genre, era, epithets",
                )
            return tuple(_artist(path, rows.line_num, row) for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            f"the policy {path} cannot be read: {error}", hint="it must be a CSV file in UTF-8"
        ) from error


def load_roster(extra: Path | None, imported: ImportedNames | None = None) -> Roster:
    """The shipped roster, with the artists of a user's file and an imported list."""
    roster = shipped_roster()
    if extra is not None:
        roster = roster.with_artists(read_artists(extra))
    return roster if imported is None else replace(roster, imported=imported)


def artist_of(name: str) -> Artist:
    """A name of which nothing else is said: as shipped, if it is there.

    One word that is in the dictionary, or has at most three letters, is read as a word too.
    """
    known = shipped_roster().find(name)
    if known is not None and fold(known.name) == fold(name):
        return known
    words = fold(name).split()
    plain = len(words) == 1 and (len(words[0]) <= 3 or is_ordinary(words[0]))
    return Artist(name, reading=SentenceReading.WORD if plain else SentenceReading.NAME)


def _artist(path: Path, line: int, row: dict[str, str]) -> Artist:
    name = (row.get("name") or "").strip()
    if not re.search("[A-Za-z0-9]", name) and not names.fold(name):
        raise ConfigError(f"{path}, line {line}: the name is empty", hint="remove the line")
    common = (row.get("common") or "").strip().lower()
    if common not in tuple(SentenceReading):
        raise ConfigError(f"{path}, line {line}: common is {common!r}", hint="empty, yes or mass")
    kind = (row.get("kind") or "").strip().lower()
    if kind and kind not in KINDS:
        raise ConfigError(
            f"{path}, line {line}: kind is {kind!r}", hint=f"empty, {', '.join(KINDS)}"
        )
    reading = SentenceReading(common)
    if "common" not in row and reading is SentenceReading.NAME:
        reading = artist_of(name).reading
    return Artist(
        name,
        _split(row.get("aliases")),
        _split(row.get("common_aliases")),
        reading,
        (row.get("genre") or "").strip(),
        (row.get("era") or "").strip(),
        _split(row.get("epithets")),
        kind or KINDS[0],
    )


def _split(cell: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (cell or "").split(";") if part.strip())


# Whose style may be asked for.

_EMPTY = rule_words("prompts", "empty")

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
    why_not: Callable[[str], Refusal | None] = field(default=lambda artist: None, compare=False)

    def action_for(self, rule: str) -> Action:
        return self.actions.get(rule, Action.REFUSE)

    @cached_property
    def tagged(self) -> Mapping[str, tuple[str, ...]]:
        """Licensed artists by each word of their tags."""
        found: dict[str, dict[str, None]] = {}
        for name, tags in self.styles.items():
            for word in (word for tag in tags for word in telling_words(tag)):
                found.setdefault(word, {})[name] = None
        return {word: tuple(some) for word, some in found.items()}

    def describing(self) -> Policy:
        """The same, but names become descriptors and never somebody else's: for what to avoid."""
        return self._describing

    @cached_property
    def _describing(self) -> Policy:
        actions = {
            rule: Action.TRANSFORM if action is Action.TRANSFORM_LICENSED else action
            for rule, action in self.actions.items()
        }
        return replace(self, actions=actions)

    @cached_property
    def written_licensed(self) -> ScopedKnownNames:
        """The licensed names as they are written."""
        return _KNOWN.scope(self.licensed)

    @cached_property
    def written_protected(self) -> ScopedKnownNames:
        """The protected names as they are written."""
        return _KNOWN.scope(self.protected)

    @cached_property
    def _written(self) -> ScopedKnownNames:
        return _KNOWN.scope(self.licensed, self.protected)

    @cached_property
    def _written_unlicensed(self) -> ScopedKnownNames:
        return _KNOWN.scope(self.unlicensed)

    @cached_property
    def _protected_names(self) -> NameFinder:
        return _PROTECTED.scope(self.protected)

    def resolve(self, name: str) -> str | None:
        """The artist that is meant by a typed name, licensed or protected; None: nobody is.

        Raises:
            InvalidInput: several artists are written so.
        """
        return names.meant(name, self._written.lookup(name))

    def unlicensed_called(self, name: str) -> tuple[str, ...]:
        """The library's artists that a name may mean and whose style is not licensed."""
        return self._written_unlicensed.lookup(name).names

    def indexes(self) -> tuple[NameFinder, ...]:
        """What finds the protected names."""
        known = () if self.roster is None else (self.roster.index,)
        return (*known, self._protected_names) if self.protected else known

    def hits(self, text: NormalisedText, only: frozenset[int] | None = None) -> list[NameHit]:
        """Protected names in the text, those that are words too among them.

        Args:
            only: misspelled ones must contain one of these words; None: any.
        """
        found: list[NameHit] = []
        if self.roster is not None:
            found += self.roster.index.hits(text, only)
            if self.roster.imported is not None:
                found += self.roster.imported.exact(text)
        if self.protected:
            found += self._protected_names.hits(text, only)
        return found

    def is_licensed(self, name: str) -> bool:
        """Whether the artist of that (canonical) name is licensed.

        A name that is written so decides; else one that folds to the same, where it is one alone.
        """
        found = self._written.lookup(name)
        return (
            len(found.names) == 1
            and found.by is not names.Matched.LOOSE
            and found.names[0] in self.licensed
        )

    @cached_property
    def licensed_names(self) -> NameFinder:
        """What finds the licensed names and their aliases."""
        return _LICENSED.scope(self.licensed)

    def artist(self, name: str) -> Artist | None:
        """What is known of a protected artist."""
        known = self.roster.find(name) if self.roster is not None else None
        known = known or shipped_roster().find(name)
        if known is None and self.roster is not None and self.roster.imported is not None:
            known = self.roster.imported.find(name)
        return known


def telling_words(phrase: str) -> list[str]:
    """The words of a descriptor that say something by themselves."""
    return [word for word in fold(phrase).split() if word not in _EMPTY]


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
    stems: LibraryHoldings | Iterable[Stem],
    rights: Rights,
    protected: Iterable[str] | Roster,
    actions: Mapping[str, Action] | None = None,
    withheld: Iterable[tuple[str, str, str]] = (),
) -> Policy:
    """Licensed: artists that ``stems.csv`` names under a license with ``style``, valid now.

    Other artists of the library, and ``protected`` ones, are refused. Of the same holdings, while
    the same licenses grant ``style``, it is worked out once: ``withheld`` is of the same state.
    """
    holdings = LibraryHoldings.of(stems)
    granting = rights.keys_granting(Use.STYLE)
    told = holdings.kept(granting, lambda: _licensing(holdings, rights, withheld))

    def why_not(artist: str) -> Refusal | None:
        found = [rights.why_no_style(stem) for stem in told.refused.get(artist, ())]
        found += [rights.why_conflict(one, Use.STYLE) for one in told.claimed.get(artist, ())]
        found += [rights.why_not_indexed(key, artist) for key in told.ended.get(artist, ())]
        return most_curable(one for one in found if one is not None)

    roster = protected if isinstance(protected, Roster) else None
    barred = told.unlicensed
    if not isinstance(protected, Roster):
        allowed = {names.fold(name) for name in told.licensed}
        listed = {names.exact(name) for name in protected if names.fold(name) not in allowed}
        barred = barred | listed if listed else barred
    return Policy(
        told.licensed, barred, roster, actions or {}, told.styles, told.unlicensed, why_not
    )


@dataclass(frozen=True, eq=False)
class _Licensing:
    """Whose style is licensed, and what there is of the others.

    Attributes:
        refused: by artist, a stem of each group that may not be used for style.
        claimed: by artist, the conflicts in which a claim names them.
        ended: by artist, keys of licenses of files which grant nothing.
    """

    licensed: frozenset[str]
    unlicensed: frozenset[str]
    styles: Mapping[str, tuple[str, ...]]
    refused: Mapping[str, list[Stem]]
    claimed: Mapping[str, list[Conflict]]
    ended: Mapping[str, list[str]]


def _licensing(
    holdings: LibraryHoldings, rights: Rights, withheld: Iterable[tuple[str, str, str]]
) -> _Licensing:
    refused: dict[str, list[Stem]] = defaultdict(list)
    tags: dict[str, Counter[str]] = defaultdict(Counter)
    for group in holdings.groups:
        if not group.stem.artist:
            continue
        artist = names.exact(group.stem.artist)
        if rights.why_no_style(group.stem) is None:
            tags[artist].update(group.counts.get("tag", {}))
        else:
            refused[artist].append(group.stem)
    claimed: dict[str, list[Conflict]] = defaultdict(list)
    for conflict in rights.conflicts.values():
        for claim in conflict.claims:
            if claim.artist:
                claimed[names.exact(claim.artist)].append(conflict)
    ended: dict[str, list[str]] = defaultdict(list)
    for artist, library, license in withheld:
        ended[names.exact(artist)].append(f"{library}/{license}")
    styles = {
        name: tuple(tag for tag, _ in most_frequent(count, 8)) for name, count in tags.items()
    }
    unlicensed = frozenset({*refused, *claimed, *ended} - tags.keys())
    return _Licensing(frozenset(tags), unlicensed, styles, refused, claimed, ended)


@cache
def _song_titles() -> SongTitles:
    return SongTitles(shipped_roster().songs)


def _licensed_artists(name: str) -> Iterator[Artist]:
    return (Artist(form, reading=SentenceReading.NAME) for form in _aliases(name))


def _aliases(name: str) -> list[str]:
    known = shipped_roster().find(name)
    forms = [form for form, _ in known.forms()] if known else []
    # Who only looks like somebody known has no part in their other names.
    if names.fold(name) not in {names.fold(form) for form in forms}:
        forms = []
    return list(dict.fromkeys([name, *forms]))


# The artists of all libraries of this process; a policy sees those of its scope.
_PROTECTED = LibraryNames(lambda name: [artist_of(name)], _song_titles)
_LICENSED = LibraryNames(_licensed_artists)
_KNOWN = KnownNames()


# Every decision is a security event, and counted; a refused text is never written down.
#
# Events go to the standard logger ``rag_audio.security`` as one JSON line each: a deployment
# attaches its handler there, or names a file in ``RAG_AUDIO_SECURITY_LOG``, which is rotated by
# size and readable by its owner alone.

LOGGER = "rag_audio.security"

_log = structlog.wrap_logger(
    logging.getLogger(LOGGER),
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(),
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
)
_counts: Counter[tuple[str, str]] = Counter()


def note(decision: Decision, where: str) -> None:
    """Log and count a decision; ``where`` says what kind of text it was about."""
    rules = sorted({match.rule for match in decision.matches})
    for rule in rules or ["none"]:
        _counts[decision.action.value, rule] += 1
    _log.info(
        "guardrail.decision",
        action=decision.action.value,
        where=where,
        rules=rules,
        spans=[[m.start, m.end, m.rule] for m in decision.matches],
        characters=len(decision.prompt),
    )


def counts() -> dict[str, int]:
    """Decisions of this process by ``action/rule``."""
    return {f"{action}/{rule}": count for (action, rule), count in sorted(_counts.items())}


def log_to(path: Path, max_bytes: int = 100 << 20, files: int = 10) -> None:
    """Append events to a file, a line each; several processes may name the same one.

    Args:
        max_bytes, files: see :class:`rag_audio.storage.files.LineLog`.

    Raises:
        ConfigError: it cannot be written.
    """
    logger = logging.getLogger(LOGGER)
    path = path.absolute()
    if any(isinstance(h, _ToFile) and h.file.path == path for h in logger.handlers):
        return
    file = LineLog(path, max_bytes, files)
    try:
        file.check()
    except OSError as error:
        raise ConfigError(
            f"the security log {path} cannot be written: {error.strerror}",
            hint="RAG_AUDIO_SECURITY_LOG names a file in a folder that exists",
        ) from error
    handler = _ToFile(file)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


class _ToFile(logging.Handler):
    def __init__(self, file: LineLog) -> None:
        super().__init__()
        self.file = file

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.file.append(self.format(record))
        except OSError:
            self.handleError(record)
