"""Style phrases in many languages, and names in other scripts."""

from __future__ import annotations

import pytest

from rag_audio import guardrails
from rag_audio.guardrails import Action, Policy
from tests.guardrails.conftest import LICENSED

PHRASES = {
    "ru": ("в стиле {}", "Зорблата Квинта", "русского романса"),
    "uk": ("у стилі {}", "Зорблата Квінта", "народної пісні"),
    "bg": ("в стила на {}", "Зорблат Квинт", "народна музика"),
    "el": ("στο στυλ του {}", "Ζορμπλάτ", "ρεμπέτικου"),
    "ar": ("بأسلوب {}", "زوربلات كوينت", "الموشحات الأندلسية"),
    "fa": ("به سبک {}", "زوربلات کوینت", "سنتی"),
    "he": ("בסגנון {}", "זורבלט קווינט", "חסידי"),
    "ko": ("{} 스타일", "조르블랏", "판소리"),
    "ja": ("{}っぽい曲", "Zorblat", "ジャズ"),
    "zh": ("{}味道的歌", "佐尔布拉", "古典"),
    "th": ("เพลงสไตล์{}", "ซอร์แบลต", "ลูกทุ่ง"),
    "vi": ("theo phong cách {}", "Zorblat Quý", "dân ca"),
    "id": ("ala {}", "Zorblat Kwint", "keroncong"),
    "tl": ("estilo ng {}", "Zorblat Kwint", "kundiman"),
    "tr": ("{} tarzında", "Zorblat Kuint", "türkü"),
    "pl": ("w stylu {}", "Zorblata Kwinta", "polki"),
    "cs": ("ve stylu {}", "Zorblata Kvinta", "dechovky"),
    "sk": ("v štýle {}", "Zorblata Kvinta", "ľudovej hudby"),
    "sr": ("u stilu {}", "Zorblata Kvinta", "narodne muzike"),
    "nl": ("in de stijl van {}", "Zorblat Kwint", "de jaren tachtig"),
    "sv": ("i stil med {}", "Zorblat Kvint", "en gammal vals"),
    "fi": ("{} tyyliin", "Zorblat Kvint", "humpan"),
    "hu": ("{} stílusában", "Zorblat Kvint", "csárdás"),
    "ro": ("în stilul {}", "Zorblat Cvint", "muzicii populare"),
}
LIKE = {
    "ru": ("как у {}", "Зорблата", "моря"),
    "uk": ("як у {}", "Зорблата", "дощі"),
    "el": ("σαν τον {}", "Ζορμπλάτ", "άνεμο"),
    "pl": ("coś jak {}", "Zorblat", "deszcz"),
    "cs": ("něco jako {}", "Zorblat", "déšť"),
    "sv": ("låter som {}", "Zorblat", "regn"),
    "hu": ("olyan mint {}", "Zorblat", "az eső"),
    "ro": ("sună ca {}", "Zorblat", "ploaia"),
    "vi": ("giống như {}", "Zorblat Quý", "mưa"),
    "id": ("mirip {}", "Zorblat", "hujan"),
    "sr": ("zvuči kao {}", "Zorblat", "kiša"),
    "nl": ("klinkt als {}", "Zorblat", "regen"),
}


@pytest.mark.parametrize("language", PHRASES)
def test_an_unknown_name_is_refused_and_music_is_not(policy: Policy, language: str) -> None:
    phrase, name, music = PHRASES[language]
    assert guardrails.check(phrase.format(name), policy).action is Action.REFUSE
    for thing in (music, LICENSED):
        decision = guardrails.check(phrase.format(thing), policy)
        assert decision.action is Action.ALLOW, decision.matches


@pytest.mark.parametrize("language", LIKE)
def test_like_leads_to_names_by_their_capitals(policy: Policy, language: str) -> None:
    phrase, name, thing = LIKE[language]
    assert guardrails.check(phrase.format(name), policy).action is Action.REFUSE
    decision = guardrails.check(phrase.format(thing), policy)
    assert decision.action is Action.ALLOW, decision.matches


SOUNDS = {
    "Taylor Swift": "تايلور سويفت|تیلور سوئیفت|טיילור סוויפט|테일러 스위프트|テイラースウィフト",
    "Michael Jackson": "مايكل جاكسون|מייקל ג'קסון|마이클 잭슨|マイケル・ジャクソン",
    "Hans Zimmer": "هانز زيمر|هانس زیمر",
    "Bob Dylan": "בוב דילן|ボブ・ディラン",
    "Pink Floyd": "بينك فلويد|핑크 플로이드|ピンク・フロイド",
    "Coldplay": "كولدبلاي|קולדפליי|콜드플레이|コールドプレイ",
    "Lady Gaga": "ليدي غاغا|레이디 가가|レディー・ガガ",
    "Beyoncé": "أغنية مثل بيونسيه",
}


@pytest.mark.parametrize("name", SOUNDS)
def test_a_name_is_heard_in_other_scripts(policy: Policy, name: str) -> None:
    for written in SOUNDS[name].split("|"):
        decision = guardrails.check(written, policy)
        assert decision.action is Action.REFUSE, written
        start, end = decision.matches[0].start, decision.matches[0].end
        assert written[start:end] == decision.matches[0].text


@pytest.mark.parametrize(
    "prompt",
    [
        "موسيقى هادئة للاسترخاء مع بيانو وكمان", "أغنية حزينة عن المطر والليل",
        "כינור עצוב עם פסנתר וגשם בחוץ", "שיר ערש לתינוק עם תיבת נגינה",
        "آهنگ غمگین درباره باران و شب", "비 오는 밤 느낌의 재즈 피아노", "80년대 시티팝 스타일",
        "シンセサイザーとストリングスのサウンドスケープ", "サイバーパンクなエレキギター",
        "咖啡馆那种爵士", "江南风格的笛子", "เพลงเหมือนฝนตก",
    ],
)  # fmt: skip
def test_music_talk_of_other_scripts_passes(policy: Policy, prompt: str) -> None:
    decision = guardrails.check(prompt, policy)
    assert decision.action is Action.ALLOW, decision.matches


def test_a_licensed_artist_is_not_heard_as_a_stranger() -> None:
    roster = guardrails.load_roster(None)
    granted = Policy(frozenset({"Taylor Swift"}), frozenset(), roster)
    assert guardrails.check("تايلور سويفت", granted).action is Action.ALLOW
    assert guardrails.check("هانز زيمر", granted).action is Action.REFUSE
