"""What a license grants, where and when, and the rights of a home as they stand at one moment."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rag_audio.domain import names, refusals
from rag_audio.domain.codec import FORMS, FieldForm, form_of, json_form
from rag_audio.domain.conflicts import Conflict, Outcome
from rag_audio.domain.identifiers import COUNTRIES, WORLD
from rag_audio.domain.refusals import Obstacle, Refusal
from rag_audio.domain.stems import Stem
from rag_audio.errors import InvalidInput

SPLIT_TOLERANCE = 1e-6
_TICK = timedelta(microseconds=1)


class Use(StrEnum):
    """What a license can grant."""

    PROMPT = "prompt"
    INIT_AUDIO = "init_audio"
    STYLE = "style"
    TRAIN = "train"


@dataclass(frozen=True)
class Share:
    """What one party holds of a right.

    Attributes:
        share: 0 < s ≤ 1.
        ipi: IPI number of the party, or empty.
    """

    holder: str
    share: float
    ipi: str = ""


@dataclass(frozen=True)
class Splits:
    """Who holds which part: of the recording (master) and of the work, apart from each other.

    Each kind that is stated sums to 1; a kind that is not stated is empty.
    """

    master: tuple[Share, ...] = ()
    composition: tuple[Share, ...] = ()

    def __post_init__(self) -> None:
        for kind, shares in self.kinds().items():
            for one in shares:
                if not 0 < one.share <= 1:
                    raise InvalidInput(
                        f"{kind} share of {one.holder!r} must be in (0, 1], got {one.share!r}"
                    )
            total = math.fsum(one.share for one in shares)
            if shares and abs(total - 1) > SPLIT_TOLERANCE:
                raise InvalidInput(f"{kind} splits must sum to 1, they sum to {total:.7g}")

    def kinds(self) -> dict[str, tuple[Share, ...]]:
        """Both kinds by name: ``master``, ``composition``."""
        return {"master": self.master, "composition": self.composition}


_SHARES = form_of(tuple[Share, ...])
FORMS[Splits] = FieldForm(
    lambda splits: {
        kind: _SHARES.write(shares) for kind, shares in splits.kinds().items() if shares
    },
    lambda document: Splits(
        **{kind: _SHARES.read(shares) for kind, shares in dict(document).items()}
    ),
)


@json_form(named="license", later=("excluded", "timezone", "splits", "ipi"))
@dataclass(frozen=True)
class License:
    """Permission to use library items.

    Attributes:
        id: name in ``library.toml``; unique in its library.
        library: id of the library that declares it.
        holder: who grants it.
        spdx: SPDX id or ``LicenseRef-…``.
        uses: what it grants.
        territories: ISO 3166-1 alpha-2 codes or ``WORLD``.
        excluded: codes that are taken out of ``territories`` again.
        valid_from, valid_until: a day means the whole day in ``timezone``; a date-time has a time
            zone of its own; both ends are inclusive; None is open.
        timezone: IANA name; whose midnights a day begins and ends at.
        credit: the line to print with an output.
        max_similarity: how near a copy an output may be, 0…1 (1: not limited).
        splits: between holders.
        ipi: IPI number of the holder, or empty.
    """

    id: str
    library: str
    holder: str
    spdx: str
    uses: frozenset[Use]
    territories: frozenset[str] = frozenset({WORLD})
    valid_from: date | None = None
    valid_until: date | None = None
    credit: str = ""
    max_similarity: float = 1.0
    excluded: frozenset[str] = frozenset()
    timezone: str = "UTC"
    splits: Splits = field(default_factory=Splits)
    ipi: str = ""

    def __post_init__(self) -> None:
        for name, limit in (("valid_from", self.valid_from), ("valid_until", self.valid_until)):
            if isinstance(limit, datetime) and limit.utcoffset() is None:
                raise InvalidInput(
                    f"{name} {limit.isoformat()} has no time zone",
                    hint=f"write its offset, such as {limit.isoformat()}+01:00, or a bare day",
                )
        _zone(self.timezone)

    @property
    def key(self) -> str:
        """Unique over all libraries of a home."""
        return f"{self.library}/{self.id}"

    @property
    def starts(self) -> datetime | None:
        """The first moment, UTC."""
        return None if self.valid_from is None else _first_moment(self.valid_from, self.timezone)

    @property
    def ends(self) -> datetime | None:
        """The first moment after it, UTC."""
        return None if self.valid_until is None else _after(self.valid_until, self.timezone)

    def ended(self, on: date) -> bool:
        """Whether it is over for good: before the moment ``on``, or before that day ends."""
        ends = self.ends
        return ends is not None and _after(on, self.timezone) > ends

    def refusal(self, use: Use, territory: str | None, on: date) -> str | None:
        """Why ``use`` is not granted in ``territory`` on a day or at a moment; None when it is.

        An unset territory means anywhere: only WORLD licenses without exclusions count. A day
        (a ``date`` that is no ``datetime``) must be covered whole.
        """
        found = self.why_not(use, territory, on)
        return None if found is None else found.reason

    def why_not(self, use: Use, territory: str | None, on: date) -> Refusal | None:
        """As :meth:`refusal`, with a remedy; reasons without one are reported first."""
        if use not in self.uses:
            return refusals.without_use(self.id, use.value, self.uses, self.holder)
        if self.ended(on):
            return refusals.expired(self.id, self.valid_until)
        starts = self.starts
        if starts is not None and _first_moment(on, self.timezone) < starts:
            return refusals.not_begun(self.id, self.valid_from)
        if not self.covers(territory):
            return refusals.not_covered(self.id, territory, self.territories, self.excluded)
        return None

    def covers(self, territory: str | None) -> bool:
        """Whether it holds in a territory; None stands for every one at once."""
        if territory is None:
            return WORLD in self.territories and not self.excluded
        code = territory.strip().upper()
        if code in self.excluded:
            return False
        if code in self.territories:
            return True
        # With exclusions, a code that is none could be a spelling of an excluded one.
        return WORLD in self.territories and (code in COUNTRIES or not self.excluded)


class RevocationOf(StrEnum):
    """What can be revoked."""

    STEM = "stem"
    ARTIST = "artist"
    LICENSE = "license"


@dataclass(frozen=True)
class Revocation:
    """A source that may no longer be used, whatever its license says.

    Attributes:
        target: id of a stem, name of an artist, or key of a license.
        by: who said so.
        at: when, UTC.
        key: how the target is compared, where it is in force: of an artist its
            :func:`rag_audio.domain.names.revocation_key`, else the target itself.
    """

    of: RevocationOf
    target: str
    reason: str
    by: str
    at: datetime
    key: str = field(default="", compare=False)


@dataclass(frozen=True)
class RightsChange:
    """What a revocation, or taking one back, changed; false where that is nothing.

    Attributes:
        rows: numbers of the revocations that were put in force or taken back.
        event: the entry of the log that says so; None where the catalogue has no log.
    """

    rows: tuple[int, ...] = ()
    event: int | None = None

    def __bool__(self) -> bool:
        return bool(self.rows)


@dataclass(frozen=True)
class Rights:
    """The licenses of a home as they stood when read, for one territory and moment.

    Attributes:
        licenses: by key.
        on: a moment (UTC), or a whole day.
        revoked: ids of stems that were revoked one by one, and of those that several licenses or
            artists claim and of which a revoked artist has a say; what a stem itself tells of its
            artist and license is not in it.
        revoked_stems: ids of stems that were revoked one by one.
        revoked_artists: as :func:`rag_audio.domain.names.revocation_key` gives them.
        revoked_licenses: keys of licenses.
        conflicts: by stem id, the stems whose bytes several licenses or artists claim. All
            licenses that hold must grant a use then, whichever copy is asked about.
        ask_revoked: which of some ids the catalogue knows to be revoked; None: none can be.
    """

    licenses: Mapping[str, License]
    territory: str | None
    on: date
    revoked: frozenset[str] = frozenset()
    revoked_artists: frozenset[str] = frozenset()
    revoked_licenses: frozenset[str] = frozenset()
    conflicts: Mapping[str, Conflict] = field(default_factory=dict)
    revoked_stems: frozenset[str] = frozenset()
    ask_revoked: Callable[[Collection[str]], Collection[str]] | None = field(
        default=None, compare=False, repr=False
    )

    def revoked_among(self, ids: Collection[str]) -> frozenset[str]:
        """Which of some stems are revoked by what the catalogue says of them now: an index may hold
        an older artist or license of a stem. One question, whatever their number."""
        found = self.revoked.intersection(ids)
        return found if self.ask_revoked is None else found.union(self.ask_revoked(ids))

    @property
    def revocations(self) -> tuple[frozenset[str], ...]:
        """All that is revoked: equal for as long as nothing is revoked or taken back."""
        return self.revoked_stems, self.revoked_artists, self.revoked_licenses

    def limited_to(self, libraries: Collection[str]) -> Rights:
        """The same where other libraries' licenses grant nothing.

        The licenses themselves stay, since an output may not come too near to a stem of anybody's,
        and so does what was revoked.
        """
        licenses = {
            key: one if one.library in libraries else replace(one, uses=frozenset())
            for key, one in self.licenses.items()
        }
        return replace(self, licenses=licenses)

    def keys_of(self, stem: Stem) -> tuple[str, ...]:
        """Keys of the licenses that hold for the stem's bytes, its own first where it does."""
        conflict = self.conflicts.get(stem.id)
        if conflict is None:
            return (stem.license_key,)
        own = stem.license_key
        return tuple(sorted(conflict.outcome.licenses, key=lambda key: (key != own, key)))

    def licenses_of(self, stem: Stem) -> tuple[License, ...]:
        """The licenses that hold and are known, in the order of :meth:`keys_of`."""
        keys = self.keys_of(stem)
        return tuple(self.licenses[key] for key in keys if key in self.licenses)

    def license_of(self, stem: Stem) -> License | None:
        """The first of :meth:`licenses_of`."""
        return next(iter(self.licenses_of(stem)), None)

    def claims_on(self, stem: Stem) -> tuple[tuple[str, str], ...]:
        """Who holds the stem's bytes where its own license and artist do not say it all.

        Returns:
            Key of the license and declared artist of every claim that holds, sorted; empty where
            only the stem's own does.
        """
        conflict = self.conflicts.get(stem.id)
        if conflict is None:
            return ()
        said = {(claim.key, claim.artist) for claim in conflict.holding}
        named = {key for key, artist in said if artist}
        said = {(key, artist) for key, artist in said if artist or key not in named}
        own = (stem.license_key, stem.artist)
        return () if said in ({own}, {(own[0], "")}) else tuple(sorted(said))

    def holds_for(self, stem: Stem) -> bool:
        """Whether the license of this very copy holds: no decision sets it aside."""
        return stem.license_key in self.keys_of(stem)

    def is_revoked(self, stem: Stem) -> bool:
        """Whether the stem, an artist of it or a license that holds for it was revoked."""
        return self._revocation(stem) is not None

    def is_revoked_as_told(self, stem: Stem) -> bool:
        """As :meth:`is_revoked`, of a stem as a library tells it anew: who its artist was said to
        be before does not count."""
        told = replace(self, revoked=self.revoked_stems)
        return told.is_revoked(stem)

    def refusal(self, stem: Stem, use: Use) -> str | None:
        """Why ``stem`` may not be used so; None when it may. No license means no."""
        found = self.why_not(stem, use)
        return None if found is None else found.reason

    def why_not(self, stem: Stem, use: Use) -> Refusal | None:
        """As :meth:`refusal`, with a remedy."""
        withdrawn = self._revocation(stem)
        if withdrawn is not None:
            return withdrawn
        conflict = self.conflicts.get(stem.id)
        if conflict is not None:
            return self._unanimous(conflict.outcome, use)
        granted = self.licenses.get(stem.license_key)
        if granted is None:
            return refusals.no_license(stem.license)
        return granted.why_not(use, self.territory, self.on)

    def why_not_any(self, stem: Stem, uses: Iterable[Use]) -> Refusal | None:
        """None where one of ``uses`` is granted, else the reason that can be helped best."""
        found = [self.why_not(stem, use) for use in uses]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            return None
        return refusals.most_curable(known) or refusals.NO_CHANNEL

    def why_no_style(self, stem: Stem) -> Refusal | None:
        """Why the stem's artist may not be asked for by it; None when the artist may be.

        Only ``stems.csv`` makes an artist one; the tags of a file grant nothing.
        """
        found = self.why_not(stem, Use.STYLE)
        lasting = found is not None and found.obstacle > Obstacle.TAGS_ONLY
        return found if stem.artist_declared or lasting else refusals.tags_only(stem.artist)

    def why_conflict(self, conflict: Conflict, use: Use) -> Refusal | None:
        """As :meth:`why_not`, of a stem in conflict."""
        withdrawn = self._withdrawn(conflict.outcome)
        if withdrawn is None and conflict.stem in self.revoked:
            withdrawn = refusals.revoked("the stem", f"--stem {conflict.stem[:12]}")
        return withdrawn or self._unanimous(conflict.outcome, use)

    def why_not_indexed(self, key: str, artist: str) -> Refusal:
        """Why an artist may not be asked for of whom only files under this license are known, that
        granted nothing when they were looked at."""
        granted = self.licenses.get(key)
        if granted is None:
            return refusals.no_license(key.partition("/")[2])
        if key in self.revoked_licenses:
            return refusals.revoked(f"license {granted.id}", f"--license {key}")
        why = granted.why_not(Use.STYLE, self.territory, self.on)
        return why or refusals.not_indexed(artist, granted.library)

    def keys_granting(self, *uses: Use) -> frozenset[str]:
        """Keys of the licenses that grant at least one of ``uses``."""
        return frozenset(
            key
            for key, granted in self.licenses.items()
            if key not in self.revoked_licenses
            and any(granted.refusal(use, self.territory, self.on) is None for use in uses)
        )

    def barred(self, *uses: Use) -> frozenset[str]:
        """Ids of stems in conflict that may be put to none of ``uses``.

        For the filter of a search; stems that one license alone refuses are left out by
        :meth:`keys_granting`.
        """
        known: dict[Outcome, bool] = {}
        found = set()
        for id_, conflict in self.conflicts.items():
            outcome = conflict.outcome
            if outcome not in known:
                known[outcome] = self._withdrawn(outcome) is not None or all(
                    self._unanimous(outcome, use) is not None for use in uses
                )
            if known[outcome]:
                found.add(id_)
        return frozenset(found)

    def _unanimous(self, outcome: Outcome, use: Use) -> Refusal | None:
        """Why not all licenses that hold grant a use; None when they do."""
        for key in outcome.licenses:
            if key in outcome.unclaimed:
                return refusals.unclaimed(key)
            granted = self.licenses.get(key)
            why = (
                refusals.no_license(key)
                if granted is None
                else granted.why_not(use, self.territory, self.on)
            )
            if why is not None:
                return why if outcome.is_decided else refusals.contested(why)
        if use is Use.STYLE and outcome.differ_in_artist:
            return refusals.artists_differ(outcome.artists)
        return None

    def _revocation(self, stem: Stem) -> Refusal | None:
        conflict = self.conflicts.get(stem.id)
        if conflict is not None:
            withdrawn = self._withdrawn(conflict.outcome)
            if withdrawn is not None:
                return withdrawn
        elif stem.license_key in self.revoked_licenses:
            return refusals.revoked(f"license {stem.license}", f"--license {stem.license_key}")
        elif names.is_revoked(stem.artist, self.revoked_artists):
            return refusals.revoked(f"artist {stem.artist}", f"--artist {stem.artist!r}")
        # Last: the ids hold contested ones of revoked artists as well.
        if stem.id in self.revoked:
            return refusals.revoked("the stem", f"--stem {stem.id[:12]}")
        return None

    def _withdrawn(self, outcome: Outcome) -> Refusal | None:
        for key in outcome.licenses:
            if key in self.revoked_licenses:
                return refusals.revoked(f"license {key.partition('/')[2]}", f"--license {key}")
        for artist in outcome.artists:
            if names.is_revoked(artist, self.revoked_artists):
                return refusals.revoked(f"artist {artist}", f"--artist {artist!r}")
        return None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as cause:
        raise InvalidInput(
            f"timezone {name!r} is not known", hint="use an IANA name such as Europe/Berlin"
        ) from cause


def _first_moment(on: date, timezone: str) -> datetime:
    """Of a day in a time zone; a moment is its own. UTC."""
    if isinstance(on, datetime):
        return on.astimezone(UTC) if on.utcoffset() is not None else on.replace(tzinfo=UTC)
    return _utc(datetime.combine(on, time(), _zone(timezone)), datetime.min)


def _after(on: date, timezone: str) -> datetime:
    """The first moment after a day in a time zone, or after a moment. UTC."""
    if isinstance(on, datetime):
        return _first_moment(on, timezone) + _TICK
    if on == date.max:
        return datetime.max.replace(tzinfo=UTC)
    midnight = datetime.combine(on + timedelta(days=1), time(), _zone(timezone))
    return _utc(midnight, datetime.max)


def _utc(moment: datetime, end: datetime) -> datetime:
    """In UTC; the end of the calendar where that lies past it."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return end.replace(tzinfo=UTC)
