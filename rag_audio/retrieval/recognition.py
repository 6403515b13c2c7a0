"""Recognise library stems and outputs in the files that a user brings, and check their rights.

A file that a user brings is theirs to vouch for, unless it holds something of which we know better:
a stem of the library (the very bytes, or its sound or notes again), or a mark of ours. What is
recognised is treated by its own rights; the user's statement does not overrule them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag_audio.audio import reading, scores
from rag_audio.audio.channels import views
from rag_audio.audio.copy_distance import Sketch, sketch
from rag_audio.audio.dsp import resample, spread_windows
from rag_audio.audio.headers import SCORE, read_head, suffix_of
from rag_audio.audio.reading import IdentifiedAudio
from rag_audio.audio.score_similarity import shared_notes
from rag_audio.audio.scores import NoteScore
from rag_audio.domain import (
    AttributionRecord,
    Audio,
    Channel,
    Rights,
    Segment,
    SegmentFilter,
    Stem,
    StemKind,
    Use,
)
from rag_audio.domain.disclosure import (
    EVERYTHING,
    NO_REASON,
    OTHER_OUTPUT,
    OTHER_SOURCE,
    Disclosure,
    renamed,
)
from rag_audio.domain.landmarks import Landmarks, LandmarkStore, Numbers, Postings
from rag_audio.domain.ports import Embedder, Hit, Mark, StemIndex
from rag_audio.domain.record import Ledger
from rag_audio.domain.refusals import NO_CHANNEL, Refusal, most_curable
from rag_audio.errors import InvalidInput, LibraryError, RequestRefused, UnreadableFile
from rag_audio.retrieval.landmarks import RATE
from rag_audio.retrieval.matching import SEARCHED_S, StemMatch, recognise
from rag_audio.storage.cache import content_hash
from rag_audio.storage.library_files import is_url, local_file

if TYPE_CHECKING:
    from rag_audio.storage.catalogue import SqlCatalogue
    from rag_audio.storage.landmarks import SqlLandmarks

# Which stems of the library a foreign sound holds.
#
# Stems are recognised by their landmarks, whatever was done to the sound. Those that have none (a
# version before indexed them) or too few (a single hit, a steady tone) are searched for by their
# embeddings and compared as they are; that is bounded, and what was not compared is told.

COPY_THRESHOLD = 0.35
"""A piece that is nearer to a stem than this is taken for the stem; see docs/rights.md."""

PIECE_S = 5.0
WINDOWS = 8
FEW_LANDMARKS = 60
"""A stem that has fewer is not sure to be recognised by them: one second of music has as many."""
_RATE = 16_000
_HITS_PER_WINDOW = 6
_MOST_REVOKED = 16
_MOST_NAMED = 1000
"""So many stems with few landmarks are named to a search; of more, what is near is sifted."""
_BESIDE = 8
"""So many times more hits are looked through then."""
_SAME_TEMPO, _SAME_PITCH = 0.004, 0.15

LoadSegment = Callable[[Segment, int], Audio]


@dataclass(frozen=True)
class Neighbours:
    """Segments of the index that sound like something.

    Args:
        embedder, index: give the part, which is made only where something is searched for.
    """

    embedder: Callable[[], Embedder]
    index: Callable[[], StemIndex]

    def nearest(self, sounds: Sequence[Audio], where: SegmentFilter, limit: int) -> list[list[Hit]]:
        """For each sound its nearest segments, at most ``limit``, best first."""
        vectors = self.embedder().embed_audio(sounds)
        return [self.index().search_dense(np.asarray(one), where, limit) for one in vectors]


@dataclass(frozen=True)
class StemInSound:
    """A stem in a foreign sound.

    Attributes:
        stem_id: its id; no library that may be asked need hold it.
        distance: 0 is the same; 0.5 just suffices where landmarks tell, 0.35 where they do not.
        changed: how it was changed, in words; empty where it was not, or that is not known.
        part: from and to in the sound, in seconds; None where that is not known.
    """

    stem_id: str
    distance: float
    changed: str = ""
    part: tuple[float, float] | None = None


class _SeenLandmarks:
    """The landmarks of those stems that a catalogue of some libraries knows.

    Whether it does is asked of the stems that occur, each once.
    """

    def __init__(self, store: LandmarkStore, catalogue: SqlCatalogue) -> None:
        self._store, self._catalogue = store, catalogue
        self._asked: set[str] = set()
        self._seen: set[str] = set()

    def sharing(self, hashes: Numbers, exclude: Collection[str] = ()) -> Postings:
        found = self._store.sharing(hashes, exclude)
        new = set(found.stem_ids) - self._asked - {""}
        self._seen.update(id_ for _, id_ in self._catalogue.held(new))
        self._asked |= new
        seen = np.array([id_ in self._seen for id_ in found.stem_ids], dtype=bool)
        return found.of(seen[found.stems]) if found.stems.size else found

    def load(self, stem_ids: Collection[str]) -> Mapping[str, Landmarks]:
        return self._store.load(stem_ids)


class SoundSearch:
    """Looks for stems in foreign sounds.

    Args:
        rights: as they stand now; revoked stems have no embedding.
        load: reads or renders a segment of a stem.
        all_libraries: whether the catalogue is that of all libraries.
    """

    def __init__(
        self,
        rights: Rights,
        load: LoadSegment,
        *,
        catalogue: SqlCatalogue,
        landmarks: SqlLandmarks,
        neighbours: Neighbours,
        all_libraries: bool,
    ) -> None:
        self._rights, self._load = rights, load
        self._catalogue, self._landmarks, self._neighbours = catalogue, landmarks, neighbours
        self._all_libraries = all_libraries
        self._sketches: dict[Segment, Sketch] = {}

    def find(self, heard: Audio) -> tuple[list[StemInSound], list[str]]:
        """The stems that a sound holds, each once, and what it could not be compared with, and why.

        Raises:
            InvalidInput: samples are not finite.
            BackendUnavailable: the index or the database cannot be reached.
        """
        found = {one.stem_id: one for one in self._by_landmarks(heard)}
        unchecked: list[str] = []
        if heard.duration_s > SEARCHED_S:
            unchecked.append(f"stems all along: beyond {SEARCHED_S / 60:.0f} minutes with gaps")
        for piece, segment in self._pairs(heard, unchecked):
            if segment.stem.id in found:
                continue
            distance = self._distance(piece, segment, unchecked)
            if distance < COPY_THRESHOLD:
                found[segment.stem.id] = StemInSound(segment.stem.id, distance)
        return list(found.values()), unchecked

    def _by_landmarks(self, heard: Audio) -> list[StemInSound]:
        store: LandmarkStore = self._landmarks
        if not self._all_libraries:
            store = _SeenLandmarks(store, self._catalogue)
        return [
            StemInSound(one.stem_id, 1.0 - one.confidence, changes(one), (one.start_s, one.end_s))
            for one in recognise(views(resample(heard, RATE)), store)
        ]

    def _pairs(self, heard: Audio, unchecked: list[str]) -> Iterator[tuple[Sketch, Segment]]:
        """Pieces of the sound, each with the segments of other stems that it may be from."""
        wanted = self._hard_to_recognise()
        if not wanted:
            return
        many = len(wanted) > _MOST_NAMED
        stems = [] if many else self._catalogue.stems_with(wanted)
        window_s = self._neighbours.embedder().window_s
        windows = spread_windows(heard, window_s, WINDOWS)
        sketches = [[sketch(piece) for piece in pieces(window)] for window in windows]
        found = self._nearest_of_all(windows) if many else self._nearest_of(windows, stems)
        for mine, hits in zip(sketches, found, strict=bool(found)):
            for hit in hits:
                around = _around(hit.segment, window_s / 2)
                yield from ((piece, around) for piece in mine)
        revoked, number = self._revoked_of_all() if many else self._revoked_of(stems)
        for stem in revoked[:_MOST_REVOKED]:
            whole = Segment(stem, 0.0, stem.duration_s)
            yield from ((piece, whole) for mine in sketches for piece in mine)
        if number > _MOST_REVOKED:
            unchecked.append(
                f"{number - _MOST_REVOKED} revoked stems without landmarks: index again"
            )

    def _hard_to_recognise(self) -> set[str]:
        """Stems that have too few landmarks, of any library; of very many a part."""
        lacking = self._catalogue.without_landmarks(most=_MOST_NAMED + 1)
        return lacking | self._landmarks.scarce(FEW_LANDMARKS, _MOST_NAMED + 1)

    def _nearest_of(self, windows: Sequence[Audio], stems: Sequence[Stem]) -> list[list[Hit]]:
        """Of stems those segments that are nearest to each window."""
        asked = tuple(sorted({stem.id for stem in stems if not self._rights.is_revoked(stem)}))
        if not asked:
            return []
        keys = frozenset(stem.license_key for stem in stems)
        keys |= {key for one in self._rights.conflicts.values() for key in one.keys}
        where = SegmentFilter(license_keys=keys, stems=asked)
        return self._neighbours.nearest(windows, where, _HITS_PER_WINDOW)

    def _nearest_of_all(self, windows: Sequence[Audio]) -> list[list[Hit]]:
        """The segments nearest to each window whose stems have too few landmarks."""
        where = SegmentFilter(license_keys=self._catalogue.license_keys())
        if not where.license_keys:
            return []
        found = self._neighbours.nearest(windows, where, _BESIDE * _HITS_PER_WINDOW)
        ids = {hit.segment.stem.id for hits in found for hit in hits}
        few = self._landmarks.scarce_among(ids, FEW_LANDMARKS)
        own = [[hit for hit in hits if hit.segment.stem.id in few] for hits in found]
        return [hits[:_HITS_PER_WINDOW] for hits in own]

    def _revoked_of(self, stems: Sequence[Stem]) -> tuple[list[Stem], int]:
        revoked = [stem for stem in stems if self._rights.is_revoked(stem)]
        return revoked, len(revoked)

    def _revoked_of_all(self) -> tuple[list[Stem], int]:
        """Revoked stems with too few landmarks among the first that are revoked, and how many may
        be: those that were not looked at among them."""
        marked, number = self._catalogue.marked_revoked(_MOST_NAMED)
        few = self._landmarks.scarce_among({stem.id for stem in marked}, FEW_LANDMARKS)
        revoked = [s for s in marked if s.id in few and self._rights.is_revoked(s)]
        return revoked, len(revoked) + max(0, number - len(marked))

    def _distance(self, piece: Sketch, segment: Segment, unchecked: list[str]) -> float:
        if segment not in self._sketches:
            try:
                self._sketches[segment] = sketch(self._load(segment, _RATE))
            except LibraryError as error:
                unchecked.append(f"{segment.stem.path}: {error.message}")
                return 1.0
        return piece.distance(self._sketches[segment])


def changes(found: StemMatch) -> str:
    """How a stem was changed on its way into a sound, in words; empty where it was not."""
    said = []
    if abs(found.tempo - 1.0) > _SAME_TEMPO:
        way = "faster" if found.tempo > 1.0 else "slower"
        said.append(f"{abs(found.tempo - 1.0) * 100:.1f} % {way}")
    if abs(found.semitones) > _SAME_PITCH:
        way = "higher" if found.semitones > 0 else "lower"
        said.append(f"{abs(found.semitones):.1f} semitones {way}")
    if found.reversed:
        said.append("played backwards")
    if found.view > 0:
        said.append("hidden in how the channels differ")
    return ", ".join(said)


def share_outside(parts: Sequence[tuple[float, float] | None], duration_s: float) -> float:
    """Which share of a sound none of the parts covers, 0…1; a part that is not known is all."""
    if duration_s <= 0 or any(part is None for part in parts):
        return 0.0
    covered, end_s = 0.0, 0.0
    for start, end in sorted(part for part in parts if part is not None):
        covered += max(0.0, min(end, duration_s) - max(start, end_s))
        end_s = max(end_s, end)
    return max(0.0, 1.0 - covered / duration_s)


def pieces(window: Audio) -> list[Audio]:
    """A window cut in pieces of five seconds; one that is no longer stays whole."""
    size = round(PIECE_S * window.sample_rate)
    starts = range(0, max(1, window.frames - size + 1), size)
    return [Audio(window.samples[:, at : at + size], window.sample_rate) for at in starts]


def _around(segment: Segment, more_s: float) -> Segment:
    start = max(0.0, segment.start_s - more_s)
    end = min(segment.stem.duration_s, segment.start_s + segment.duration_s + more_s)
    return Segment(segment.stem, start, end - start)


NOTES_THRESHOLD = 0.9
"""A score that shares so many of its notes with a stem is taken for the stem."""

_EXCERPT_S = 30.0
_HITS_PER_EXCERPT, _MAX_SCORES = 50, 40
_MOSTLY_KEPT = 0.5
"""From this share on a part of an edited file's sound is that file's."""
_MOSTLY_KNOWN = 0.5
"""Where more than this share of a sound is outside of the stems in it, its rights are not known."""
_NOT_OVERRULED = "what you state about a file does not overrule the rights of what is in it"

DoNotTrain = Callable[[Path], str | None]
"""What a file's own manifest forbids, in words; None when it forbids nothing or there is none."""


@dataclass(frozen=True)
class Recognised:
    """A stem that was found in a foreign file.

    Attributes:
        copies: the stem as each library has it that holds these bytes.
        how: ``bytes``, ``sound`` or ``notes``.
        distance: 0 is the same.
        changed: how the stem's sound was changed, in words; empty where it was not, or that is not
            known.
    """

    copies: tuple[Stem, ...]
    how: str
    distance: float
    changed: str = ""

    @property
    def name(self) -> str:
        first = self.copies[0]
        return first.title or first.path

    @property
    def by(self) -> str:
        """What it was recognised by, and how that was changed."""
        return f"its {self.how} ({self.changed})" if self.changed else f"its {self.how}"


@dataclass(frozen=True)
class ForeignFinding:
    """What is known about a file that a user brought.

    Attributes:
        sha256: of its bytes.
        stems: library items in it.
        output: number of the output of ours that it is, and ``sources`` what that was made from.
        library: name of the library in whose folder these bytes lie without a license.
        withheld: name of the library that has a stem in it whose license grants nothing any more.
        do_not_train: what a manifest in it forbids.
        rest: share of a sound in which stems were recognised that is outside of them, 0…1.
        unchecked: near library items that it could not be compared with, and why.
        notices: what was cut or odd in it, one line each.
    """

    path: str
    sha256: str
    stems: tuple[Recognised, ...] = ()
    output: int | None = None
    sources: tuple[Stem, ...] = ()
    library: str = ""
    withheld: str = ""
    do_not_train: str | None = None
    rest: float = 0.0
    unchecked: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether its rights are known to us, so that no statement of the user is needed."""
        return bool(self.stems) or self.output is not None

    @property
    def is_mostly_stems(self) -> bool:
        """Whether it is hardly more than the stems in it, so that their licenses are its rights."""
        return bool(self.stems) and self.rest <= _MOSTLY_KNOWN

    def notes(self, disclosure: Disclosure = EVERYTHING) -> list[str]:
        """What a plan should say about it; the file's name alone, since others read plans.

        Args:
            disclosure: to whom it is said.
        """
        name = Path(self.path).name
        said = [f"{name}: {notice}" for notice in self.notices]
        said += [f"{name} was recognised as {one.name}, by {one.by}" for one in self.stems]
        if self.output is not None:
            said.append(f"{name} was recognised as {disclosure.output(self.output)}")
        said += [f"{name} was not compared with {why}" for why in self.unchecked]
        return list(dict.fromkeys(said))


class Inspector:
    """Looks into foreign files.

    Args:
        rights: as they stand now; revoked stems have no embedding.
        landmarks, neighbours: find the stems whose sound a file holds, changed or not.
        mark_in: the watermark in a sound; None: there is none.
        load: reads or renders a segment of a stem.
        render: plays a score in excerpts of so many seconds, so many at most.
        hear, score, do_not_train: read the sound, the notes and the manifest of a foreign file.
        by_content: the outputs that a sound is by its content, where its mark is gone, best first:
            number, and which part of it, from and to in seconds.
        disclosure: to whoever brings the files.
    """

    def __init__(
        self,
        rights: Rights,
        *,
        catalogue: SqlCatalogue,
        landmarks: SqlLandmarks,
        ledger: Ledger,
        neighbours: Neighbours,
        mark_in: Callable[[Audio], Mark | None],
        load: LoadSegment,
        render: Callable[[NoteScore, float, int], Sequence[Audio]],
        hear: Callable[[Path], IdentifiedAudio] = reading.hear,
        score: Callable[[Path], NoteScore] = scores.parse,
        do_not_train: DoNotTrain = lambda path: None,
        by_content: Callable[[Audio], Sequence[tuple[int, float, float]]] = lambda heard: (),
        disclosure: Disclosure = EVERYTHING,
    ) -> None:
        self._rights = rights
        self._catalogue, self._ledger, self._neighbours = catalogue, ledger, neighbours
        self._search = SoundSearch(
            rights,
            load,
            catalogue=catalogue,
            landmarks=landmarks,
            neighbours=neighbours,
            all_libraries=disclosure.libraries is None,
        )
        self._mark_in = mark_in
        self._render = render
        self._hear, self._score = hear, score
        self._do_not_train = do_not_train
        self._by_content = by_content
        self._disclosure = disclosure

    def inspect(self, path: Path) -> ForeignFinding:
        """What is known about the content of an audio or MIDI file.

        Raises:
            UnreadableFile: it is neither.
        """
        finding = self._by_bytes(path)
        if suffix_of(read_head(path)) == SCORE:
            score = self._score(path)
            finding = replace(finding, notices=score.notices)
            return finding if finding.stems else self._by_notes(score, finding)
        heard = self._hear(path)
        finding = replace(finding, notices=heard.notices)
        return finding if finding.stems else self._by_sound(heard.audio, finding)

    def _by_bytes(self, path: Path) -> ForeignFinding:
        try:
            digest = content_hash(path)
        except OSError as error:
            name = self._disclosure.file(path)
            raise UnreadableFile(f"{name} cannot be read: {error.strerror}") from error
        finding = ForeignFinding(str(path), digest, do_not_train=self._do_not_train(path))
        copies = tuple(self._catalogue.copies(digest))
        if copies:
            return replace(finding, stems=(Recognised(copies, "bytes", 0.0),))
        if digest in self._rights.revoked:
            raise RequestRefused(self._revoked(path))
        resolved = path.resolve()
        size = resolved.stat().st_size
        for library in self._catalogue.libraries():
            if is_url(library.root):
                continue  # to look for a file would be to list the objects
            root = Path(library.root).resolve()
            if resolved.is_relative_to(root) or _holds(root, size, digest):
                return replace(finding, library=library.name)
        return finding

    def _revoked(self, path: Path) -> str:
        """Whose stem it was is not known any more: shown only to those who see all libraries."""
        name = self._disclosure.file(path)
        if self._disclosure.libraries is None:
            return f"refused: {name} is a stem that was revoked"
        return f"refused: {name} holds {OTHER_SOURCE}: {NO_REASON}"

    def _by_sound(self, heard: Audio, finding: ForeignFinding) -> ForeignFinding:
        finding = self._by_ledger(heard, finding)
        stems, unchecked = self._search.find(heard)
        known, withheld = [], ""
        for one in stems:
            copies = tuple(self._catalogue.copies(one.stem_id))
            if copies:
                known.append(Recognised(copies, "sound", one.distance, one.changed))
            else:
                withheld = withheld or self._withheld(one.stem_id)
        return replace(
            finding,
            stems=tuple(known),
            withheld=withheld,
            rest=share_outside([one.part for one in stems], heard.duration_s) if known else 0.0,
            unchecked=tuple(dict.fromkeys(unchecked)),
        )

    def _withheld(self, stem: str) -> str:
        """The name of the library that has a stem whose license grants nothing any more."""
        holders = {library for library, _ in self._catalogue.withheld_copies(stem)}
        names = (one.name for one in self._catalogue.libraries() if one.id in holders)
        return next(names, "")

    def _by_ledger(self, heard: Audio, finding: ForeignFinding) -> ForeignFinding:
        """An output of ours: the very file, the mark in its sound, or the sound itself."""
        entry, output = self._ledger.find_pcm(finding.sha256), None
        if entry is None:
            mark = self._mark_in(heard)
            marked = None if mark is None or mark.by_hand else mark.payload
            if marked is None:
                return self._by_content_of(heard, finding)
            output, entry = marked, self._ledger.find(marked)
        if entry is None:
            return replace(finding, output=output)
        return _with_sources(finding, entry.record)

    def _by_content_of(self, heard: Audio, finding: ForeignFinding) -> ForeignFinding:
        """An output by its sound; not one that has that sound from a file of somebody else's."""
        for output, start_s, end_s in self._by_content(heard):
            entry = self._ledger.find(output)
            if entry is None:
                return replace(finding, output=output)
            if not _is_kept_from_elsewhere(entry.record, finding.sha256, start_s, end_s):
                return _with_sources(finding, entry.record)
        return finding

    def _nearest(self, excerpts: Sequence[Audio]) -> Iterator[Hit]:
        """Segments of scores that sound like excerpts, licensed or not: the nearest of each
        first."""
        keys = self._catalogue.license_keys(StemKind.MIDI)
        if not keys or not excerpts:
            return
        where = SegmentFilter(license_keys=keys, kind=StemKind.MIDI)
        for row in zip_longest(*self._neighbours.nearest(excerpts, where, _HITS_PER_EXCERPT)):
            yield from (hit for hit in row if hit is not None)

    def _notes_of(self, stem: Stem) -> NoteScore:
        with local_file(self._catalogue.stored_file(stem)) as file:
            try:
                return scores.parse(file.path)
            except UnreadableFile as error:
                raise renamed(error, file.path, file.path.name) from error

    def _by_notes(self, score: NoteScore, finding: ForeignFinding) -> ForeignFinding:
        excerpts = list(self._render(score, _EXCERPT_S, WINDOWS))
        marked, number = self._catalogue.marked_revoked(_MAX_SCORES, StemKind.MIDI)
        revoked = [stem for stem in marked if self._rights.is_revoked(stem)]
        near = {hit.segment.stem.id: hit.segment.stem for hit in self._nearest(excerpts)}
        found: list[Recognised] = []
        unchecked: list[str] = []
        if number > len(marked):
            unchecked.append(f"{number - len(marked)} of the scores that were revoked")
        for stem in [*list(near.values())[:_MAX_SCORES], *revoked]:
            try:
                other = self._notes_of(stem)
            except UnreadableFile as error:
                unchecked.append(f"{stem.path}: {error.message}")
                continue
            shared = shared_notes(score, other)
            if shared >= NOTES_THRESHOLD:
                copies = tuple(self._catalogue.copies(stem.id)) or (stem,)
                found.append(Recognised(copies, "notes", 1.0 - shared))
        return replace(finding, stems=tuple(found), unchecked=tuple(unchecked))


def _with_sources(finding: ForeignFinding, record: AttributionRecord) -> ForeignFinding:
    stems = tuple(source.reference.stem for source in record.sources)
    return replace(finding, output=record.output, sources=stems)


def _is_kept_from_elsewhere(
    record: AttributionRecord, sha256: str, start_s: float, end_s: float
) -> bool:
    """Whether a part of an output is the sound of the file that was edited, which is nobody's
    output: whoever brings that file again brings the file, not what was made from it."""
    edit = record.plan.get("edit")
    if not edit or edit["parent"] is not None:
        return False
    if edit["source_sha256"] == sha256:
        return True
    if edit["kind"] == "vary":
        return bool(edit["kept"] >= _MOSTLY_KEPT)
    made_s = sum(max(0.0, min(end, end_s) - max(start, start_s)) for start, end in edit["regions"])
    return bool(made_s <= (1.0 - _MOSTLY_KEPT) * (end_s - start_s))


def require_rights(
    finding: ForeignFinding,
    rights: Rights,
    channels: Iterable[Channel],
    *,
    stated: str | None,
    needs_statement: bool,
    disclosure: Disclosure = EVERYTHING,
) -> None:
    """Let a foreign file in that may be used, by what is known of it or by what the user states.

    Args:
        channels: by which it could reach the output; a recognised source must be licensed for one.
        stated: ``own``, ``licensed`` or None.
        needs_statement: whether its sound could be used.
        disclosure: to whoever brings the file.

    Raises:
        RequestRefused: it holds something that may not be used.
        InvalidInput: nothing is known of it, and the user states nothing.
    """
    uses = [Use.PROMPT if channel is Channel.PROMPT else Use.INIT_AUDIO for channel in channels]
    reasons: list[str] = []
    cures: list[str] = []
    for one in finding.stems:
        why = _refusal(one.copies, rights, uses)
        if why is not None:
            reasons.append(f"it holds {one.name} (by {one.by}): {why.reason}")
            cures.append(why.cure)
    for stem in finding.sources:
        why = _refusal((stem,), rights, uses)
        if why is not None:
            made = OTHER_OUTPUT if finding.output is None else disclosure.output(finding.output)
            told = f"{disclosure.stem(stem)}: {disclosure.reason(stem, why)}"
            reasons.append(f"it is {made}, made from {told}")
            cures.append(disclosure.cure(stem, why))
    if finding.output is not None and not finding.sources and not finding.stems:
        # An output without sources, or one of another home with our key: the statement decides.
        needs_statement = True
    if finding.library:
        reasons.append(f"its bytes lie in the library {finding.library} and have no license there")
    if finding.withheld:
        reasons.append(f"it holds a stem of the library {finding.withheld} that has no license now")
    # Our own outputs may carry it too: it is addressed to others, and their sources decide.
    if finding.do_not_train is not None and not finding.sources:
        reasons.append(f"its manifest says: {finding.do_not_train}")
    name = disclosure.file(finding.path)
    if reasons:
        raise RequestRefused(
            f"refused: {name} may not be used: {reasons[0]}",
            hint="; ".join((_NOT_OVERRULED, *filter(None, cures[:1]))),
            reasons=tuple(dict.fromkeys(reasons)),
        )
    known = bool(finding.sources) or finding.is_mostly_stems
    if needs_statement and finding.stems and not known and stated is None:
        raise InvalidInput(
            f"{name} holds {finding.stems[0].name}; state your rights to the other "
            f"{finding.rest:.0%} of it",
            hint="--audio-rights own, or --audio-rights licensed",
        )
    if needs_statement and not known and stated is None:
        raise InvalidInput(
            f"state your rights to {name}",
            hint="--audio-rights own, or --audio-rights licensed",
        )


def _refusal(copies: Iterable[Stem], rights: Rights, uses: Sequence[Use]) -> Refusal | None:
    """Why none of ``uses`` is granted for any of the copies; None when one is."""
    found = [rights.why_not_any(copy, uses) for copy in copies]
    known = [why for why in found if why is not None]
    return (most_curable(known) or NO_CHANNEL) if len(known) == len(found) else None


def _holds(root: Path, size: int, digest: str) -> bool:
    """Whether a file below a library's root has these bytes.

    The catalogue knows only what was indexed; a file whose license had ended before is not in it.
    """
    for folder, _, names in os.walk(root):
        for name in names:
            file = Path(folder, name)
            try:
                if file.lstat().st_size == size and content_hash(file) == digest:
                    return True
            except OSError:
                continue  # a file that cannot be read is not the one that was given
    return False
