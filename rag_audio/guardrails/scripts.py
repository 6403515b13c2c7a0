"""Style phrases that follow the name in scripts without capitals: Japanese, Hindi, Chinese, Korean.

What stands before the phrase is a name unless it is made of music talk
(``data/policy/words/japanese.txt``, ``hindi.txt``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product

from rag_audio.guardrails.normalise import Text, fold
from rag_audio.guardrails.vocabulary import asian_words, is_music, is_ordinary, word_set, words_of

_KANA = "\u3041-\u3096\u30a1-\u30fa\u30fc\u30fd-\u30ff"
_HAN = "\u3005-\u3007\u4e00-\u9fff"
_JAPANESE = re.compile(
    rf"(?P<name>[\u30a1-\u30fa\u30fc・{_HAN}\w\s.&'\-]{{1,40}}?)"
    r"(?P<phrase>さん|氏)?(?P<suffix>(?<![古国國春秋夏冬北南東西海台颱微強暴順涼寒熱季旋手])風(?![呂船琴景車鈴邪味格速力雨情土刺雲流習俗潮貌])|ふう|調の|っぽい|つぽい|みたい|のよう|のような|のスタイル|スタイル|的な|系の|の曲調|"
    r"の作風|の真似|をまね|を真似|にインスパイア|に影響|への|の音楽性|の歌い方|の声|の世界観|ライク|テイスト|の雰囲気|"
    r"に似|似の|の歌声|ボイス|そっくり|が歌う|が歌っ|作曲|プロデュース|を彷彿|を思わせ|リスペクト|オマージュ|のカバー|のリミックス|の新曲|タイプビート|らしさ|らしい|の感じ|節)"
)
_STRONG = re.compile(
    "風|ふう|スタイル|作風|真似|まね|インスパイア|影響|歌い方|曲調|そっくり|彷彿|オマージュ|リスペクト|新曲|タイプビート"
)
_HINDI = re.compile(
    r"(?P<name>(?:[\u0900-\u097fa-z.]+\s+){1,4})"
    r"(?:(?:की|के|का)\s+(?:शैली|तरह|स्टाइल|अंदाज़?|अन्दाज|तर्ज|धुन|आवाज|जैसा|जैसी|जैसे|गायकी|स्वर|याद|नकल)|"
    r"जैसा|जैसी|जैसे|(?:से|द्वारा)\s+(?:प्रेरित|प्रभावित|रचित)|वाली शैली|स्टाइल)"
)
_CHINESE = re.compile(
    rf"(?:[像仿似]|类似|類似|模仿|好像|翻唱|致敬|学习|如同|參考|参考)(?P<a>[{_HAN}a-z·\s]{{2,12}}?)(?:一样|一樣|那样|那樣|的|$)|"
    rf"(?P<b>[{_HAN}a-z·]{{2,10}}?)(?:的)?(?:风格|風格|曲风|曲風|味道|唱腔|嗓音|声线|聲線|唱法|的声音|的聲音|的歌声|式唱|式的|式情歌|范儿|范兒|那种|那種|的感觉|的感覺|同款)"
)
_KOREAN = re.compile(
    r"(?P<name>[\u1100-\u11ffa-z\s]{1,40}?)\s*(?:"
    + unicodedata.normalize(
        "NFKD",
        "스타일|풍의|풍|처럼|같은|같이|느낌|목소리|음색|창법|타입|비슷한|닮은|감성|버전|커버",
    )
    + ")"
)
_KOREAN_STRONG = re.compile(
    unicodedata.normalize("NFKD", "스타일|풍|목소리|음색|창법|타입 ?비트|재질|노래처럼|곡처럼")
)
_KOREAN_ENDING = re.compile(
    unicodedata.normalize(
        "NFKD", "(?:와|과|랑|이랑|의|을|를|이|가|은|는|도|에|로|으로|하고|씨|님)$"
    )
)
_THAI = re.compile(
    r"(?P<phrase>สไตล(?:ของ|วง|คุณ)?|ในแบบ(?:ของ)?|ตามแบบ(?:ของ)?|แบบ(?:วง|ของ)|แนว(?:วง|ของ)|เสียง(?:ของ)|เลียนแบบ|"
    r"(?P<weak>เหมือน(?:วง|กับ|ของ)?|คลาย(?:วง|กับ)?|แบบ|แนว))\s?(?P<name>[\u0e00-\u0e7fa-z.]+(?:\s[\u0e00-\u0e7f]{2,4}$)?)"
)
_SURNAMES = (
    "김이박최정강조윤장임한오서신권황안송류전홍고문양손배백허유남심노하곽성차주우구민진지엄채원"
    "천방공현함변염여추도소석선설마길연위표명기반왕금옥육인맹제모탁국"
)
"""Syllables that are surnames in Korea."""
_CHINESE_MUSIC = word_set(
    "中国 中國 古典 爵士 摇滚 搖滾 流行 民谣 民謠 电子 電子 嘻哈 蓝调 藍調 日本 "
    "韩国 韓國 复古 復古 轻音乐 八十年代 九十年代 拉丁 交响 交響 钢琴 鋼琴 雨 "
    "雨声 海 风 古风 电影 電影 游戏 遊戲 乡村 鄉村 放克 灵魂 现代 現代"
)
_KOREAN_MUSIC = word_set(
    fold(
        "재즈 록 팝 발라드 힙합 클래식 전자 음악 국악 트로트 비 바다 영화 게임 "
        "로파이 보사노바 왈츠 탱고"
    )
)


def find_names(text: Text, known: set[int]) -> Iterator[tuple[int, int]]:
    """Objects of such phrases that are no music talk, as spans of the plain text.

    Args:
        known: offsets of the plain text that belong to a licensed name.
    """
    if text.plain.isascii():
        return
    for match in _JAPANESE.finditer(text.plain):
        span = _trim(text.plain, *match.span("name"))
        name = text.plain[span[0] : span[1]]
        strong = _STRONG.search(match["suffix"]) is not None
        raw = text.raw[slice(*text.raw_span(*span))] if name else ""
        if name and not known & set(range(*span)) and _is_japanese_name(name, raw, strong):
            yield span
    for match in _HINDI.finditer(text.plain):
        span = _hindi_name(text.plain, *match.span("name"))
        if span[0] < span[1] and not known & set(range(*span)):
            yield span
    for find in (_chinese_names, _korean_names, _thai_names):
        for span in find(text.plain):
            if not known & set(range(*span)):
                yield span


def _chinese_names(plain: str) -> Iterator[tuple[int, int]]:
    if re.search(rf"[{_KANA}]", plain):
        return
    for match in _CHINESE.finditer(plain):
        group = next(g for g, found in match.groupdict().items() if found)
        start, end = _trim(plain, *match.span(group))
        name = plain[start:end]
        name = name.removeprefix("那种").removeprefix("那種").removeprefix("这种")
        if name and not name.isascii() and not _is_talk(name, _chinese_music()):
            yield start, end


def _korean_names(plain: str) -> Iterator[tuple[int, int]]:
    """The word before a phrase, or two where the first of them is no music talk either."""
    for match in _KOREAN.finditer(plain):
        start, end = _trim(plain, *match.span("name"))
        words = list(re.finditer(r"\S+", plain[start:end]))[-2:]
        if not words or plain[start:end].isascii():
            continue
        strong = _KOREAN_STRONG.search(match.group(), match.end("name") - match.start()) is not None
        strange = [word for word in words if not _is_korean_talk(word.group())]
        if words[-1] in strange and (strong or _is_korean_name(words[-1].group())):
            yield start + strange[0].start(), start + words[-1].end()


def _is_korean_talk(word: str) -> bool:
    music = _korean_music()
    bare = _KOREAN_ENDING.sub("", word)
    return any(one in music or is_ordinary(one) for one in (word, bare) if one) or any(
        word.startswith(known) for known in music if len(known) >= 4
    )


def _is_korean_name(word: str) -> bool:
    """Whether a word has a surname and three syllables, as most people's names do there."""
    composed = unicodedata.normalize("NFC", word)
    return len(composed) == 3 and composed[0] in _SURNAMES


def _thai_names(plain: str) -> Iterator[tuple[int, int]]:
    for match in _THAI.finditer(plain):
        name = match["name"]
        short = len(name) <= 5
        talk = any(name.startswith(word) for word in _thai_music() if short or len(word) > 2)
        if not talk and not match["weak"] and not (name.isascii() and is_ordinary(name)):
            yield match.span("name")


@cache
def _japanese_music() -> tuple[frozenset[str], int]:
    words = asian_words("japanese")[0] | words_of("ja")
    return words, max(map(len, words))


@cache
def _chinese_music() -> frozenset[str]:
    return _CHINESE_MUSIC | frozenset(word for word in words_of("zh"))


@cache
def _korean_music() -> frozenset[str]:
    return _KOREAN_MUSIC | words_of("ko")


@cache
def _thai_music() -> frozenset[str]:
    return words_of("th")


def _is_talk(part: str, music: frozenset[str]) -> bool:
    """Whether a run is music talk; Chinese writes several words in one run."""
    return part in music or any(len(word) > 1 and word in part for word in music)


def _trim(plain: str, start: int, end: int) -> tuple[int, int]:
    """The last run of letters before the phrase: after a space between words of other scripts."""
    while start < end and not plain[start].isalnum():
        start += 1
    while end > start and not plain[end - 1].isalnum() and plain[end - 1] != "ー":
        end -= 1
    return start, end


def _is_japanese_name(name: str, raw: str, strong: bool) -> bool:
    if name.isascii():
        words = fold(name).split()
        if raw[:1].isupper() and words and not all(is_music(word) for word in words):
            return True
        return bool(words) and not all(is_ordinary(word) for word in words)
    rest = _without_music(name)
    if not rest:
        return False
    # "like" may be said of anything, and most things are written with one or two Han characters.
    person = len(name) in (3, 4) and re.fullmatch(f"[{_HAN}]+", name) is not None
    return strong or person or len(rest) >= 3 or re.search("[\u30a1-\u30fa]{2}", rest) is not None


def _without_music(name: str) -> str:
    """What is left of a run when music talk is taken from it, longest words first."""
    words, longest = _japanese_music()
    rest: list[str] = []
    at = 0
    while at < len(name):
        for length in range(min(longest, len(name) - at), 0, -1):
            if name[at : at + length] in words:
                at += length
                break
        else:
            if name[at].isalpha() or name[at] in "ー":
                rest.append(name[at])
            at += 1
    return "".join(rest)


def _hindi_name(plain: str, start: int, end: int) -> tuple[int, int]:
    """The words that stand next to the phrase and are no music talk."""
    words, _ = asian_words("hindi")
    found = list(re.finditer(r"[\u0900-\u097fa-z.]+", plain[start:end]))
    first = len(found)
    for i in range(len(found) - 1, -1, -1):
        word = found[i].group().strip(".")
        ordinary = is_ordinary(word) if word.isascii() else word in words
        if ordinary and len(word) > 1:
            break
        first = i
    if first == len(found):
        return end, end
    return start + found[first].start(), start + found[-1].end()


# How a name is heard: consonants as the key, vowels to tell apart what shares it.
#
# ``Billy Eyelish``, ``Doowa Leepa`` and ``Mykel Jaxon`` are far from the letters of the names and
# near to their sound. What can be read in two ways (``ch``, ``ci``, ``w``) is read in both.
# After the ideas of Metaphone (L. Philips, 1990), whose key is of consonants too, and of Editex
# (J. Zobel and P. Dart, 1996), which lets letters of a group differ for less.

_PLAIN = (
    (re.compile(r"sch|sh+|(?<=[a-z])ti(?=on|an|ous)|ssi(?=on)"), "S"),
    (re.compile(r"tch|cz"), "C"),
    (re.compile(r"ph"), "f"),
    (re.compile(r"ck"), "k"),
    (re.compile(r"^(?:kn|gn)"), "n"),
    (re.compile(r"^wr"), "r"),
    (re.compile(r"gh(?=t|s|$)|(?<=[aeiou])gh"), ""),
    (re.compile(r"d?j|dg(?=[eiy])"), "J"),
    (re.compile(r"th"), "t"),
    (re.compile(r"qu"), "kv"),
    (re.compile(r"x"), "ks"),
    (re.compile(r"wh"), "w"),
)
_TWO_WAYS = (
    (re.compile(r"ch"), ("C", "k")),
    (re.compile(r"c[ie](?=[aou])"), ("S", "si")),
    (re.compile(r"c(?=[eiy])"), ("s", "k")),
    (re.compile(r"g(?=[eiy])"), ("g", "J")),
    (re.compile(r"(?<=[aeiou])ll(?=[aeo])"), ("l", "y")),
    (re.compile(r"w(?=[aeiouy])"), ("v", "")),
    (re.compile(r"(?<=[bcdfgklmnprstvzSCJ])e$"), ("", "e")),
)
_MOST_SITES = 3
_MERGED = str.maketrans({"c": "k", "q": "k", "z": "s"})
_CONSONANT = re.compile(r"[bdfgjklmnprstvSCJ]")
_REST = re.compile(r"[^aeiouy]")
_VOWELS = (
    (re.compile(r"ee+|ea|ie|ey"), "i"),
    (re.compile(r"ai|ay|ei"), "e"),
    (re.compile(r"oo+|ou|ew|ue"), "u"),
    (re.compile(r"au|aw|oa|ow|oe"), "o"),
    (re.compile(r"y"), "i"),
)
_NEAR = frozenset({"ae", "ei", "ou", "ao"})
_DOUBLE = re.compile(r"(.)\1+")
_DOUBLE_CONSONANT = re.compile(r"([bdfgjklmnprstvSCJ])\1+")
_LEAST = 3
"""Consonants that a name must have to be told by its sound."""


@dataclass(frozen=True)
class Heard:
    """One way to read a run of letters.

    Attributes:
        key: its consonants.
        vowels: what stands before, between and after them; one more than consonants.
    """

    key: str
    vowels: tuple[str, ...]


@lru_cache(maxsize=65536)
def heard(letters: str, least: int = _LEAST) -> tuple[Heard, ...]:
    """The ways to read a run of small letters, the likeliest first.

    Args:
        least: consonants that a reading must have: too many words sound like a shorter one.
    """
    made = letters
    for pattern, to in _PLAIN:
        made = pattern.sub(to, made)
    readings = [made]
    for pattern, ways in _TWO_WAYS:
        sites = len(pattern.findall(made))
        if sites and len(readings) < 1 << _MOST_SITES:
            readings = [pattern.sub(way, one) for one, way in product(readings, ways)]
        elif sites:
            readings = [pattern.sub(ways[0], one) for one in readings]
    found = (_split(one) for one in dict.fromkeys(readings))
    return tuple(one for one in dict.fromkeys(found) if len(one.key) >= least)


def unlikeness(one: Heard, other: Heard) -> float:
    """How differently two readings of one key are heard, 0…1: the mean over their vowels."""
    costs = [_cost(a, b) for a, b in zip(one.vowels, other.vowels, strict=True) if a or b]
    return sum(costs) / len(costs) if costs else 0.0


def most_unlike(key: str) -> float:
    """How unlike two readings of a key may be and still be one name: less for a short key."""
    return {3: 0.2, 4: 0.3}.get(len(key), 0.4)


def _split(made: str) -> Heard:
    made = _DOUBLE_CONSONANT.sub(r"\1", made.translate(_MERGED))
    key: list[str] = []
    vowels = [""]
    for sign in made:
        if not _CONSONANT.match(sign):
            vowels[-1] += sign
        elif key and key[-1] == sign and not _REST.sub("", vowels[-1]):
            continue
        else:
            key.append(sign)
            vowels.append("")
    return Heard("".join(key), tuple(_vowel(v) for v in vowels))


@lru_cache(maxsize=4096)
def _vowel(letters: str) -> str:
    made = letters
    for pattern, to in _VOWELS:
        made = pattern.sub(to, made)
    return _DOUBLE.sub(r"\1", _REST.sub("", made))


@lru_cache(maxsize=4096)
def _cost(one: str, other: str) -> float:
    if one == other:
        return 0.0
    if not one or not other:
        return 0.6
    if one in other or other in one:
        return 0.3
    pairs = {"".join(sorted(pair)) for pair in ((one[0], other[0]), (one[-1], other[-1]))}
    return 0.5 if pairs & _NEAR else 1.0
