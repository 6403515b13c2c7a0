"""WAV, RF64, BW64, Wave64, AIFF, AU and CAF whose sizes are wrong, unknown or beyond 4 GB."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from rag_audio.audio.reading import hear, load
from rag_audio.audio.writing import info
from rag_audio.errors import UnreadableFile
from tests.support.damaged import FMT, RATE, chunk, ds64, encoded, mp3, pcm, wav, without_xing

SIZE = len(pcm())
UNKNOWN = 0xFFFFFFFF
LIST = chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 4) + b"abcd")
ID3 = b"ID3\4\0\0\0\0\1\0" + bytes(128)
NO_LENGTH = "its header does not say how long it is; read to the end, 2.00 s"
EXTENSIBLE = (
    b"fmt "
    + struct.pack("<IHHIIHHHHIH", 40, 0xFFFE, 1, RATE, 2 * RATE, 2, 16, 22, 16, 4, 1)
    + bytes.fromhex("000000001000800000aa00389b71")
)


def claims(size: int) -> str:
    return f"its header claims {size} bytes of sound; {SIZE} are there and are read (2.00 s)"


def cut(size: int) -> str:
    return f"breaks off: {SIZE} of {size} bytes of sound are there (2.00 s)"


def rf64(size: int, field: int = UNKNOWN, name: bytes = b"RF64") -> bytes:
    return wav(field, before=ds64(size) + FMT, name=name)


CASES = {
    "whole": (wav(), ""),
    "killed recorder": (wav(0), claims(0)),
    "killed recorder, tags behind": (wav(0, behind=LIST), claims(0)),
    "killed recorder, extensible": (wav(0, before=EXTENSIBLE), claims(0)),
    "piped": (wav(UNKNOWN), NO_LENGTH),
    "piped, tags behind": (wav(UNKNOWN, behind=LIST), NO_LENGTH),
    "cut": (wav(2 * SIZE), cut(2 * SIZE)),
    "size too small": (wav(SIZE // 2), claims(SIZE // 2)),
    "size too small, tags behind": (wav(SIZE // 2, behind=LIST), claims(SIZE // 2)),
    "tags behind": (wav(behind=LIST + chunk(b"id3 ", ID3)), ""),
    "ID3 without a chunk behind": (wav(behind=ID3 * 9), ""),
    "zeros behind": (wav(behind=bytes(5000)), ""),
    "tags behind that are cut": (wav(behind=chunk(b"LIST", bytes(5000))[:-600]), ""),
    "RIFF size 0": (wav(riff=0), ""),
    "RIFF size unknown": (wav(riff=UNKNOWN), ""),
    "odd chunk": (wav(before=chunk(b"bext", bytes(603)) + FMT), ""),
    "odd chunk without padding": (wav(before=chunk(b"bext", bytes(603))[:-1] + FMT), ""),
    "sound before the format": (
        b"RIFF\0\0\0\0WAVE" + chunk(b"data", pcm()) + FMT,
        "",
    ),
    "RF64": (rf64(SIZE), ""),
    "RF64, size -1": (rf64((1 << 64) - 1), NO_LENGTH),
    "RF64, size 0": (rf64(0), claims(0)),
    "RF64, size too small": (rf64(SIZE // 2), claims(SIZE // 2)),
    "RF64, size in the chunk": (rf64(0, SIZE), ""),
    "RF64 without ds64": (wav(UNKNOWN, name=b"RF64"), NO_LENGTH),
    "killed recorder, a large cover behind": (
        wav(0, behind=chunk(b"id3 ", ID3 + bytes(1 << 20)) + LIST),
        claims(0),
    ),
    "BW64": (rf64(SIZE, name=b"BW64"), ""),
    "chunk before the sound that claims too much": (
        wav(before=b"JUNK" + struct.pack("<I", 1 << 30) + bytes(30) + FMT),
        "",
    ),
    "BW64, never closed": (rf64(0, 0, name=b"BW64"), claims(0)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wav_is_read_to_the_end_of_its_sound(tmp_path: Path, name: str) -> None:
    content, notice = CASES[name]
    file, whole = tmp_path / "a.wav", tmp_path / "whole.wav"
    file.write_bytes(content)
    whole.write_bytes(wav())
    found = hear(file)
    assert found.audio.duration_s == 2.0
    assert found.pcm_sha256 == hear(whole).pcm_sha256
    assert found.notices == ((notice,) if notice else ())


def rifx(size: int | None = None, sound: bytes | None = None) -> bytes:
    """A WAV with the highest byte first."""
    body = np.frombuffer(pcm() if sound is None else sound, "<i2").astype(">i2").tobytes()
    form = struct.pack(">IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    claimed = struct.pack(">I", len(body) if size is None else size)
    return b"RIFX\0\0\0\0WAVEfmt " + form + b"data" + claimed + body


@pytest.mark.parametrize(
    ("content", "notice"),
    [
        (rifx(), ""),
        (rifx(0), claims(0)),
        (rifx(UNKNOWN), NO_LENGTH),
        (rifx(2 * SIZE), cut(2 * SIZE)),
        (rifx() + rifx(), "holds 2 sounds one after the other; they are read as one"),
    ],
)
def test_a_wav_with_the_highest_byte_first_is_read_so(
    tmp_path: Path, content: bytes, notice: str
) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    (tmp_path / "whole.wav").write_bytes(wav())
    found, whole = hear(tmp_path / "a.wav").audio, hear(tmp_path / "whole.wav").audio
    assert found.samples.shape[1] % whole.samples.shape[1] == 0
    assert np.array_equal(found.samples[:, : whole.samples.shape[1]], whole.samples)
    assert hear(tmp_path / "a.wav").notices == ((notice,) if notice else ())


@pytest.mark.parametrize(
    ("before", "count"), [(ID3, 0), (ID3 + b"junk", 4), (bytes(512), 512), (b"\xef\xbb\xbf", 3)]
)
@pytest.mark.parametrize("content", [wav(), wav(0), rifx(), rf64(SIZE), wav() + wav()])
def test_other_data_before_a_wav_are_no_sound(
    tmp_path: Path, before: bytes, count: int, content: bytes
) -> None:
    (tmp_path / "a.wav").write_bytes(before + content)
    (tmp_path / "whole.wav").write_bytes(content)
    found, whole = hear(tmp_path / "a.wav"), hear(tmp_path / "whole.wav")
    assert found.pcm_sha256 == whole.pcm_sha256
    told = (f"{count} bytes before its sound are no sound and are left out",) if count else ()
    assert found.notices == (*told, *whole.notices)


@pytest.mark.parametrize("length", range(12, 44))
def test_a_wav_that_is_cut_in_its_header_is_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "a.wav").write_bytes(wav()[:length])
    with pytest.raises(UnreadableFile):
        hear(tmp_path / "a.wav")


def test_wavs_one_behind_the_other_are_all_heard(tmp_path: Path) -> None:
    for between in (b"", LIST):
        content = wav(sound=pcm() + b"\1", behind=between) + wav() + wav(0)
        (tmp_path / "a.wav").write_bytes(content if not between else wav() + wav(behind=between))
        found = hear(tmp_path / "a.wav")
        count = 2 if between else 3
        assert found.audio.duration_s == 2.0 * count
        assert found.notices[0].startswith(f"holds {count} sounds one after the other")


@pytest.mark.parametrize(
    ("sound", "behind", "told"),
    [
        (pcm()[:SIZE // 2], chunk(b"data", pcm()[SIZE // 2:]), ()),
        (pcm()[:SIZE // 2], LIST + chunk(b"data", pcm()[SIZE // 2:]) + LIST, ()),
        (b"", chunk(b"data", pcm()), ()),
        (
            pcm()[:SIZE // 2],
            b"data" + struct.pack("<I", 4 * SIZE) + pcm()[SIZE // 2:],
            (cut(4 * SIZE + SIZE // 2),),
        ),
    ],
)  # fmt: skip
def test_the_sound_of_all_data_chunks_is_heard(
    tmp_path: Path, sound: bytes, behind: bytes, told: tuple[str, ...]
) -> None:
    (tmp_path / "a.wav").write_bytes(wav(sound=sound, behind=behind))
    (tmp_path / "whole.wav").write_bytes(wav())
    found, count = hear(tmp_path / "a.wav"), "its sound is in 2 data chunks; all are read, 2.00 s"
    assert found.pcm_sha256 == hear(tmp_path / "whole.wav").pcm_sha256
    assert found.notices == (*told, count)


def test_a_list_of_sound_and_silence_is_read_without_the_silence(tmp_path: Path) -> None:
    half = SIZE // 2
    inside = chunk(b"data", pcm()[:half]) + chunk(b"slnt", bytes(4)) + chunk(b"data", pcm()[half:])
    body = FMT + chunk(b"LIST", b"wavl" + inside) + LIST
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)
    (tmp_path / "whole.wav").write_bytes(wav())
    found = hear(tmp_path / "a.wav")
    assert found.pcm_sha256 == hear(tmp_path / "whole.wav").pcm_sha256
    assert found.notices[-1] == "silences that it only counts (slnt) are left out"


GUID = bytes.fromhex("000000001000800000aa00389b71")


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize(
    "more",
    [
        b"",
        struct.pack("<H", 0),
        struct.pack("<HHI", 22, 0, 4) + b"\1\0",
        struct.pack("<HHI", 22, 0, 4) + b"\1\0" + GUID[:-2],
        struct.pack("<HHI", 22, 0, 4) + bytes(16),
    ],
)
def test_an_extensible_format_that_is_not_whole_is_taken_for_integers(
    tmp_path: Path, more: bytes, bits: int
) -> None:
    whole = encoded("WAV", f"PCM_{bits}", 1.0, RATE, 1)
    (tmp_path / "whole.wav").write_bytes(whole)
    wide = bits // 8
    form = struct.pack("<HHIIHH", 0xFFFE, 1, RATE, wide * RATE, wide, bits) + more
    sound = whole[whole.index(b"data") + 8 :]
    (tmp_path / "a.wav").write_bytes(wav(before=chunk(b"fmt ", form), sound=sound))
    found = hear(tmp_path / "a.wav")
    assert found.pcm_sha256 == hear(tmp_path / "whole.wav").pcm_sha256
    assert found.notices == (f"its header does not say its encoding; read as {bits}-bit PCM",)


HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\n\r\n"


@pytest.mark.parametrize("before", [bytes(512), b"\0\6a.wav" + bytes(121), HTTP, ID3])
def test_a_wav_or_aiff_behind_other_data_is_read(tmp_path: Path, before: bytes) -> None:
    aiff = encoded("AIFF", "PCM_16")
    for content in (wav(riff=36 + SIZE + len(LIST), behind=LIST), aiff):
        (tmp_path / "whole.wav").write_bytes(content)
        (tmp_path / "a.wav").write_bytes(before + content)
        found, whole = hear(tmp_path / "a.wav"), hear(tmp_path / "whole.wav")
        assert found.pcm_sha256 == whole.pcm_sha256
        there = f"{len(before)} bytes before its sound are no sound and are left out"
        told = () if before is ID3 else (there,)
        assert [one for one in found.notices if one not in whole.notices] == [*told]


@pytest.mark.parametrize("begins", [b"PK\3\4", b"MZ\x90\0"])
def test_a_sound_within_another_file_is_not_taken_for_it(tmp_path: Path, begins: bytes) -> None:
    behind = 30 if begins.startswith(b"PK") else 2000
    whole = wav(riff=36 + SIZE)
    (tmp_path / "a.bin").write_bytes(begins + bytes(60) + whole + bytes(behind))
    with pytest.raises(UnreadableFile, match="is not a sound file"):
        hear(tmp_path / "a.bin")


def test_another_wav_behind_the_tags_of_one_is_heard(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(behind=LIST) + wav(behind=LIST))
    found = hear(tmp_path / "a.wav")
    assert found.audio.duration_s == 4.0
    assert found.notices == ("holds 2 sounds one after the other; they are read as one",)


def test_a_wav_without_sound_is_refused(tmp_path: Path) -> None:
    for content in (wav(sound=b""), wav(sound=b"", behind=LIST), wav(SIZE, sound=b"")):
        (tmp_path / "a.wav").write_bytes(content)
        with pytest.raises(UnreadableFile, match="holds no sound"):
            hear(tmp_path / "a.wav")


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "MS_ADPCM", "IMA_ADPCM", "PCM_24", "FLOAT"])
def test_other_encodings_are_mended_too(tmp_path: Path, subtype: str) -> None:
    whole = encoded("WAV", subtype, 1.0, RATE, 1)
    at = whole.find(b"data") + 4
    (tmp_path / "whole.wav").write_bytes(whole)
    for size in (0, 3 * len(whole)):
        (tmp_path / "a.wav").write_bytes(whole[:at] + struct.pack("<I", size) + whole[at + 4 :])
        found = hear(tmp_path / "a.wav")
        assert found.pcm_sha256 == hear(tmp_path / "whole.wav").pcm_sha256
        assert len(found.notices) == 1


def test_mpeg_audio_in_a_wav_is_walked(tmp_path: Path) -> None:
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 8000, 1, 0, 12, 1, 2, 500, 1, 1393)
    before, inside = chunk(b"fmt ", form), mp3(2.0, RATE, 1)
    for sound, size, length_s, told in (
        (inside, None, 2.0, 0),
        (inside, 0, 2.0, 1),
        (without_xing(inside), None, 2.03, 0),
    ):
        (tmp_path / "a.wav").write_bytes(wav(size, before=before, sound=sound))
        found = hear(tmp_path / "a.wav")
        assert found.audio.duration_s == pytest.approx(length_s, abs=0.01)
        assert len(found.notices) == told


@pytest.mark.parametrize("size", [None, 0, 10**6])
def test_ogg_in_a_wav_is_read_as_ogg(tmp_path: Path, size: int | None) -> None:
    vorbis = encoded("OGG", "VORBIS")
    form = struct.pack("<HHIIHHHIHH", 0x674F, 2, RATE, 10_000, 1, 16, 8, 0x20010100, 0, 0)
    (tmp_path / "a.ogg").write_bytes(wav(size, before=chunk(b"fmt ", form), sound=vorbis))
    (tmp_path / "b.ogg").write_bytes(vorbis)
    found = hear(tmp_path / "a.ogg")
    assert found.pcm_sha256 == hear(tmp_path / "b.ogg").pcm_sha256
    assert len(found.notices) == (size is not None)


def _sized(kind: str, size: int) -> bytes:
    """A file whose chunk of sound claims ``size`` bytes."""
    whole = encoded(kind, "PCM_16", 1.0, RATE, 1)
    if kind == "AU":
        return whole[:8] + struct.pack(">I", size) + whole[12:]
    if kind == "AIFF":
        at = whole.find(b"SSND") + 4
        return whole[:at] + struct.pack(">I", size + 8) + whole[at + 4 :]
    if kind == "CAF":
        at = whole.find(b"data") + 4
        return whole[:at] + struct.pack(">q", size + 4) + whole[at + 8 :]
    at = whole.find(b"data") + 16
    return whole[:at] + struct.pack("<q", size + 24) + whole[at + 8 :]


@pytest.mark.parametrize("kind", ["AIFF", "AU", "CAF", "W64"])
@pytest.mark.parametrize("size", [0, RATE, 4 * RATE])
def test_sizes_of_other_containers_are_not_believed(tmp_path: Path, kind: str, size: int) -> None:
    file = tmp_path / "sound"
    file.write_bytes(_sized(kind, 2 * RATE))
    whole = hear(file)
    assert whole.audio.duration_s == 1.0 and whole.notices == ()
    file.write_bytes(_sized(kind, size))
    found = hear(file)
    assert found.pcm_sha256 == whole.pcm_sha256
    (notice,) = found.notices
    if kind == "W64" and size == 0:
        assert notice.startswith("its header does not say how long it is")
    elif size < 2 * RATE:
        assert notice.startswith(f"its header claims {size} bytes of sound; {2 * RATE} are there")
    else:
        assert notice.startswith(f"breaks off: {2 * RATE} of {size} bytes of sound are there")


@pytest.mark.parametrize(("kind", "size"), [("CAF", -5), ("AU", UNKNOWN)])
def test_a_length_that_may_be_unknown_is_no_fault(tmp_path: Path, kind: str, size: int) -> None:
    (tmp_path / "sound").write_bytes(_sized(kind, size))
    found = hear(tmp_path / "sound")
    assert (found.audio.duration_s, found.notices) == (1.0, ())


FAR = (1 << 32) + (1 << 21)
"""Bytes of sound: 13.5 hours, nearly all of them a hole in the file."""


def _head(name: bytes, before: bytes, field: int) -> bytes:
    return name + b"\xff\xff\xff\xffWAVE" + before + FMT + b"data" + struct.pack("<I", field)


def _w64(size: int) -> bytes:
    whole = encoded("W64", "PCM_16", 1.0, RATE, 1)
    return whole[: whole.find(b"data") + 16] + struct.pack("<q", size)


@pytest.mark.parametrize(
    ("head", "behind", "told"),
    [
        (_head(b"RF64", ds64(FAR), UNKNOWN), b"", False),
        (_head(b"BW64", ds64(FAR), UNKNOWN), LIST, False),
        (_head(b"RF64", ds64(0), UNKNOWN), b"", True),
        (_head(b"RIFF", b"", FAR % (1 << 32)), b"", True),
        (_head(b"RIFF", b"", FAR % (1 << 32)), LIST, True),
        (_head(b"RIFF", b"", UNKNOWN), LIST, True),
        (_head(b"RIFF", b"", 0), b"", True),
        (_w64(FAR + 24), b"", False),
        (_w64(0), b"", True),
    ],
)
def test_sound_beyond_4_gb_is_read(tmp_path: Path, head: bytes, behind: bytes, told: bool) -> None:
    file = tmp_path / "long.wav"
    with file.open("wb") as target:
        target.truncate(len(head) + FAR - SIZE)
        target.write(head)
        target.seek(0, 2)
        target.write(pcm() + behind)
    length_s, notices = FAR / 2 / RATE, []
    assert info(file).duration_s == length_s
    found = load(file, start_s=length_s - 1.0, duration_s=5.0, max_duration_s=None, notices=notices)
    last = np.frombuffer(pcm(), "<i2")[-RATE:] / np.float32(1 << 15)
    assert np.array_equal(found.samples, last[None])
    assert len(notices) == told
