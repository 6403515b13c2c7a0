"""What of a sound file is sound, and how it is given to a decoder that trusts headers.

A file that is as its header says goes to the decoder as it is. Of others the ranges that hold sound
are put together anew, with right counts; and a notice says what was odd.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rag_audio.audio import flac_frames, mpeg_frames, ogg_streams, riff_chunks, sized_headers
from rag_audio.audio.file_bytes import FileBytes
from rag_audio.audio.flac_frames import FlacStream
from rag_audio.audio.mpeg_frames import Run
from rag_audio.audio.ogg_streams import Link
from rag_audio.audio.riff_chunks import WavSound
from rag_audio.audio.sequential_file import UNKNOWN_FRAMES
from rag_audio.audio.sized_headers import SizedSound
from rag_audio.audio.spliced_file import Piece, SplicedFile, moved

MOST_PARTS = 1000
"""Sounds of one file that are read, one after the other."""
_EXTRA = 16
_FARTHEST = 1 << 16
_FOREIGN = (
    (4, b"ftyp"),
    (4, b"moov"),
    (0, b"\x1a\x45\xdf\xa3"),
    (0, b"\x30\x26\xb2\x75"),
    (0, b"\x00\x00\x01\xba"),
    (0, b"FLV"),
    (0, b"wvpk"),
    (0, b"RIFF"),
    (0, b"RIFX"),
    (0, b"FORM"),
    (0, b"PK\x03\x04"),
)
"""Containers whose streams, which may be MPEG frames, lie in pieces among other data."""
_NO_PROGRAM = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\0\t\n\r\x20-\x7e]*")
"""What may stand before a WAV whose size is untrue: zeros, text, a byte order mark."""
_BY_NAME = (".mp3", ".mp2", ".mpga", ".m1a", ".m2a")
"""Names by which libsndfile takes anything for MPEG audio, and prints what it misses in it."""
_STREAMED = 0x7FFFFF00
"""Sizes from here on stand for "unknown" in files that were written to a pipe."""
_MOST_BEHIND = 0.005


@dataclass(frozen=True)
class Part:
    """One sound of a file.

    Attributes:
        pieces: what the decoder is to be given; empty: the file itself.
        frames: that it has; None: as the decoder counts.
        promised: frames that the header promises (0: it does not say) of a sound that is cut or
            followed by other data; None: nothing is to be said of that.
        extra: as in :class:`.SplicedFile`.
        is_flac: the pieces are a FLAC stream, which can be taken up again behind damage.
    """

    pieces: tuple[Piece, ...] = ()
    frames: int | None = None
    promised: int | None = None
    extra: int = 0
    is_flac: bool = False


@dataclass(frozen=True)
class ReadingLayout:
    """How a file is to be read.

    Attributes:
        parts: its sounds. notices: what is odd in it.
        as_is: the file itself may be read where the decoder counts :attr:`expected` frames.
        expected: None: any count will do.
        is_least: the decoder may count more, which it estimates, and reads to the end.
    """

    parts: tuple[Part, ...] = (Part(),)
    notices: tuple[str, ...] = ()
    as_is: bool = True
    expected: int | None = None
    is_least: bool = False

    def is_read_by(self, counted: int) -> bool:
        """Whether a decoder that counts so many frames reads all of the file and no more."""
        if self.expected is None or counted == self.expected:
            return True
        return self.is_least and counted > self.expected


def look_into(path: Path) -> ReadingLayout:
    """What of a file is sound.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no sound, though a decoder may find some in it.
    """
    with FileBytes(path) as data:
        start = mpeg_frames.tags_end(data)
        is_foreign = any(data[at : at + len(name)] == name for at, name in _FOREIGN)
        if not is_foreign and (at := riff_chunks.begins_at(data)):
            return _behind(path, data, at, start)
        head = data[start : start + 4]
        if head == flac_frames.MARKER:
            return _flac(data, start)
        if start == 0 and head == b"OggS":
            return _ogg(data)
        if start == 0 and (wav := riff_chunks.find_sound(data)) is not None:
            return _waves(path, data, wav)
        if start == 0 and (sized := sized_headers.find_sound(data)) is not None:
            return _sized(sized)
        if start == 0 and is_foreign:
            return ReadingLayout()
        found = _found_inside(path, data, start)
        if found == ReadingLayout() and path.suffix.lower() in _BY_NAME:
            # Without a name: what is no MPEG audio is not to be tried as such.
            return replace(found, parts=(Part(((0, len(data)),)),), as_is=False)
        return found


def _behind(path: Path, data: FileBytes, at: int, start: int) -> ReadingLayout:
    """A WAV or AIFF that begins within a file, as it would be read by itself.

    Args:
        start: where the ID3 tags before it end.
    """
    with FileBytes(SplicedFile(path, [(at, len(data) - at)])) as inside:
        wav, sized = riff_chunks.find_sound(inside), sized_headers.find_sound(inside)
    if wav is not None:
        found = _waves(path, data, replace(wav.moved(at), is_whole=False))
    else:
        found = ReadingLayout() if sized is None else _sized(sized)
        pieces = found.parts[0].pieces or ((0, len(data) - at),)
        found = replace(found, parts=(replace(found.parts[0], pieces=moved(pieces, at)),))
    notices = (*_skipped(max(0, at - start), "before its sound"), *found.notices)
    return replace(found, notices=notices, as_is=False)


def _found_inside(path: Path, data: FileBytes, start: int) -> ReadingLayout:
    """A file that begins with none of the beginnings that are known: an MP3, or other data before
    the sound.

    Args:
        start: where its ID3 tags end.
    """
    at = data.search(riff_chunks.WAV, start, start + _FARTHEST)
    if at > 0 and _NO_PROGRAM.fullmatch(data[start:at]) is not None:
        found = _behind(path, data, at, start)
        if found.parts[0].pieces:
            return found
    if (at := data.find(b"OggS\0\2", 0, _FARTHEST)) >= 0:
        return _ogg(data)
    if (at := data.search(flac_frames.STREAM, 0, _FARTHEST)) >= 0:
        found = _flac(data, at)
        notices = (*_skipped(at, "before its sound"), *found.notices)
        return replace(found, notices=notices, as_is=False)
    return _mpeg(data)


def _several(count: int) -> list[str]:
    if count < 2:
        return []
    if count > MOST_PARTS:
        return [f"holds {count} sounds one after the other; the first {MOST_PARTS} are read"]
    return [f"holds {count} sounds one after the other; they are read as one"]


def _skipped(count: int, where: str) -> list[str]:
    if count == 1:
        return [f"1 byte {where} is no sound and is left out"]
    return [f"{count} bytes {where} are no sound and are left out"] if count else []


def _flac(data: FileBytes, start: int) -> ReadingLayout:
    found = flac_frames.streams(data, start)
    notices = _several(len(found))
    for stream in found[:MOST_PARTS]:
        counted = stream.frames
        if counted is not None and stream.total not in (0, counted) and stream.rate:
            notices.append(
                f"its header claims {stream.total / stream.rate:.2f} s; "
                f"{counted / stream.rate:.2f} s are there and are read"
            )
    only = found[0]
    if len(found) == 1 and only.frames is not None and only.total in (0, only.frames):
        return ReadingLayout((_flac_part(data, only),))
    parts = tuple(_flac_part(data, stream) for stream in found[:MOST_PARTS])
    return ReadingLayout(parts, tuple(notices), as_is=False)


def _flac_part(data: FileBytes, stream: FlacStream) -> Part:
    head = stream.header(data)
    begin = stream.start + len(head)
    pieces = (head, (begin, stream.stop - begin))
    if stream.frames is not None:
        return Part(pieces, stream.frames, is_flac=True)
    return Part(pieces, UNKNOWN_FRAMES, stream.total, is_flac=True)


def _ogg(data: FileBytes) -> ReadingLayout:
    found = ogg_streams.walk(data)
    if not found.links:
        return ReadingLayout()
    last = found.links[-1]
    notices = _several(len(found.links)) + _skipped(found.skipped, "between its pages")
    lost = sum(link.lost for link in found.links)
    if lost:
        pages = "1 page is" if lost == 1 else f"{lost} pages are"
        notices.append(f"{pages} missing within it; what is there is read")
    if any(link.has_odd_end for link in found.links):
        notices.append("the length that its last page claims is untrue; read to the end")
    if found.is_cut or not last.is_ended:
        seconds = sum(link.frames / link.rate for link in found.links if link.rate)
        notices.append(f"breaks off after {seconds:.2f} s: the last page of the stream is missing")
    is_plain = len(found.links) == 1 and last.streams == 1 and last.codec != "flac"
    is_plain &= not (found.skipped or last.has_odd_end)
    if is_plain:
        return ReadingLayout(notices=tuple(notices))
    parts = tuple(_ogg_part(data, link) for link in found.links[:MOST_PARTS])
    return ReadingLayout(parts, tuple(notices), as_is=False)


def _ogg_part(data: FileBytes, link: Link) -> Part:
    if link.codec != "flac":
        return Part(tuple(link.pieces(data)), UNKNOWN_FRAMES if link.has_odd_end else None)
    (start, length), *rest = link.bodies
    head = FlacStream(start, start + length, 0, 0, 0, 0, None).header(data)
    pieces: tuple[Piece, ...] = (head, (start + len(head), length - len(head)), *rest)
    frames = UNKNOWN_FRAMES if link.has_odd_end or not link.frames else link.frames
    return Part(pieces, frames, is_flac=True)


def _mpeg(data: FileBytes) -> ReadingLayout:
    found = mpeg_frames.walk(data)
    if found.is_chance:
        raise ValueError("other data, of which a few bytes look like frames")
    if not found.runs:
        return ReadingLayout()
    notices = _several(len(found.runs))
    notices += _skipped(found.leading, "before its first frame")
    notices += _skipped(found.skipped, "between its frames")
    notices += _skipped(found.trailing, "behind its last frame")
    for run in found.runs:
        # What is missing between the frames was just told.
        if not (found.skipped and (run.counted or 0) > run.count):
            notices += _miscounted(run)
    if found.is_cut and not any(notice.startswith("breaks off") for notice in notices):
        notices.append("breaks off within its last frame, which is left out")
    only = found.runs[0]
    is_plain = len(found.runs) == 1 and len(only.ranges) == 1 and not notices
    if only.info is None:
        expected = only.frames
    else:
        expected = None
        is_plain &= only.counted is not None
        # libmpg123 complains where the counted bytes are not nearly all of the file.
        is_plain &= len(data) - sum(only.ranges[-1]) < _MOST_BEHIND * len(data)
    if is_plain and data.find(b"LYRICSBEGIN", sum(only.ranges[-1])) >= 0:
        # libmpg123 takes such tags for damage, and says so on the standard error.
        return ReadingLayout((Part(((0, sum(only.ranges[-1])),), expected),), as_is=False)
    parts = tuple(_mpeg_part(data, run) for run in found.runs[:MOST_PARTS])
    return ReadingLayout(parts, tuple(notices), is_plain, expected, is_least=True)


def _miscounted(run: Run) -> list[str]:
    # Some encoders count the frame that holds the counts.
    if run.counted is None or run.counted in (run.count, run.count + 1):
        return []
    frame_s = run.head.frames / run.head.rate
    there = f"{run.count * frame_s:.2f} s"
    if run.counted > run.count:
        return [f"breaks off after {there}: its header claims {run.counted * frame_s:.2f} s"]
    return [f"its header claims {run.counted * frame_s:.2f} s; {there} are there and are read"]


def _mpeg_part(data: FileBytes, run: Run) -> Part:
    info = b"" if run.info is None else data[run.info[0] : sum(run.info)]
    pieces = tuple(run.pieces(info))
    # Layers I and II have no place for counts: the decoder estimates them by the file's size.
    return (
        Part(pieces) if run.head.layer == 3 else Part(pieces, run.frames, extra=_EXTRA * len(data))
    )


def _waves(path: Path, data: FileBytes, wav: WavSound) -> ReadingLayout:
    """A WAV, and others behind it."""
    if wav.is_mpeg:
        return _inside_wav(path, wav, _mpeg)
    if data[wav.start : wav.start + 4] == b"OggS" and not wav.is_pcm:
        return _inside_wav(path, wav, _ogg)
    behind = riff_chunks.next_file(data, wav)
    return _wav(wav) if behind is None else _wavs(path, data, wav, behind)


def _wav(wav: WavSound) -> ReadingLayout:
    if wav.is_whole:
        return ReadingLayout((Part(tuple(wav.pieces())),), (), True, wav.frames)
    notices = _sizes(wav.whole_size, wav.claimed, wav.bytes_per_s)
    if wav.claimed is None or wav.claimed >= _STREAMED > wav.whole_size:
        notices = [f"its header does not say how long it is; read to the end{_in_s(wav)}"]
    if wav.more:
        count = 1 + len(wav.more)
        notices.append(f"its sound is in {count} data chunks; all are read{_in_s(wav)}")
    if wav.is_guessed:
        notices.append(f"its header does not say its encoding; read as {wav.encoding}")
    if wav.has_gaps:
        notices.append("silences that it only counts (slnt) are left out")
    return ReadingLayout((Part(tuple(wav.pieces())),), tuple(notices), as_is=False)


def _wavs(path: Path, data: FileBytes, first: WavSound, at: int) -> ReadingLayout:
    """WAV files one behind the other."""
    found, notices = [Part(tuple(first.pieces()))], [*_wav(first).notices]
    while len(found) < MOST_PARTS:
        with FileBytes(SplicedFile(path, [(at, len(data) - at)])) as rest:
            wav = riff_chunks.find_sound(rest)
            behind = None if wav is None else riff_chunks.next_file(rest, wav)
        if wav is not None:
            found.append(Part(moved(wav.pieces(), at)))
            notices += _wav(wav).notices
        if behind is None:
            break
        at += behind
    return ReadingLayout(tuple(found), (*_several(len(found)), *notices), as_is=False)


def _inside_wav(
    path: Path, wav: WavSound, look: Callable[[FileBytes], ReadingLayout]
) -> ReadingLayout:
    """MPEG audio or Ogg as the sound of a WAV, mended as a file of its own."""
    with FileBytes(SplicedFile(path, [(wav.start, wav.size)])) as inside:
        found, whole = look(inside), _wav(replace(wav, more=()))
    notices = (*whole.notices, *found.notices)
    if wav.more:
        notices += (f"the first of its {1 + len(wav.more)} data chunks is read",)
    if any(part.pieces for part in found.parts):
        parts = tuple(replace(one, pieces=moved(one.pieces, wav.start)) for one in found.parts)
        return replace(found, parts=parts, notices=notices, as_is=found.as_is and whole.as_is)
    if wav.is_mpeg:
        return whole
    alone = Part(((wav.start, wav.size),))
    return replace(found, parts=(alone,), notices=notices, as_is=False)


def _in_s(wav: WavSound) -> str:
    return f", {wav.whole_size / wav.bytes_per_s:.2f} s" if wav.bytes_per_s else ""


def _sized(sound: SizedSound) -> ReadingLayout:
    if not sound.pieces and (sound.claimed is None or sound.claimed <= sound.size):
        return ReadingLayout()
    claimed = sound.claimed
    notices = tuple(_sizes(sound.size, claimed, 0))
    if claimed is not None and claimed >= _STREAMED > sound.size:
        notices = ("its header does not say how long it is; read to the end",)
    return ReadingLayout((Part(sound.pieces),), notices, not sound.pieces)


def _sizes(there: int, claimed: int | None, bytes_per_s: int) -> list[str]:
    """What is odd when so many bytes of sound are there and others are claimed."""
    if claimed is None or claimed == there:
        return []
    seconds = f" ({there / bytes_per_s:.2f} s)" if bytes_per_s else ""
    if claimed > there:
        return [f"breaks off: {there} of {claimed} bytes of sound are there{seconds}"]
    return [f"its header claims {claimed} bytes of sound; {there} are there and are read{seconds}"]
