"""What stands beside the sound of a file: read from one file, and made fit for another.

Blocks of bytes are carried without being understood wherever both files have the same kind of
block; texts and pictures are carried between kinds by name (:mod:`.text_tags`). What cannot be
carried is named. A C2PA manifest is never carried so: it vouches for the bytes of its own file, and
travels as an ingredient of the new one (:mod:`rag_audio.provenance.credentials.signers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rag_audio.audio import id3, text_tags
from rag_audio.audio.layouts import is_usual, usual_mask
from rag_audio.audio.text_tags import Picture, Texts
from rag_audio.audio.wave_chunks import SoundChange, adapted

CREDENTIALS = "content credentials"
FLAC_APPLICATION, FLAC_CUESHEET = 2, 5
FLAC_MASK = "waveformatextensible_channel_mask"
WAVE_ENDINGS = frozenset({".wav", ".rf64", ".w64"})
_SAYS_SPEAKERS = WAVE_ENDINGS | {".flac"}
_LONGEST_NAME, _MOST_NAMES = 80, 40

_OF_THE_RECORDING = frozenset(
    {"isrc", "musicbrainz_trackid", "musicbrainz_recordingid", "acoustid_id",
     "acoustid_fingerprint", "musicbrainz track id", "acoustid id", "acoustid fingerprint"}
)  # fmt: skip
"""Names of texts that identify the recording, which a changed one may not bear."""
_FRAMES_OF_THE_RECORDING = frozenset({b"TSRC", b"UFID"})
_CHUNKS_OF_THE_RECORDING = frozenset({b"umid", b"UMID"})
_OF_THE_LEVEL = ("replaygain_", "r128_")
_FRAMES_OF_THE_LEVEL = frozenset({b"RVA2", b"RGAD"})
_ITUNES_LEVEL = "iTunNORM"
_FRAMES_OF_THE_LENGTH = frozenset({b"TLEN", b"ETCO", b"SYLT", b"SYTC", b"POSS", b"CHAP", b"CTOC"})


@dataclass(frozen=True)
class CarriedMetadata:
    """What stands beside a sound.

    Attributes:
        chunks: of a WAV, name and content, without those below; of a file that is written, fit for
            it.
        info: items of a WAV's INFO list.
        frames: of an ID3v2 tag.
        comments: Vorbis comments without pictures.
        blocks: FLAC metadata blocks, type and content.
        pictures: those that do not stand in ``frames``.
        texts: what came from none of these, such as an APE tag, by name.
        channel_mask: which speakers the channels are for, by the bits of WAVE and in its order; 0:
            for none; None: the file does not say.
        lost: names of what is not carried.
    """

    chunks: tuple[tuple[bytes, bytes], ...] = ()
    info: tuple[tuple[bytes, bytes], ...] = ()
    frames: id3.Frames = ()
    comments: tuple[tuple[str, str], ...] = ()
    blocks: tuple[tuple[int, bytes], ...] = ()
    pictures: tuple[Picture, ...] = ()
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    channel_mask: int | None = None
    lost: tuple[str, ...] = ()

    def all_texts(self) -> Texts:
        """The texts of every vocabulary, by name; the richest one that has a name says it."""
        found: Texts = {}
        for texts in self._vocabularies():
            for name, values in texts.items():
                found.setdefault(name, tuple(values))
        return found

    def _vocabularies(self) -> list[Mapping[str, Sequence[str]]]:
        return [
            text_tags.texts_of_comments(self.comments),
            text_tags.texts_of_frames(self.frames),
            text_tags.texts_of_info(self.info),
            self.texts,
        ]

    def all_pictures(self) -> tuple[Picture, ...]:
        """The pictures, wherever they stand."""
        return self.pictures or _pictures_in(self.frames)

    def into(self, path: Path, change: SoundChange) -> CarriedMetadata:
        """What a file of that ending is to hold, and in ``lost`` also what it cannot."""
        true, lost = _true_of(self, change)
        ending = path.suffix.lower()
        if ending in WAVE_ENDINGS:
            made, more = _in_wave(true)
        elif ending == ".mp3":
            made, more = _in_id3(true)
        else:
            made, more = _in_comments(true, change, has_blocks=ending == ".flac")
        mask = self.channel_mask
        if mask is not None and not _fits(mask, change.channels):
            mask = None
        is_said = mask is None or ending in _SAYS_SPEAKERS or is_usual(mask, change.channels)
        if change.channels > 2 and not is_said:
            more = (*more, f"which speakers its {change.channels} channels are for")
        made = replace(made, channel_mask=mask, lost=_shown([*self.lost, *lost, *more]))
        return _with_mask_of_flac(made, change) if ending == ".flac" else made

    def with_texts(
        self,
        path: Path,
        leading: Mapping[str, str],
        missing: Mapping[str, str] | None = None,
        without: Iterable[str] = (),
    ) -> CarriedMetadata:
        """This with more texts, for a file of that ending.

        Args:
            leading: stand before what is there of that name. missing: are put where nothing is.
            without: names whose old texts go.
        """
        there = self.all_texts()
        gone = set(without)
        said: dict[str, list[str]] = {}
        for name, text in leading.items():
            own = text.split("; ")
            old = [
                value
                for texts in ([] if name in gone else self._vocabularies())
                for value in texts.get(name, ())
            ]
            more = [part for one in old for part in one.split("; ") if part not in own]
            said[name] = ["; ".join([text, *dict.fromkeys(more)])]
        for name, text in (missing or {}).items():
            if name not in said and (name in gone or name not in there):
                said[name] = [text]
        return _with(self, path, said, gone - said.keys())


def _fits(mask: int, channels: int) -> bool:
    """Whether a channel mask may be that of so many channels: of more than two, some may be for no
    speaker."""
    return mask.bit_count() <= channels if channels > 2 else mask.bit_count() == channels


def _with_mask_of_flac(data: CarriedMetadata, change: SoundChange) -> CarriedMetadata:
    """The comment that says another layout than FLAC's own (RFC 9639, section 8.6.2)."""
    mask, channels = data.channel_mask, change.channels
    if mask is None or channels <= 2 or mask == usual_mask(channels):
        return data
    return replace(data, comments=(*data.comments, (FLAC_MASK.upper(), f"0x{mask:04X}")))


def _shown(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once and fit for a line: names in files may hold anything, and be very many."""
    found = dict.fromkeys(
        "".join(one if one.isprintable() else "?" for one in name)[:_LONGEST_NAME] for name in names
    )
    rest = len(found) - _MOST_NAMES
    return (*list(found)[:_MOST_NAMES], *([f"and {rest} more"] if rest > 0 else []))


def _true_of(data: CarriedMetadata, change: SoundChange) -> tuple[CarriedMetadata, tuple[str, ...]]:
    """What of it is true of the changed sound, and names of what is not."""
    lost: list[str] = []

    def is_true(name: str) -> bool:
        if change.is_new and name in _OF_THE_RECORDING:
            lost.append(name.upper() if name == "isrc" else name)
            return False
        if not change.keeps_loudness and name.startswith(_OF_THE_LEVEL):
            lost.append(name)
            return False
        return True

    frames = []
    for frame in data.frames:
        description, _ = id3.texts_of(frame)
        is_level = frame[0] in _FRAMES_OF_THE_LEVEL or description == _ITUNES_LEVEL
        if frame[0] == b"TXXX" and not is_true(text_tags.named(description)):
            continue
        if (
            (change.is_new and frame[0] in _FRAMES_OF_THE_RECORDING)
            or (not change.keeps_loudness and is_level)
            or (not change.keeps_times and frame[0] in _FRAMES_OF_THE_LENGTH)
        ):
            code = frame[0].decode("latin-1")
            lost.append({"TSRC": "ISRC", "COMM": _ITUNES_LEVEL}.get(code, code))
            continue
        frames.append(frame)
    chunks = []
    for name, body in data.chunks:
        if change.is_new and name in _CHUNKS_OF_THE_RECORDING:
            lost.append("UMID")
            continue
        made, what = adapted(name, body, change)
        lost += [what] if what else []
        chunks += [(name, made)] if made is not None else []
    comments = [one for one in data.comments if is_true(text_tags.named(one[0]))]
    texts = {name: values for name, values in data.texts.items() if is_true(name)}
    true = replace(
        data, frames=tuple(frames), chunks=tuple(chunks), comments=tuple(comments), texts=texts
    )
    return true, tuple(lost)


def _in_wave(data: CarriedMetadata) -> tuple[CarriedMetadata, tuple[str, ...]]:
    """INFO for the texts that it knows; an ``id3 `` chunk where there is more than that."""
    texts, frames, info = data.all_texts(), list(data.frames), list(data.info)
    told = text_tags.texts_of_info(info).keys() | text_tags.texts_of_frames(data.frames).keys()
    new = {name: values for name, values in texts.items() if name not in told}
    new = {name: values for name, values in new.items() if not text_tags.is_software(name)}
    if not data.info and not data.frames:
        info = text_tags.info_of_texts(new)
        if data.pictures or any(name not in text_tags.INFO_NAMES for name in new):
            frames = text_tags.frames_of_texts(new)
    elif data.frames:
        if not data.info:
            info = text_tags.info_of_texts(
                {k: v for k, v in texts.items() if not text_tags.is_software(k)}
            )
        frames += text_tags.frames_of_texts(
            {k: v for k, v in new.items() if k not in text_tags.INFO_NAMES}
        )
    else:
        info += text_tags.info_of_texts(new)
        more = {k: v for k, v in new.items() if k not in text_tags.INFO_NAMES}
        frames = text_tags.frames_of_texts(more)
    frames += [_frame(picture) for picture in data.pictures]
    made = CarriedMetadata(chunks=data.chunks, info=tuple(info), frames=tuple(frames))
    return made, _block_names(data.blocks)


def _in_id3(data: CarriedMetadata) -> tuple[CarriedMetadata, tuple[str, ...]]:
    told = text_tags.texts_of_frames(data.frames).keys()
    new = {
        name: values
        for name, values in data.all_texts().items()
        if name not in told and not text_tags.is_software(name)
    }
    frames = [*data.frames, *text_tags.frames_of_texts(new)]
    frames += [_frame(picture) for picture in data.pictures]
    lost = (*_chunk_names(data.chunks), *_info_lost(data), *_block_names(data.blocks))
    return CarriedMetadata(frames=tuple(frames)), lost


def _in_comments(
    data: CarriedMetadata, change: SoundChange, *, has_blocks: bool
) -> tuple[CarriedMetadata, tuple[str, ...]]:
    told = text_tags.texts_of_comments(data.comments).keys()
    new = {
        name: values
        for name, values in data.all_texts().items()
        if name not in told and not text_tags.is_software(name)
    }
    comments = [*data.comments, *text_tags.comments_of_texts(new)]
    lost = [*_chunk_names(data.chunks), *_info_lost(data)]
    for frame in data.frames:
        has_text = frame[0] != b"APIC" and not text_tags.texts_of_frames((frame,))
        lost += [frame[0].decode("latin-1")] if has_text else []
    kept: list[tuple[int, bytes]] = []
    for kind, body in data.blocks:
        fits = has_blocks and (kind != FLAC_CUESHEET or change.keeps_places)
        if fits:
            kept.append((kind, body))
        else:
            lost += _block_names([(kind, body)])
    made = CarriedMetadata(
        comments=tuple(comments), blocks=tuple(kept), pictures=data.all_pictures()
    )
    return made, tuple(lost)


def _with(
    data: CarriedMetadata, path: Path, said: Mapping[str, Sequence[str]], gone: set[str]
) -> CarriedMetadata:
    """Texts in place of those of the same names, in the vocabularies of that kind of file."""
    ending, names = path.suffix.lower(), gone | said.keys()
    comments = [one for one in data.comments if text_tags.named(one[0]) not in names]
    frames = [one for one in data.frames if not text_tags.texts_of_frames((one,)).keys() & names]
    info = [one for one in data.info if not text_tags.texts_of_info([one]).keys() & names]
    if ending == ".mp3":
        frames += text_tags.frames_of_texts(said)
    elif ending in WAVE_ENDINGS:
        info += text_tags.info_of_texts(said)
        if frames or any(name not in text_tags.INFO_NAMES for name in said):
            frames += text_tags.frames_of_texts(said)
    else:
        comments += text_tags.comments_of_texts(said)
    texts = {name: values for name, values in data.texts.items() if name not in names}
    return replace(
        data, comments=tuple(comments), frames=tuple(frames), info=tuple(info), texts=texts
    )


def _pictures_in(frames: id3.Frames) -> tuple[Picture, ...]:
    found = (id3.picture_of(body) for name, body in frames if name == b"APIC")
    return tuple(Picture(*one) for one in found if one is not None)


def _frame(picture: Picture) -> tuple[bytes, bytes]:
    return id3.picture_frame(picture.media, picture.kind, picture.description, picture.data)


def _chunk_names(chunks: Iterable[tuple[bytes, bytes]]) -> tuple[str, ...]:
    return tuple(
        body[:4].decode("latin-1").strip() if name == b"LIST" else name.decode("latin-1").strip()
        for name, body in chunks
    )


def _info_lost(data: CarriedMetadata) -> tuple[str, ...]:
    known = set(text_tags.INFO_NAMES.values())
    return tuple(code.decode("latin-1").strip() for code, _ in data.info if code not in known)


def _block_names(blocks: Iterable[tuple[int, bytes]]) -> tuple[str, ...]:
    names = {FLAC_CUESHEET: "CUESHEET"}
    return tuple(
        f"APPLICATION {body[:4].decode('latin-1')!r}"
        if kind == FLAC_APPLICATION
        else names.get(kind, f"FLAC block {kind}")
        for kind, body in blocks
    )
