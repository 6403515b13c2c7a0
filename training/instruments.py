"""Our own melodic instruments: what each is made of, in which range, with which envelope."""

from __future__ import annotations

from training import makers as mk
from training.makers import Instrument

_LOW, _MID, _HIGH, _WIDE = (36, 48, 60), (48, 60, 72), (66, 78, 90), (36, 48, 60, 72, 84)

INSTRUMENTS: dict[str, Instrument] = {
    # keyboards
    "piano": Instrument(mk.piano(1.0), (31, 43, 55, 66, 78, 90), release_s=0.25, gain_db=1.0),
    "bright piano": Instrument(mk.piano(2.2), (40, 56, 72), release_s=0.2, gain_db=1.0),
    "honky-tonk": Instrument(mk.piano(1.5, 9.0), (48, 64, 78), release_s=0.2, gain_db=2.0),
    "tine piano": Instrument(
        mk.fm(1.0, (1, 1, 0.9, 0.5, 1.0, 1.1), (1, 14, 0.35, 0.06, 0.25, 0.5)),
        (38, 52, 66, 80),
        release_s=0.25,
        gain_db=1.0,
    ),
    "fm piano": Instrument(
        mk.fm(
            1.0, (1, 1, 1.6, 0.8, 0.7, 1.0), (1, 3, 1.2, 0.15, 0.5, 0.6), (1, 7, 0.7, 0.1, 0.3, 0.3)
        ),
        (48, 62, 76),
        release_s=0.25,
        gain_db=1.0,
    ),
    "harpsichord": Instrument(mk.string(2.4, 0.95, 0.08, 0.05, 0.8), (43, 58, 73), gain_db=2.0),
    "clavinet": Instrument(
        mk.string(1.2, 0.8, 0.12, 0.15, 0.6), (40, 54, 68), release_s=0.05, gain_db=2.5
    ),
    # mallets
    "celesta": Instrument(
        mk.struck(0.4, 0.9, [1, 2.0, 4.1, 6.9], [1, 0.2, 0.3, 0.1]), (70, 84), gain_db=1.0
    ),
    "glockenspiel": Instrument(
        mk.struck(0.7, 0.9, [1, 2.76, 5.4, 8.9], [1, 0.35, 0.25, 0.1], knock=0.1),
        (76, 90),
        release_s=0.6,
    ),
    "music box": Instrument(
        mk.struck(0.4, 0.8, [1, 2, 3.01, 5.3], [1, 0.45, 0.15, 0.2]), (70, 84), release_s=0.4
    ),
    "vibraphone": Instrument(
        mk.struck(0.8, 1.3, [1, 4.0, 10.1], [1, 0.22, 0.05], tremolo=(5.2, 0.45)),
        (57, 71),
        release_s=0.4,
        gain_db=0.5,
    ),
    "marimba": Instrument(
        mk.struck(0.22, 0.7, [1, 3.93, 9.2], [1, 0.3, 0.06], knock=0.15),
        (43, 55, 67, 79),
        gain_db=1.0,
    ),
    "xylophone": Instrument(
        mk.struck(0.11, 0.35, [1, 3.0, 6.1, 10.2], [1, 0.6, 0.35, 0.15], knock=0.5),
        (67, 79, 91),
        22050,
        gain_db=2.0,
    ),
    "tubular bells": Instrument(
        mk.struck(
            1.1, 1.5, [1, 0.5, 1.5, 2.01, 2.74, 3.76, 4.1], [1, 0.25, 0.3, 0.6, 0.5, 0.3, 0.2]
        ),
        (60, 74),
        release_s=0.8,
    ),
    "kalimba": Instrument(
        mk.struck(0.35, 0.7, [1, 5.9, 13.1], [1, 0.12, 0.04], knock=0.2), (60, 74), gain_db=1.0
    ),
    "steel drum": Instrument(
        mk.struck(0.35, 0.9, [1, 2.0, 3.0, 4.02, 5.1], [1, 0.9, 0.35, 0.3, 0.15], knock=0.1),
        (57, 69, 81),
        gain_db=1.0,
    ),
    "crystal": Instrument(
        mk.fm(1.0, (1, 3.5, 1.2, 0.6, 1.0, 0.8), (2, 5.5, 0.6, 0.3, 0.3, 0.5)),
        (62, 78),
        release_s=0.6,
    ),
    # plucked strings
    "nylon guitar": Instrument(mk.string(2.6, 0.25, 0.28, 0.4, 1.0), (43, 56, 69), gain_db=2.0),
    "steel guitar": Instrument(mk.string(4.0, 0.6, 0.16, 0.14, 1.2), (43, 55, 67), gain_db=2.0),
    "jazz guitar": Instrument(mk.string(2.5, 0.12, 0.38, 0.45, 0.9), (43, 57, 70), gain_db=2.0),
    "clean guitar": Instrument(mk.string(4.5, 0.4, 0.1, 0.08, 1.1), (43, 55, 67), gain_db=2.5),
    "muted guitar": Instrument(
        mk.string(0.25, 0.35, 0.15, 0.5, 0.3), (42, 54, 66), release_s=0.05, gain_db=8.0
    ),
    "harp": Instrument(
        mk.string(2.4, 0.2, 0.45, 0.3, 1.0), (43, 59, 74, 88), release_s=0.5, gain_db=2.5
    ),
    "pizzicato": Instrument(mk.string(0.45, 0.22, 0.3, 0.4, 0.5), (43, 57, 70, 82), gain_db=6.0),
    "koto": Instrument(mk.string(1.6, 0.7, 0.07, 0.2, 1.0), (50, 64, 77), gain_db=5.5),
    "banjo": Instrument(mk.string(0.6, 0.85, 0.1, 0.06, 0.6), (48, 62, 76), gain_db=3.0),
    "sitar": Instrument(mk.string(5.0, 1.0, 0.03, 0.02, 1.2), (48, 62), gain_db=2.0),
    # drums with a pitch, and the sea
    "tom drum": Instrument(
        mk.struck(0.3, 0.9, [1, 1.5, 1.98, 2.44], [1, 0.45, 0.25, 0.15], knock=0.25),
        (36, 48),
        16000,
        release_s=0.3,
        gain_db=1.0,
    ),
    "synth drum": Instrument(mk.fm(0.5, (1, 0.5, 1.5, 0.05, 1.0, 0.14)), (45, 60), release_s=0.2),
    "surf": Instrument(lambda f0, rate, seed: mk.surf(rate, seed), (60,), release_s=0.5),
    # basses
    "upright bass": Instrument(
        mk.string(1.2, 0.1, 0.35, 0.5, 0.9), (29, 40, 51), 16000, release_s=0.08, gain_db=4.0
    ),
    "finger bass": Instrument(
        mk.string(3.0, 0.16, 0.2, 0.3, 0.9), (29, 40, 51), 16000, release_s=0.08, gain_db=3.0
    ),
    "slap bass": Instrument(
        mk.string(2.0, 0.95, 0.06, 0.05, 0.8), (31, 43), 22050, release_s=0.06, gain_db=5.0
    ),
    "saw bass": Instrument(
        mk.blown(mk.slope(1.0, 700), loop_s=0.35, attack_s=0.12, spread=0.0, blip=5.0),
        (29, 41, 53),
        16000,
        release_s=0.06,
    ),
    "square bass": Instrument(
        mk.blown(mk.slope(1.0, 420, even=0.05), loop_s=0.35, attack_s=0.01, blip=1.5),
        (29, 41, 53),
        16000,
        release_s=0.06,
    ),
    # organs and free reeds
    "drawbar organ": Instrument(
        mk.blown(
            mk.drawbars(0.6, 0.5, 1, 0.5, 0, 0.3, 0, 0, 0.2),
            attack_s=0.01,
            loop_s=0.4,
            vibrato=(6.5, 5),
            tremolo=(6.5, 0.12),
        ),
        (38, 52, 66, 80),
        release_s=0.04,
    ),
    "rock organ": Instrument(
        mk.blown(
            mk.drawbars(0.9, 0.7, 1, 0.8, 0.6, 0.5, 0.4, 0.4, 0.5),
            attack_s=0.01,
            loop_s=0.4,
            vibrato=(6.5, 9),
            tremolo=(6.5, 0.3),
            drive=0.9,
            chiff=0.3,
        ),
        (38, 52, 66, 80),
        release_s=0.04,
    ),
    "church organ": Instrument(
        mk.many(
            mk.harmonics(1, 0.7, 0.5, 0.6, 0.25, 0.35, 0.1, 0.4, 0.1, 0.1, 0, 0.15, 0, 0, 0, 0.2),
            cents=2.0,
            attack_s=0.06,
            loop_s=0.7,
        ),
        (36, 50, 64, 78),
        release_s=0.35,
    ),
    "reed organ": Instrument(
        mk.blown(mk.tube(0.6, 2600, (900, 500, 0.8)), attack_s=0.07, breath=0.02), (48, 62, 76)
    ),
    "accordion": Instrument(
        mk.many(
            mk.tube(0.5, 3600, (1200, 700, 0.9), (2700, 700, 0.5)),
            cents=3.5,
            attack_s=0.04,
            loop_s=0.7,
        ),
        (52, 66, 80),
        release_s=0.08,
    ),
    "harmonica": Instrument(
        mk.blown(
            mk.tube(0.4, 4200, (1900, 700, 1.2)),
            attack_s=0.05,
            vibrato=(5.5, 9),
            tremolo=(5.5, 0.25),
            breath=0.03,
        ),
        (60, 72, 84),
    ),
    "bagpipe": Instrument(
        mk.blown(mk.tube(0.2, 5200, (1300, 500, 0.8), (3000, 900, 0.9)), attack_s=0.02), (58, 70)
    ),
    # driven guitar
    "overdriven guitar": Instrument(
        mk.blown(mk.slope(0.9, 2400), attack_s=0.03, blip=2.0, drive=1.6, vibrato=(5, 5)),
        (40, 52, 64, 76),
        release_s=0.1,
    ),
    "distortion guitar": Instrument(
        mk.blown(mk.slope(0.5, 3400), attack_s=0.02, drive=4.0, breath=0.03),
        (40, 52, 64, 76),
        release_s=0.1,
    ),
    # bowed strings
    "violin": Instrument(
        mk.blown(mk.tube(0.8, 6000, *mk.BODY), attack_s=0.09, vibrato=(5.6, 16), breath=0.03),
        (60, 72, 84),
    ),
    "cello": Instrument(
        mk.blown(
            mk.tube(0.7, 3200, (220, 80, 1), (420, 150, 0.8), (900, 400, 0.6), (1900, 600, 0.4)),
            attack_s=0.11,
            vibrato=(5.2, 13),
            breath=0.02,
        ),
        _LOW,
    ),
    "tremolo strings": Instrument(mk.tremolo, (48, 62, 76), release_s=0.15),
    "strings": Instrument(
        mk.many(mk.tube(0.85, 5000, *mk.BODY), cents=13, attack_s=0.14),
        (40, 54, 68, 82),
        release_s=0.3,
    ),
    "synth strings": Instrument(
        mk.many(mk.slope(1.0, 3200), cents=9, attack_s=0.09), (45, 60, 75), release_s=0.4
    ),
    # voices
    "choir": Instrument(
        mk.many(mk.tube(0.7, 4000, *mk.AH), cents=15, attack_s=0.15), (50, 60, 70), release_s=0.3
    ),
    "voice oohs": Instrument(
        mk.many(mk.tube(0.9, 2500, *mk.OO), cents=11, attack_s=0.15), (48, 60, 72), release_s=0.3
    ),
    "synth voice": Instrument(
        mk.blown(mk.tube(0.6, 3500, *mk.AH), attack_s=0.09, vibrato=(5.3, 20)),
        (52, 64, 76),
        release_s=0.2,
    ),
    # brass
    "trumpet": Instrument(
        mk.blown(
            mk.tube(0.15, 3400, (1200, 900, 0.8), (2400, 1200, 0.4)),
            attack_s=0.06,
            spread=0.85,
            vibrato=(5.2, 6),
        ),
        (55, 67, 79),
        release_s=0.07,
    ),
    "muted trumpet": Instrument(
        mk.blown(mk.tube(0.1, 5000, (1900, 500, 1.4), (3600, 700, 0.7)), attack_s=0.05, spread=0.7),
        (58, 70, 82),
        release_s=0.07,
    ),
    "trombone": Instrument(
        mk.blown(
            mk.tube(0.35, 1900, (520, 400, 0.9), (1100, 600, 0.4)), attack_s=0.08, spread=0.85
        ),
        _LOW,
        release_s=0.08,
    ),
    "french horn": Instrument(
        mk.blown(mk.tube(0.8, 1000, (340, 250, 1.0)), attack_s=0.1, spread=0.7),
        (41, 53, 65),
        release_s=0.12,
    ),
    "brass section": Instrument(
        mk.many(mk.tube(0.35, 3000, (600, 500, 0.7), (1300, 900, 0.5)), cents=8, attack_s=0.06),
        (43, 55, 67, 79),
        release_s=0.1,
    ),
    "synth brass": Instrument(
        mk.blown(mk.slope(0.8, 2200), attack_s=0.13, spread=0.9, blip=1.2),
        (43, 55, 67, 79),
        release_s=0.2,
    ),
    # reeds
    "soprano sax": Instrument(
        mk.blown(
            mk.tube(0.5, 3800, (900, 400, 0.9), (1900, 700, 0.8)),
            attack_s=0.06,
            vibrato=(5.4, 12),
            breath=0.04,
            chiff=0.3,
        ),
        _HIGH,
    ),
    "tenor sax": Instrument(
        mk.blown(
            mk.tube(0.35, 2600, (480, 250, 1.0), (1150, 400, 0.7), (2100, 500, 0.4)),
            attack_s=0.06,
            vibrato=(5.0, 11),
            breath=0.07,
            chiff=0.4,
        ),
        (44, 56, 68),
        release_s=0.08,
    ),
    "oboe": Instrument(
        mk.blown(
            mk.tube(0.1, 4200, (1050, 350, 1.2), (2900, 700, 0.8)), attack_s=0.05, vibrato=(5.5, 8)
        ),
        (60, 72, 84),
        release_s=0.07,
    ),
    "bassoon": Instrument(
        mk.blown(mk.tube(0.4, 2000, (440, 160, 1.3), (1150, 300, 0.5)), attack_s=0.06, breath=0.01),
        (38, 50, 62),
        release_s=0.07,
    ),
    "clarinet": Instrument(
        mk.blown(mk.slope(0.7, 1900, even=0.12), attack_s=0.06, breath=0.015),
        (54, 68, 82),
        release_s=0.08,
    ),
    # pipes
    "flute": Instrument(
        mk.blown(
            mk.harmonics(1, 0.42, 0.16, 0.06, 0.03, 0.01),
            attack_s=0.08,
            vibrato=(5.2, 7),
            tremolo=(5.2, 0.2),
            breath=0.08,
            chiff=0.5,
        ),
        _HIGH,
        release_s=0.1,
    ),
    "recorder": Instrument(
        mk.blown(mk.harmonics(1, 0.06, 0.2, 0.02, 0.05), attack_s=0.04, breath=0.03, chiff=0.4),
        (67, 79, 91),
        release_s=0.06,
    ),
    "pan flute": Instrument(
        mk.blown(mk.harmonics(1, 0.08, 0.12, 0.02), attack_s=0.07, breath=0.25, chiff=1.0),
        (62, 74, 86),
    ),
    "whistle": Instrument(
        mk.blown(mk.harmonics(1, 0.02), attack_s=0.05, vibrato=(5.5, 14), breath=0.05),
        (72, 84, 96),
        release_s=0.1,
    ),
    # synth leads and pads
    "square lead": Instrument(
        mk.blown(mk.slope(1.0, 4000, even=0.0), attack_s=0.005, vibrato=(5.5, 6)), (38, 52, 66, 80)
    ),
    "saw lead": Instrument(
        mk.many(mk.slope(1.0, 6000), cents=4, attack_s=0.008, loop_s=0.5), (38, 52, 66, 80)
    ),
    "calliope": Instrument(
        mk.blown(mk.harmonics(1, 0.5, 0.05, 0.2), attack_s=0.03, breath=0.15, chiff=0.8), (60, 74)
    ),
    "fifths lead": Instrument(
        mk.blown(mk.slope(0.9, 3500, odd=0.9), attack_s=0.01, vibrato=(6, 8), drive=1.2),
        (48, 62, 76),
    ),
    "warm pad": Instrument(
        mk.many(mk.slope(1.3, 1100), cents=11, attack_s=0.25), _MID, release_s=0.5
    ),
    "bright pad": Instrument(
        mk.many(mk.slope(0.7, 4500, even=0.6), cents=16, attack_s=0.2), _MID, release_s=0.5
    ),
    "glass pad": Instrument(
        mk.many(mk.harmonics(1, 0, 0.5, 0, 0, 0.4, 0, 0, 0, 0.25, 0, 0.1), cents=5, attack_s=0.2),
        (52, 66, 80),
        release_s=0.6,
    ),
    "sweep pad": Instrument(
        mk.many(mk.tube(0.6, 2400, (1500, 300, 1.5)), cents=10, attack_s=0.35), _MID, release_s=0.6
    ),
}
