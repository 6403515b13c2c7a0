"""Known names in their own scripts beside what asks for their style.

Where no spaces part words, or endings and particles are joined to them, a name is looked for as it
is written, and counts by what stands next to it: before "처럼" and "っぽい", after "แบบ" and "زي".
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rag_audio.guardrails.names import Artist

_FIRST = 2
"""Letters by which names are looked up, and that they have at least."""
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True)
class _Script:
    """How a script asks for somebody's style.

    Attributes:
        letters: what a name of it begins with.
        before: what stands right before a name then; after: what stands right after it.
        border: letters that may not stand before the name, as it would be a part of a word.
        end: what may stand after a name that something asks for before it.
    """

    letters: re.Pattern[str]
    before: re.Pattern[str] | None
    after: re.Pattern[str] | None
    border: re.Pattern[str] | None = None
    end: re.Pattern[str] | None = None


_SCRIPTS = (
    _Script(  # Korean
        re.compile(r"[\uac00-\ud7a3]"),
        re.compile(r"(?:타입 ?비트|커버|처럼 부르는)\s$"),
        re.compile(
            r"(?:씨|님|이|가)?(?:의|이|가|랑|이랑|하고)?\s*(?:그\s)?(?:(?:노래|곡|음악|비트|"
            r"목소리|보컬|음색|랩|앨범|히트곡|신곡|가수|멤버|무대|댄스곡|"
            r"발라드|작곡|사운드)(?:를|을|가|들)?\s*)?"
            r"(?:처럼|같은|같이|느낌|스타일|풍|재질|감성|바이브|타입|비슷|닮은|창법|커버|"
            r"버전|삘|필 나는|st\b|만든 것 같은|부른|"
            r"부르는|만든|작곡한|목소리|음색)"
        ),
        re.compile(r"[\uac00-\ud7a3]"),
    ),
    _Script(  # Japanese
        re.compile(r"[\u3041-\u30ff\u3400-\u9fff々]"),
        None,
        re.compile(
            r"(?:さん|氏|ちゃん|くん|様|先生)?(?:の(?:曲|歌|音楽|声|新曲|アルバム|"
            r"サウンド)?)?(?:を|に)?"
            r"(?:っぽ|風|ふう|みたい|のよう|ような|調の|系の|テイスト|ライク|スタイル|節|"
            r"らし|似|インスパイア|リスペクト|オマージュ|彷彿|"
            r"思わせ|の感じ|感(?:の|を)|のカバー|が歌|の世界観|歌い方)"
        ),
        re.compile(r"[\u30a1-\u30ff々]"),
    ),
    _Script(  # Chinese
        re.compile(r"[\u3400-\u9fff]"),
        re.compile(r"(?:像|仿|类似|類似|模仿|致敬|翻唱|如同|參考|参考|学)(?:是)?(?:歌手|"
        r"乐队|樂隊)?[「『“\"]?$"),
        re.compile(
            r"[」』”\"]?(?:的|那种|那種|式)?(?:歌|曲|声音|聲音|嗓音|音乐|音樂|歌声|歌聲|"
            r"抒情歌|情歌|摇滚|搖滾|说唱)?(?:的)?"
            r"(?:风格|風格|风(?!景|铃|鈴|吹|雨)|風(?!景|鈴|吹|雨)|式|味道|味儿|的感觉|"
            r"的感覺|感觉的|感覺的|那种感觉|那種感覺|范儿|曲风|曲風|唱腔|唱法|一样|一樣|"
            r"那样|那樣|"
            r"同款|既视感|既視感|的调调)"
        ),
        None,
        re.compile(r"$|[\W]|的|一样|一樣|那样|那樣|那种|那種|唱|写|的歌"),
    ),
    _Script(  # Thai
        re.compile(r"[\u0e00-\u0e7f]"),
        re.compile(
            r"(?:แบบ|เหมือน|สไตล์|แนว|เสียง|คล้าย|อย่าง|ตาม|ฟีล|ฟิล|มู้ด|โทน)\s?(?:กับ|"
            r"ๆ)?\s?(?:เพลง|เสียง)?(?:ของ)?\s?"
            r"(?:พี่|วง|น้อง|ลุง|น้า|ป้า|คุณ|ศิลปิน|นักร้อง|ครู)?\s?$"
        ),
        re.compile(r"\s?(?:สไตล์|ไทป์บีท)"),
    ),
    _Script(  # Arabic and Persian
        re.compile(r"[\u0620-\u06d3]"),
        re.compile(
            r"(?<![\u0620-\u06d3])(?:زي|زى|متل|مثل|كأن|كأنه|كأنها|شبه|شبيه|بصوت|صوت|بأسلوب|"
            r"باسلوب|أسلوب|ستايل|بستايل|على طريقة|طريقة|"
            r"شبیه|مانند|سبک|به سبک|صدای|با صدای|عین|تایپ بیت|تايب بيت)\s+(?:أغاني|اغاني|"
            r"أغنية|موسيقى|صوت|الفنان|الفنانة|المطرب|"
            r"فرقة|آهنگ‌های|خواننده)?\s*(?:ال|لل|ل|ب|و|ك)?$|(?<![\u0620-\u06d3])ك$"
        ),
        re.compile(r"\s(?:ستايل|تايب بيت)"),
        None,
        re.compile(r"(?![\u0620-\u06d3])"),
    ),
    _Script(  # Hebrew
        re.compile(r"[\u05d0-\u05ea]"),
        re.compile(
            r"(?<![\u05d0-\u05ea])(?:כמו|בסגנון|בנוסח|ברוח|בקול|בקולו|בקולה|בהשראת|סטייל|"
            r"דומה ל|מזכיר את)\s?(?:של|שירי|שיר של|להקת|הזמר|"
            r"הזמרת)?\s*(?:ל|ש|ה|ב)?$"
        ),
        re.compile(r"[\s\-]סטייל"),
        None,
        re.compile(r"(?![\u05d0-\u05ea])"),
    ),
    _Script(  # Hindi
        re.compile(r"[\u0900-\u097f]"),
        re.compile(r"(?:बिल्कुल|मानो)\s$"),
        re.compile(
            r"\s?(?:जी|साहब|भाई|दा)?\s?(?:(?:के|की|का)\s(?:(?:गाने|गानों|आवाज़?|धुन|"
            r"गीत)\s)?(?:जैस|तरह|स्टाइल|अंदाज|शैली|आवाज|अन्दाज|तर्ज|वाइब|टाइप|गाने)|"
            r"जैस|वाला|वाली|वाले|स्टाइल|टाइप|सा गाना|से प्रेरित)"
        ),
        re.compile(r"[\u0900-\u097f]"),
    ),
    _Script(  # Tamil, Telugu, Bengali and other scripts of India
        re.compile(r"[\u0980-\u0d7f]"),
        None,
        re.compile(r"[\u0980-\u0d7f]{0,3}\s?(?:மாதிரி|போல|ஸ்டைல்|பாணி|లాగా|లా|స్టైల్|మతో|"
        r"মতো|এর মতো|স্টাইল|ধাঁচ|പോലെ|ಥರ|ತರ|ਵਰਗ)"),
        re.compile(r"[\u0980-\u0d7f]"),
    ),
)  # fmt: skip


class NativeIndex:
    """Names as they are written in scripts of their own.

    Args:
        artists: those with names in such scripts among their names and aliases are looked for.
    """

    def __init__(self, artists: Iterable[Artist]) -> None:
        self._names: dict[str, list[tuple[str, Artist]]] = defaultdict(list)
        for artist in artists:
            for text in (artist.name, *artist.aliases, *artist.common_aliases):
                written = unicodedata.normalize("NFC", text)
                if len(written) >= _FIRST and _NOT_ASCII.match(written):
                    self._names[written[:_FIRST]].append((written, artist))
        for names in self._names.values():
            names.sort(key=lambda pair: -len(pair[0]))

    def find(self, raw: str) -> Iterator[tuple[int, int, Artist]]:
        """Spans of a text, which must be in NFC, in which somebody's style is asked for."""
        if raw.isascii():
            return
        for match in _NOT_ASCII.finditer(raw):
            start = match.start()
            for written, artist in self._names.get(raw[start : start + _FIRST], ()):
                end = start + len(written)
                if raw.startswith(written, start) and _is_asked(raw, start, end):
                    yield start, end, artist
                    break


def _is_asked(raw: str, start: int, end: int) -> bool:
    """Whether what stands beside ``raw[start:end]`` asks for a style."""
    before = raw[max(0, start - 40) : start]
    for script in _SCRIPTS:
        if not script.letters.match(raw, start):
            continue
        if script.after is not None and script.after.match(raw, end):
            return script.border is None or not script.border.match(raw[start - 1 : start])
        if script.before is not None and script.before.search(before):
            return script.end is None or script.end.match(raw, end) is not None
    return False
