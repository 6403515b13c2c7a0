"""What names of files say of tempo and key, and what they only seem to say."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.facts import facts_of
from indexer.measure import MeasuredFile
from indexer.name_hints import BARE_BPM, CONFIRMED, KEY_NAMED, STATED_BPM, NameHints, hints_of
from indexer.stems_csv import Metadata
from rag_audio.domain import Key, StemKind

SAYING: list[tuple[str, float | None, str | None]] = [
    ("Loop_120bpm_Am.wav", 120, "A minor"),
    ("Bass_95_F#min.wav", 95, "F# minor"),
    ("Nimbus - Ember Melody Loop 1 - 140 BPM D Min.wav", 140, "D minor"),
    ("SK_VLT_trap_melody_150_Cmin.wav", 150, "C minor"),
    ("128_Am_Synth_01.wav", 128, "A minor"),
    ("HLM2_124_G#m_Chords.wav", 124, "Ab minor"),
    ("QRT_90_Bbmaj_RhodesLoop.wav", 90, "Bb major"),
    ("VCT_Full_Drum_Loop_04_128.wav", 128, None),
    ("174_DnB_Break_Loop_02.wav", 174, None),
    ("Loop120bpm.wav", 120, None),
    ("x 92.5 BPM.wav", 92.5, None),
    ("Groove 87,5bpm.aiff", 87.5, None),
    ("Take BPM 92.wav", 92, None),
    ("Dust 01 BPM 92.wav", 92, None),
    ("bpm_120-fill.wav", 120, None),
    ("070_bpm.wav", None, None),
    ("Pad_128BPM_Ebmaj_Wet.wav", 128, "Eb major"),
    ("Tidewater 66 bpm D major cello.flac", 66, "D major"),
    ("01-128bpm-kick.wav", 128, None),
    ("Lead A#m.wav", None, "Bb minor"),
    ("Pad C_minor.wav", None, "C minor"),
    ("Pad Cmaj.wav", None, "C major"),
    ("Pad_Amin.wav", None, "A minor"),
    ("keys_F#_Minor_Arp.wav", None, "F# minor"),
    ("E flat minor strings.wav", None, "Eb minor"),
    ("C sharp minor.mid", None, "C# minor"),
    ("strings C♯ minor.mid", None, "C# minor"),
    ("Brass B♭maj.wav", None, "Bb major"),
    ("Jam in the key of G.wav", None, "G major"),
    ("Jam in the key of Bb minor.wav", None, "Bb minor"),
    ("Nocturne in E minor.wav", None, "E minor"),
    ("Rhodes A Minor.wav", None, "A minor"),
    ("A Minor Pad 120bpm.wav", 120, "A minor"),
    ("choir_dmin_100.wav", 100, "D minor"),
    ("C-Moll Walzer 96bpm.wav", 96, "C minor"),
    ("１２０ＢＰＭ ドラム.wav", 120, None),
    ("Piano_118_Em_Soft.wav", 118, "E minor"),
    ("arp_120_Gm.wav", 120, "G minor"),
    ("guitar-loop-120bpm-am.wav", 120, "A minor"),
    ("bass-loop-100-bpm-d-minor.mp3", 100, "D minor"),
    ("Pad_Am_Warm_3.wav", None, "A minor"),
    ("strings_A_minor_long.wav", None, "A minor"),
    ("Tempo 104 Hook.wav", 104, None),
    ("bass_95bpm_fsharp_min.wav", 95, "F# minor"),
    ("Loop_120bpm_Am (1).wav", 120, "A minor"),
    ("Symphony No. 40 in G minor.mid", None, "G minor"),
    ("drums_tempo=88.wav", 88, None),
    ("128 - Am - Ann Orr - Night Bus.mp3", 128, "A minor"),
    ("Bb minor 90.wav", 90, "Bb minor"),
    ("140_Gm_2024-06-12.wav", 140, "G minor"),
    ("Am.wav", None, "A minor"),
    ("120bpm/kick.wav", 120, None),
    ("8A - 128 - Night Bus.mp3", 128, "A minor"),
    ("Night Bus - 11B - 124.mp3", 124, "A major"),
    ("04A_140bpm_stab.wav", 140, "F minor"),
    ("H-Moll 100bpm.wav", 100, "B minor"),
    ("Walzer B-Dur.wav", None, "Bb major"),
    ("Es-Dur Marsch 110 BPM.wav", 110, "Eb major"),
    ("boucle la mineur 100bpm.wav", 100, "A minor"),
    ("Tempo 100 BPM/F#m/pad 3.wav", 100, "F# minor"),
    ("120 BPM/Loop 90bpm.wav", 90, None),
]

SAYING_NOTHING = """
    808.wav|909 Snare.wav|Kick 808 long.wav|Take 120.wav|Track_24.wav|Track 101 - Rain.mp3
    101 - Rain.mp3|kick_24bit_48k.wav|mix 96 kHz.wav|Session 2024-06-12.wav|rec 20240612_120530.wav
    12.06.95 rehearsal.wav|Drum_Loop_128.wav|Drum Loop 95.wav|SH-101 Line.wav|Juno_106 pad.wav
    Juno 60 pad.wav|Stairs 120 Steps.wav|Vol 140.wav|Route 66.wav|Rhodes 73.wav|file (100).wav
    Kick_F#.wav|Kick_C.wav|Tom_A4.wav|Piano C3.wav|Chord_Dbmaj7.wav|Chord_Am7.wav|Chord Gsus4.wav
    Am-F-C-G.wav|I Am Free.wav|Who I Am.wav|A Minor Incident.wav|a minor mishap.wav|Idi Amin.wav
    10 AM.wav|Key of Life.wav|vitamin.wav|8A.wav|Apartment 8A.wav|Side 2B.wav
    Emin at night.wav|major.wav|min.wav|5 min.wav|Flat Major Problems.wav|bpm.wav|bpm 7.wav
    Am_I_Wrong.wav|Here_I_Am.wav|Uptempo 90.wav|24-96 master.wav|100% Kick.wav|fm_120.wav
    999bpm.wav|0bpm.wav|12bpm.wav|1120bpm.wav|100-120bpm.wav|120bpm 140bpm.wav|50 BPM 92.wav
    Gmin to Bbmaj.wav|FM bell.wav|Gm7b5.wav|Em Cm.wav|EBM 3.wav|cm 10.wav|100 dB.wav|120 sec.wav
    kick 120 ms.wav
"""


@pytest.mark.parametrize(("path", "bpm", "key"), SAYING)
def test_a_name_that_says_tempo_or_key_is_read(
    path: str, bpm: float | None, key: str | None
) -> None:
    hints = hints_of(path)
    assert (hints.bpm, hints.key) == (bpm, None if key is None else Key.parse(key))


@pytest.mark.parametrize(
    "path", [one.strip() for line in SAYING_NOTHING.split("\n") for one in line.split("|") if one]
)
def test_a_name_that_only_seems_to_say_so_gives_nothing(path: str) -> None:
    assert replace(hints_of(path), sample_type=None) == NameHints()


def test_a_number_that_measures_something_else_is_no_tempo_beside_a_key() -> None:
    for name in ("Kick 100% Gm.wav", "master_24-96_F#m.wav", "Juno_106_Am.wav", "Take_120_Am.wav"):
        hints = hints_of(name)
        assert hints.bpm is None and hints.key is not None, name


def test_a_hint_has_the_confidence_of_how_it_is_written() -> None:
    stated, bare = hints_of("Loop_120bpm_Am.wav"), hints_of("Bass_95_F#min.wav")
    assert (stated.bpm_confidence, stated.key_confidence) == (STATED_BPM, KEY_NAMED)
    assert (bare.bpm_confidence, bare.key_confidence) == (BARE_BPM, KEY_NAMED)


PIECES = st.sampled_from(
    "120|bpm|BPM|Am|A minor|F#|8A|-|_|.|,|24|bit|loop|01|key of|in|#|b|♭|/|95|Cmaj7|dur| |\n|\x00|²"
    "|٣".split("|")
)


@settings(max_examples=100, deadline=None)
@given(st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join))
def test_any_name_at_all_gives_a_hint_in_range_or_none(path: str) -> None:
    hints = hints_of(path)
    assert hints.bpm is None or 30 <= hints.bpm <= 300
    assert 0 <= hints.bpm_confidence < 1 and 0 <= hints.key_confidence < 1
    assert (hints.bpm is None) is (hints.bpm_confidence == 0)
    assert (hints.key is None) is (hints.key_confidence == 0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(60, 200),
    st.sampled_from(["Am", "F#m", "Bbmin", "Cmaj", "G_minor"]),
    st.sampled_from(["_", " ", " - "]),
    st.text(string.ascii_lowercase, min_size=8, max_size=8),
)
def test_tempo_and_key_are_found_wherever_they_stand(
    bpm: int, key: str, between: str, word: str
) -> None:
    for parts in ([f"{bpm}bpm", key, word], [word, key, f"{bpm} BPM"], [word, f"{bpm}bpm", key]):
        hints = hints_of(f"pack/{between.join(parts)}.wav")
        assert (hints.bpm, hints.key) == (bpm, Key.parse(key.replace("_", " ")))


def test_a_name_of_many_words_takes_no_time() -> None:
    assert hints_of("/".join(["_".join(["1-2 bpm A"] * 400)] * 20) + ".wav").bpm is None


# Which of several sources counts.


def measured(
    bpm: float | None = None,
    sure: float = 0.0,
    key: str | None = None,
    clear: float = 0.0,
    tags: Metadata | None = None,
    kind: StemKind = StemKind.AUDIO,
) -> MeasuredFile:
    found = None if key is None else Key.parse(key)
    return MeasuredFile(
        "ab" * 32, kind, 4.0, bpm, sure, found, clear, -14.0, None, tags=tags or Metadata()
    )


AM = Key.parse("A minor")
NAME = "Loop_120bpm_Am.wav"


@pytest.mark.parametrize(
    ("declared", "file", "bpm", "key"),
    [
        (Metadata(bpm=90, key=Key.parse("G")), measured(), (90, 1.0), ("G major", 1.0)),
        (Metadata(), measured(), (120, STATED_BPM), ("A minor", KEY_NAMED)),
        (Metadata(), measured(93, 0.5, "G", 0.4), (120, STATED_BPM), ("A minor", KEY_NAMED)),
        (
            Metadata(),
            measured(119.6, 0.4, "A minor", 0.2),
            (120, CONFIRMED),
            ("A minor", CONFIRMED),
        ),
        (Metadata(), measured(60.1, 0.9, "C", 0.95), (120, 0.9), ("A minor", 0.95)),
        (Metadata(), measured(93, 0.85, "G", 0.8), (93, 0.85), ("G major", 0.8)),
        (
            Metadata(),
            measured(93, 0.85, tags=Metadata(bpm=120.5, key=AM)),
            (120.5, 0.9),
            ("A minor", 0.9),
        ),
        (Metadata(), measured(93, 0.5, kind=StemKind.MIDI), (93, 0.5), ("A minor", KEY_NAMED)),
    ],
)
def test_the_table_comes_before_tags_and_a_name_before_a_less_certain_measurement(
    declared: Metadata, file: MeasuredFile, bpm: tuple[float, float], key: tuple[str, float]
) -> None:
    facts = facts_of(NAME, declared, file)
    assert (facts.bpm, facts.bpm_confidence) == bpm
    assert (str(facts.key), facts.key_confidence) == key


def test_without_a_hint_what_was_known_before_counts_as_it_did() -> None:
    tagged = measured(93, 0.6, "G", 0.5, Metadata(bpm=100))
    facts = facts_of("take.wav", Metadata(), tagged)
    assert (facts.bpm, facts.bpm_confidence, str(facts.key), facts.key_confidence) == (
        100, 0.9, "G major", 0.5,
    )  # fmt: skip
    nothing = facts_of("take.wav", Metadata(), measured())
    assert (nothing.bpm, nothing.bpm_confidence, nothing.key) == (None, 0.0, None)
    assert facts.notices == nothing.notices == ()


def test_what_overrules_a_name_is_said() -> None:
    heard = facts_of(NAME, Metadata(), measured(93, 0.85, "G", 0.8))
    assert heard.notices == (
        "its name says 120 bpm, the measurement 93 bpm: the measurement counts",
        "its name says A minor, the measurement G major: the measurement counts",
    )
    tagged = facts_of(NAME, Metadata(), measured(tags=Metadata(bpm=95, key=AM)))
    assert tagged.notices == ("its name says 120 bpm, its tag 95 bpm: the tag counts",)
    score = facts_of("x 95bpm.mid", Metadata(), measured(120, 0.5, kind=StemKind.MIDI))
    assert score.notices == ("its name says 95 bpm, the score 120 bpm: the score counts",)
    assert facts_of(NAME, Metadata(bpm=90, key=AM), measured(93, 0.9)).notices == ()
    assert facts_of(NAME, Metadata(), measured(93, 0.5, "G", 0.4)).notices == ()
