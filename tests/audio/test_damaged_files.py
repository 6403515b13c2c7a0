"""MP3, FLAC and Ogg whose headers lie, that are cut, joined or hold other data: what is there is
read, and a notice says what was odd."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rag_audio.audio import writing
from rag_audio.audio.mending import look_into
from rag_audio.audio.reading import IdentifiedAudio, hear, load
from rag_audio.errors import InvalidInput, UnreadableFile
from tests.support.damaged import (
    RATE,
    encoded,
    flac_total,
    frames_of,
    mp3,
    pages_of,
    wav,
    with_granule,
    without_xing,
    xing_counts,
)

ID3 = b"ID3\4\0\0\0\0\1\0" + bytes(128)
ID3V1 = b"TAG" + bytes(125)
APE = b"A" * 100 + b"APETAGEX" + struct.pack("<IIIIQ", 2000, 132, 1, 0, 0)
JOINED = "holds 2 sounds one after the other; they are read as one"


def heard(folder: Path, name: str, content: bytes) -> IdentifiedAudio:
    file = folder / name
    file.write_bytes(content)
    return hear(file)


def seconds(found: IdentifiedAudio) -> float:
    return found.audio.duration_s


def is_loud_to_its_end(found: IdentifiedAudio) -> bool:
    """Whether each quarter of a second has its hit: nothing is silence that was not decoded."""
    samples, rate = found.audio.samples, found.audio.sample_rate
    blocks = range(0, samples.shape[1] - rate // 5, rate // 4)
    return all(np.abs(samples[:, at : at + rate // 4]).max() > 0.05 for at in blocks)


class TestMp3:
    def test_without_counts_is_heard_to_its_end(self, tmp_path: Path) -> None:
        for constant in (False, True):
            found = heard(tmp_path, "a.mp3", without_xing(mp3(constant=constant)))
            assert seconds(found) == pytest.approx(2.03, abs=0.02)
            assert is_loud_to_its_end(found) and found.notices == ()

    @pytest.mark.parametrize(
        ("times", "notice"),
        [
            (5, "breaks off after 2.04 s: its header claims 10.19 s"),
            (0.25, "its header claims 0.50 s; 2.04 s are there and are read"),
            (0, "its header claims 0.00 s; 2.04 s are there and are read"),
        ],
    )
    def test_counts_that_lie_are_told(self, tmp_path: Path, times: float, notice: str) -> None:
        whole = mp3()
        count = len(frames_of(whole)) - 1
        found = heard(tmp_path, "a.mp3", xing_counts(whole, int(times * count)))
        assert (round(seconds(found), 3), found.notices) == (2.0, (notice,))
        assert found.pcm_sha256 == heard(tmp_path, "b.mp3", whole).pcm_sha256

    @pytest.mark.parametrize(
        ("leading", "between", "behind", "notices"),
        [
            (b"HTTP/1.1 200 OK\r\n\r\n", b"", b"", "19 bytes before its first frame"),
            (b"", b"junk" * 100, b"", "400 bytes between its frames"),
            (b"", b"", b"garbage" * 300, "2100 bytes behind its last frame"),
            (ID3, ID3, ID3V1, ""),
            (bytes(999), b"", APE, ""),
            (b"", b"", bytes(9000), ""),
        ],
    )
    def test_what_is_no_frame_is_no_sound(
        self, tmp_path: Path, leading: bytes, between: bytes, behind: bytes, notices: str
    ) -> None:
        frames = frames_of(mp3())
        content = leading + b"".join(frames[:40]) + between + b"".join(frames[40:]) + behind
        found = heard(tmp_path, "a.mp3", content)
        assert found.pcm_sha256 == heard(tmp_path, "b.mp3", mp3()).pcm_sha256
        told = (f"{notices} are no sound and are left out",) if notices else ()
        assert found.notices == told

    def test_other_data_with_a_few_frames_are_no_sound(self, tmp_path: Path) -> None:
        """Programs and other codecs' sound have bytes that look like short rows of frames."""
        frames, other = frames_of(mp3()), b"code" * 900
        rows = [b"".join(frames[at : at + 4]) for at in range(1, 40, 4)]
        program = other + other.join(rows)
        with pytest.raises(UnreadableFile, match="not a sound file that can be read"):
            heard(tmp_path, "a.mp3", program)
        # What begins with a frame is damaged sound, and so is what is mostly sound.
        assert seconds(heard(tmp_path, "b.mp3", program[len(other) :])) > 0.5
        assert seconds(heard(tmp_path, "c.mp3", b"junk" + b"junk".join(rows))) > 0.5

    @pytest.mark.parametrize("content", [b"<!doctype html>" * 200, bytes(50_000), b"x"])
    def test_other_data_by_the_name_of_an_mp3_are_refused_in_silence(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes
    ) -> None:
        with pytest.raises(UnreadableFile, match="not a sound file that can be read"):
            heard(tmp_path, "a.mp3", content)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("between", [b"", ID3, ID3V1 + ID3])
    def test_files_one_behind_the_other_are_all_heard(self, tmp_path: Path, between: bytes) -> None:
        found = heard(tmp_path, "a.mp3", ID3 + mp3() + between + mp3(1.0))
        assert (round(seconds(found), 3), found.notices) == (3.0, (JOINED,))
        alone = heard(tmp_path, "b.mp3", mp3()).audio.samples
        assert np.array_equal(found.audio.samples[:, : alone.shape[1]], alone)
        assert is_loud_to_its_end(found)

    def test_without_counts_they_are_one_sound(self, tmp_path: Path) -> None:
        content = without_xing(mp3(constant=True)) + without_xing(mp3(1.0, level=0.9))
        found = heard(tmp_path, "a.mp3", content)
        assert seconds(found) == pytest.approx(3.07, abs=0.02) and found.notices == ()

    @pytest.mark.parametrize("counts", [True, False])
    def test_another_rate_and_channel_count_is_converted(
        self, tmp_path: Path, counts: bool
    ) -> None:
        one, other = mp3(), mp3(1.0, 22_050, 1)
        if not counts:
            one, other = without_xing(one), without_xing(other)
        found = heard(tmp_path, "a.mp3", one + other)
        assert (found.audio.sample_rate, found.audio.channels) == (RATE, 2)
        assert seconds(found) == pytest.approx(3.0 if counts else 3.06, abs=0.03)
        converted = "sound 2 of 2 in it has 1 channel at 22050 Hz and is converted"
        assert found.notices == (JOINED, converted)
        assert is_loud_to_its_end(found)

    def test_a_last_frame_that_is_cut_is_left_out(self, tmp_path: Path) -> None:
        found = heard(tmp_path, "a.mp3", without_xing(mp3())[:-50])
        assert seconds(found) == pytest.approx(2.0, abs=0.01)
        assert found.notices == ("breaks off within its last frame, which is left out",)

    @pytest.mark.parametrize("flags", [0, 1 << 31])
    def test_a_tag_costs_no_sound_whatever_it_says_of_its_header(
        self, tmp_path: Path, flags: int
    ) -> None:
        head = APE[100:-8] + (flags | 1 << 29).to_bytes(4, "little") + bytes(4)
        tail = APE[:-8] + flags.to_bytes(4, "little") + bytes(4)
        wanted = heard(tmp_path, "b.mp3", mp3())
        for tag in (tail, head + tail, tail + ID3V1):
            found = heard(tmp_path, "a.mp3", mp3() + tag)
            assert (found.pcm_sha256, found.notices) == (wanted.pcm_sha256, ())

    def test_a_tag_that_claims_the_whole_file_hides_nothing(self, tmp_path: Path) -> None:
        tag = b"ID3\4\0\0\x7f\x7f\x7f\x7f"
        found = heard(tmp_path, "a.mp3", tag + mp3())
        assert (round(seconds(found), 3), found.notices) == (2.0, ())
        found = heard(tmp_path, "a.mp3", mp3() + tag + mp3(1.0))
        assert (round(seconds(found), 3), found.notices) == (3.0, (JOINED,))

    def test_free_format_and_low_rates_are_read(self, tmp_path: Path) -> None:
        frames = frames_of(mp3(1.0, 48_000, constant=True, level=0.0))[1:]
        free = b"".join(one[:2] + bytes([one[2] & 15]) + one[3:] for one in frames)
        assert seconds(heard(tmp_path, "a.mp3", free)) == pytest.approx(1.03, abs=0.02)
        for rate in (8000, 11_025, 16_000):
            assert seconds(heard(tmp_path, "a.mp3", mp3(1.0, rate, 1))) == 1.0

    def test_the_header_of_a_whole_file_is_left_alone(self, tmp_path: Path) -> None:
        for content in (mp3(), ID3 + mp3(constant=True) + ID3V1, mp3(1.0, 22_050, 1)):
            (tmp_path / "a.mp3").write_bytes(content)
            assert look_into(tmp_path / "a.mp3").as_is

    def test_what_is_no_sound_is_refused_soon(self, tmp_path: Path) -> None:
        for content in (b"\xff" * 300_000, b"\xff\xfb\x90\x64" * 70_000, b"words\n" * 9000):
            with pytest.raises(UnreadableFile, match="is not a sound file"):
                heard(tmp_path, "a.mp3", content)


class TestFlac:
    @pytest.mark.parametrize(
        ("total", "notices"),
        [
            (0, ()),
            (1000, ("its header claims 0.02 s; 2.00 s are there and are read",)),
            (10**7, ("its header claims 226.76 s; 2.00 s are there and are read",)),
        ],
    )
    def test_the_total_is_not_believed(
        self, tmp_path: Path, total: int, notices: tuple[str, ...]
    ) -> None:
        whole = encoded("FLAC", "PCM_16")
        found = heard(tmp_path, "a.flac", flac_total(whole, total))
        assert (seconds(found), found.notices) == (2.0, notices)
        assert found.pcm_sha256 == heard(tmp_path, "b.flac", whole).pcm_sha256

    def test_bytes_that_are_almost_a_frame_header_are_none(self, tmp_path: Path) -> None:
        plain = heard(tmp_path, "a.flac", encoded("FLAC", "PCM_16"))
        reserved_size = b"\xff\xf8\x09\x08\x00\x00" + bytes(10)  # as compressed sound may hold
        found = heard(tmp_path, "b.flac", encoded("FLAC", "PCM_16") + reserved_size)
        assert found.pcm_sha256 == plain.pcm_sha256

    @pytest.mark.parametrize(
        ("total", "notice"),
        [
            (88_200, "breaks off after 0.93 s: its header claims 2.00 s"),
            (0, "breaks off after 0.93 s, within a frame"),
            (1000, "its header claims 0.02 s; 0.93 s are there and are read"),
        ],
    )
    def test_a_cut_file_is_read_as_far_as_it_goes(
        self, tmp_path: Path, total: int, notice: str
    ) -> None:
        whole = flac_total(encoded("FLAC", "PCM_16"), total)
        found = heard(tmp_path, "a.flac", whole[: len(whole) // 2])
        assert (round(seconds(found), 2), found.notices) == (0.93, (notice,))

    def test_what_is_behind_damage_is_read(self, tmp_path: Path) -> None:
        content = bytearray(encoded("FLAC", "PCM_16"))
        del content[len(content) // 2 : len(content) // 2 + 15_000]
        found = heard(tmp_path, "a.flac", bytes(content))
        assert found.notices == ("damaged at 0.93 s: 0.46 s are lost, and silent",)
        whole = heard(tmp_path, "b.flac", encoded("FLAC", "PCM_16")).audio.samples
        assert found.audio.samples.shape == whole.shape
        same = (found.audio.samples == whole).all(axis=0)
        assert same[:40_960].all() and same[61_440:].all()
        assert not found.audio.samples[:, 40_960:61_440].any()
        for start_s in (0.0, 0.5, 1.0, 1.2, 1.5):
            part = load(tmp_path / "a.flac", start_s=start_s, duration_s=0.25).samples
            at = round(start_s * RATE)
            assert np.array_equal(part, found.audio.samples[:, at : at + 11_025])

    def test_tags_and_junk_around_it_are_no_sound(self, tmp_path: Path) -> None:
        whole = encoded("FLAC", "PCM_16")
        wanted = heard(tmp_path, "b.flac", whole).pcm_sha256
        for content in (ID3 + whole, whole + ID3V1, whole + b"x" * 999, b"junk" * 9 + whole):
            assert heard(tmp_path, "a.flac", content).pcm_sha256 == wanted

    @pytest.mark.parametrize("kind", [4, 6])
    def test_a_damaged_comment_or_picture_costs_only_itself(
        self, tmp_path: Path, kind: int
    ) -> None:
        whole = encoded("FLAC", "PCM_16")
        wanted = heard(tmp_path, "b.flac", whole).pcm_sha256
        block = bytes([kind]) + (40).to_bytes(3, "big") + b"\xff" * 40
        for tag in (b"", ID3):
            found = heard(tmp_path, "a.flac", tag + whole[:42] + block + whole[42:])
            assert found.pcm_sha256 == wanted
            assert found.notices == ("what stands before its sound is damaged and is left out",)
        found = heard(tmp_path, "a.flac", whole + whole[:42] + block + whole[42:])
        assert seconds(found) == 4.0 and is_loud_to_its_end(found)

    def test_files_one_behind_the_other_are_all_heard(self, tmp_path: Path) -> None:
        one, other = encoded("FLAC", "PCM_16"), encoded("FLAC", "PCM_24", 1.0, 48_000, 1)
        found = heard(tmp_path, "a.flac", one + other)
        assert seconds(found) == pytest.approx(3.0, abs=0.001)
        assert found.notices[0] == JOINED and is_loud_to_its_end(found)

    def test_in_ogg(self, tmp_path: Path) -> None:
        """Each block of metadata and each frame is a packet of its own (xiph.org, Ogg FLAC)."""
        whole = encoded("FLAC", "PCM_16", 1.0)
        packets = [b"\x7fFLAC\1\0\0\1" + whole[:42]]
        at, is_last = 42, False
        while not is_last:
            is_last = bool(whole[at] & 0x80)
            size = 4 + int.from_bytes(whole[at + 1 : at + 4], "big")
            packets.append(whole[at : at + size])
            at += size
        packets += [whole[at : at + 9000] for at in range(at, len(whole), 9000)]
        pages = []
        for number, packet in enumerate(packets):
            flags = 2 if number == 0 else 4 if number == len(packets) - 1 else 0
            granule = 0 if number < 2 else RATE
            lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
            head = b"OggS\0" + struct.pack("<BQIIIB", flags, granule, 7, number, 0, len(lacing))
            pages.append(head + lacing + packet)
        found = heard(tmp_path, "a.oga", b"".join(pages))
        assert (seconds(found), found.notices) == (1.0, ())
        assert found.pcm_sha256 == heard(tmp_path, "b.flac", whole).pcm_sha256


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
class TestOgg:
    def test_a_missing_end_is_told(self, tmp_path: Path, subtype: str) -> None:
        pages = pages_of(encoded("OGG", subtype, 2.0, 48_000))
        whole = b"".join(pages)
        for content in (whole[: len(whole) * 2 // 3], b"".join(pages[:-1])):
            found = heard(tmp_path, "a.ogg", content)
            assert 0.5 < seconds(found) < 1.9
            (notice,) = found.notices
            told = f"breaks off after {seconds(found):.2f} s: the last page of the stream is "
            assert notice == told + "missing"

    def test_chained_sounds_are_all_heard(self, tmp_path: Path, subtype: str) -> None:
        one = encoded("OGG", subtype, 2.0, 48_000)
        found = heard(tmp_path, "a.ogg", one + encoded("OGG", subtype, 1.0, 24_000, 1))
        assert seconds(found) == pytest.approx(3.0, abs=0.01)
        assert found.notices[0] == JOINED and len(found.notices) == 2
        assert is_loud_to_its_end(found)
        cut = heard(tmp_path, "b.ogg", one + one[: len(one) * 2 // 3])
        assert seconds(cut) > 2.5 and cut.notices[1].startswith("breaks off after")

    def test_data_that_is_no_page_is_left_out(self, tmp_path: Path, subtype: str) -> None:
        pages = pages_of(encoded("OGG", subtype, 2.0, 48_000))
        wanted = heard(tmp_path, "b.ogg", b"".join(pages)).pcm_sha256
        junk = b"junk" * 50
        for content in (
            junk + b"".join(pages),
            b"".join(pages[:-1]) + junk + pages[-1],
            b"".join(pages) + junk,
        ):
            found = heard(tmp_path, "a.ogg", content)
            assert found.pcm_sha256 == wanted
            assert found.notices == ("200 bytes between its pages are no sound and are left out",)

    def test_a_lost_page_is_told(self, tmp_path: Path, subtype: str) -> None:
        pages = pages_of(encoded("OGG", subtype, 2.0, 48_000))
        found = heard(tmp_path, "a.ogg", b"".join(pages[:-2] + pages[-1:]))
        assert found.notices == ("1 page is missing within it; what is there is read",)

    @pytest.mark.parametrize("granule", [-1, 0, 100, 1 << 40])
    def test_the_last_position_is_not_believed(
        self, tmp_path: Path, subtype: str, granule: int
    ) -> None:
        pages = pages_of(encoded("OGG", subtype, 2.0, 48_000))
        found = heard(tmp_path, "a.ogg", b"".join(pages[:-1]) + with_granule(pages[-1], granule))
        assert seconds(found) == pytest.approx(2.0, abs=0.03)
        assert found.notices == ("the length that its last page claims is untrue; read to the end",)

    def test_the_sound_among_other_streams_is_found(self, tmp_path: Path, subtype: str) -> None:
        pages = pages_of(encoded("OGG", subtype, 2.0, 48_000))
        other = b"OggS\0" + struct.pack("<BQIIIBB", 2, 0, 99, 0, 0, 1, 9) + b"\x80theora\0\0"
        later = b"OggS\0" + struct.pack("<BQIIIBB", 0, 0, 99, 1, 0, 1, 9) + b"\x81theora\0\0"
        content = other + pages[0] + later + b"".join(pages[1:])
        found = heard(tmp_path, "a.ogg", content)
        assert (round(seconds(found), 2), found.notices) == (2.0, ())


def test_a_file_is_read_by_its_content_and_a_wrong_name_is_told(tmp_path: Path) -> None:
    for name, content, kind in (
        ("a.wav", mp3(), "MP3"),
        ("a.mp3", wav(), "WAV"),
        ("b.mp3", encoded("OGG", "VORBIS", 1.0), "OGG"),
    ):
        found = heard(tmp_path, name, content)
        said = f"is named {name[1:]}, and is {kind} inside; read as that"
        assert found.notices == (said,)


def test_a_window_of_a_mended_file_is_that_of_the_whole(tmp_path: Path) -> None:
    for name, content in (
        ("a.mp3", mp3() + mp3(1.0)),
        ("b.flac", flac_total(encoded("FLAC", "PCM_16"), 0)),
        ("c.ogg", encoded("OGG", "VORBIS", 2.0) + encoded("OGG", "VORBIS", 1.0)),
        ("d.wav", wav(0)),
    ):
        (tmp_path / name).write_bytes(content)
        whole = load(tmp_path / name).samples
        part = load(tmp_path / name, start_s=1.5, duration_s=0.25).samples
        assert np.array_equal(part, whole[:, 66_150:77_175])
        with pytest.raises(InvalidInput, match="is not within"):
            load(tmp_path / name, start_s=9.0)


def test_limits_hold_against_what_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(mp3() + mp3())
    with pytest.raises(UnreadableFile, match="longer than 3 s"):
        hear(tmp_path / "a.mp3", max_duration_s=3.0)
    (tmp_path / "b.flac").write_bytes(flac_total(encoded("FLAC", "PCM_16"), (1 << 36) - 1))
    assert hear(tmp_path / "b.flac", max_duration_s=3.0).audio.duration_s == 2.0


def test_how_long_a_mended_file_is_can_be_asked(tmp_path: Path) -> None:
    for content, length_s in (
        (flac_total(encoded("FLAC", "PCM_16"), 0), 2.0),
        (mp3() + mp3(1.0), 3.0),
    ):
        (tmp_path / "a").write_bytes(content)
        assert writing.info(tmp_path / "a").duration_s == length_s


def test_bytes_of_a_flac_frame_that_look_like_no_frame_s_beginning_are_sound(
    tmp_path: Path,
) -> None:
    """A sync code with the reserved block size 0, among samples that are stored as they are."""
    noise = np.random.default_rng(1).integers(-32768, 32768, 9000).astype("<i2")
    noise[-8:] = np.frombuffer(b"\xff\xf8\x00\x08\x01\x02\x03\x04" * 2, ">i2")
    file = tmp_path / "noise.flac"
    soundfile.write(file, noise, RATE, format="FLAC", subtype="PCM_16")
    assert b"\xff\xf8\x00\x08\x01\x02" in file.read_bytes()[-32:]
    found = hear(file)
    assert found.notices == ()
    assert np.array_equal(found.audio.samples[0] * 32768, noise)
