"""Somebody meant by a song: "the singer of …", "that song about …, …", "the band behind …"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rag_audio.guardrails.names import Song
from rag_audio.guardrails.normalise import Text, Word, read
from rag_audio.guardrails.vocabulary import is_music, is_ordinary, word_set

_ROLE = (
    r"singers?|vocalist|voice|bands?|groups?|artists?|rappers?|duo|trio|quartet|guys?|girls?|boys?|"
    r"man|men|woman|women|lady|ladies|dude|person|people|ones?|composers?|producers?|musicians?|songwriters?|"
    r"pianist|guitarist|drummer|dj|team|frontman|frontwoman|star|stars|legend|act|crooner|diva|"
    r"sanger|sangerin|gruppe|kunstler|kunstlerin|komponist|typ|frau|mann|leute|"
    r"chanteur|chanteuse|groupe|artiste|compositeur|interprete|type|mec|gars|voix|"
    r"cantante|banda|grupo|artista|compositor|voz|tipo|chica|chico|cantor|cantora|"
    r"gruppo|compositore|autore|autor|creator|creators|maker|makers|writer|writers|author"
)
_LINK = (
    r"(?:(?:who|that|which|whos|qui|que|che|der|die|das|quien)(?:'s)?\s+(?:\w+\s+){0,2}?"
    r"(?:sang|sings|sing|sung|made|makes|wrote|writes|did|does|recorded|released|composed|performed|produced|"
    r"gave|brought|created|had|has|played|plays|covered|started|singt|sang|gesungen|geschrieben|gemacht|"
    r"chante|chantait|chantent|a|ont|canta|cantaba|canto|hizo|escribio|fez|cantava|cantou|ha|"
    r"cantava|scrisse)(?:\s+us)?|of|behind|from|known\s+for|famous\s+for|responsible\s+for|whose|on|"
    r"von|hinter|aus|de|du|des|derriere|del|detras\s+de|do|da|por\s+tras\s+de|di|dietro)"
)
_DESCRIBED = re.compile(rf"(?<!\w)(?:{_ROLE})\s+{_LINK}(?!\w)[\s\"',:(]*")
_WHO = re.compile(
    r"(?<!\w)(?:who|whoever)\s+(?:sang|sings|sung|made|wrote|did|recorded|composed|performed|produced)"
    r"(?!\w)[\s\"',:(]*"
)
_ABOUT = re.compile(
    r"(?<!\w)(?:that|the|this|his|her)\s+(?:famous\s+)?songs?\s+(?:about|called|with)\s+(?:an?|the)?\s*$"
)
_SONG_TALK = re.compile(
    r"(?<!\w)(?:songs?|tracks?|hits?|tunes?|single|album|record|number|anthem|classic|sequel|prequel|cover|remix|remake|"
    r"version|rendition|mashup|sang|sings|sung|singer|band|artist|rapper|chorus\s+of|intro\s+of|riff\s+(?:of|from)|"
    r"melody\s+of|beat\s+of|chords\s+of|like|as\s+in|lied|chanson|chante|cancion|canzone|musica|wie|comme|como|come)"
    r"(?!\w)|[曲歌]|गाना|गीत"
)
_SMALL = word_set(
    "of the a an in to on me you is it and or with as for by from be but at this that was are my "
    "your de la el du des le les en et un une y o i s"
)
_SCENE = re.compile(
    r"(?:\s+(?:over|under|in|on|at|across|above|below|through|around|near|behind|by\s+the|along|down|into|from)|-like)(?!\w)"
)
"""What follows words that are meant as words: "… over the fields"."""
_QUOTED_ABROAD = re.compile(
    r"(?:唱|演唱|写|寫|创作)(?:过|過|了)?[《〈「『](?P<zh>[^》〉」』]{1,30})[》〉」』]|"
    r"[《〈「『](?P<ja>[^》〉」』]{1,30})[》〉」』](?:を歌|の歌手|の人|のバンド|を作っ|を書い|的歌手|的原唱|的作者|的乐队|的樂隊|那个歌手|那位)|"
    r"[\"'‘“](?P<ko>[^\"'’”]{1,40})[\"'’”]\s*(?:를|을)?\s*(?:부른|부르는|만든|작곡한)|"
    r"(?:类似|類似|像|仿照|模仿|翻唱|参考|參考)(?:于|於|歌曲|一首)?[《〈](?P<zh2>[^》〉]{1,30})[》〉]|"
    r"[《〈](?P<zh3>[^》〉]{1,30})[》〉](?:的|那种|那種)?(?:感觉|感覺|风格|風格|味道|曲风|曲風|那样|那樣|一样|一樣)|"
    r"[「『](?P<ja2>[^」』]{1,30})[」』](?:みたいな|のような|っぽい|風の?(?:曲|歌|音楽|サウンド))|"
    r"[\"'‘“](?P<ko2>[^\"'’”]{1,40})[\"'’”]\s*(?:처럼|같은 (?:노래|곡|느낌)|느낌의 (?:노래|곡))|"
    r"(?:как\s+в\s+песне|как\s+в|вроде|типа|похож\w*\s+на)\s+(?:песню\s+|песни\s+)?«(?P<ru2>[^»]{2,40})»|"
    r"(?:автор|певец|певица|группа|исполнитель|исполнительница)\s+(?:песни|хита)?\s*[«\"“](?P<ru>[^»\"”]{2,40})[»\"”]"
)
"""Who sings or wrote a title in quotes, in languages in which titles have no capitals."""
_FAME = re.compile(r"[\"'”’]?\s+fame(?!\w)")
_OF = re.compile(r"(?<!\w)(?:of|from)\s+[\"'“‘]?$")
_CHANGED = re.compile(
    r"[\"'”’]?\s+but\s+(?:faster|slower|slowed|sped|as|in|with|more|less|instrumental|acoustic|sadder|darker|happier|"
    r"heavier|softer|make|reversed|on|sung|played|for|without)(?!\w)"
)
_SOUND_OF = re.compile(
    r"[\"'”’]?[\s\-]+(?:sound|vibes?|feel|groove|riff|bassline|bass\s+line|beat|style|type|energy|drums?|solo|intro|"
    r"outro|chorus|hook|lyrics|remix|cover|flip|chords|melody|video|era|synths?|guitars?|piano)(?!\w)"
)
_REMAKE = re.compile(
    r"(?<!\w)(?:(?:cover|remake|remix|version|rendition|sequel|prequel|recreation|copy|clone|flip)s?\s+(?:of|to)|songs?\s+(?:just\s+)?"
    r"like|recreate|remake|remix|interpolate|interpolating|sampling)\s+[\"'“‘]?$"
)
_CUE = re.compile(
    r"(?<!\w)(?:(?:outtakes?|b-?sides?|off-?cuts?|leftovers?|deep\s+cuts?|demos?|alternate\s+takes?|sessions?)\s+(?:from|off|of|for)|"
    r"sound-?alikes?\s+(?:of|for|to)|(?:trying|tries|wants?|wanting|aiming|pretending)\s+to\s+be|(?:as\s+)?(?:a\s+)?"
    r"(?:ref|refs|reference|references|temp|temped\s+with|temp\s+track)(?:\s+track)?(?:\s+is|\s+are|\s*[:=])?|"
    r"same\s+(?:\w+\s+){0,4}(?:as|like)(?:\s+(?:in|on))?|(?:pattern|feel|groove|tempo|mood|energy|vibe|drums|production|synths?|"
    r"guitars?|bass|chords|progression|arrangement)\s+(?:as|like|of|from)(?:\s+(?:in|on))?|(?:like|as)\s+(?:on|off)|answer\s+to|"
    r"(?:meme|memes|mesmo|mesma|mismo|misma|gleiche[nrs]?|stesso|stessa)\s+(?:\w+\s+){1,3}(?:que|wie|di)(?:\s+(?:dans|sur|en|em|in|bei|auf))?)"
    r"\s+[\"'“«‘]?$"
)
"""What refers to a piece: "an outtake from", "the same pattern as", "reference"."""
_CUED = re.compile(
    r"[\"'”’»]?[\s\-]+(?P<strong>sound-?alikes?|outtakes?|b-?sides?|album|lp|sessions?|era|riff|knock-?off|rip-?off|interpolation|parody|"
    r"atmosphere|cue|pattern|tempo|reference|production)(?!\w)"
)
_ABROAD_LIKE = re.compile(
    r"(?<!\w)(?:comme|facon|genre|style|wie|como|come|som|jak|jako|kao|kak|kuin|mint|gibi|zoals|als)\s+(?:(?:dans|sur|bei|in|auf|en|em|su)\s+)?[\"'“«‘]?$"
)
"""What leads to a title of several words in other languages, where only its first has a capital."""
_THAT = re.compile(r"(?<!\w)(?:that|the|this|a|with)\s+[\"'“‘]?$")
_FROM_ALBUM = re.compile(
    r"(?<!\w)(?:from|off|on|like)\s+(?:of\s+)?(?:the|that|their|his|her)?\s*(?:famous\s+)?(?:album|record|ep|lp|single|song|track|hit)s?"
    r"\s*(?:called|named|titled|:)?\s*[\"'“‘(]*"
)
_OF_FAME = re.compile(r"(?<!\w)of\s+[\"'“‘]?((?:\S+\s+){0,5}?\S+?)[\"'”’]?\s+fame(?!\w)")
_QUOTED = re.compile(r"[\"'「『‘“]\s*$")
_NEAR = 60


def song_spans(
    text: Text, found: Iterable[tuple[int, int, Song]]
) -> Iterator[tuple[int, int, Song]]:
    """Titles that stand for their artists here, as spans of words."""
    described = [m.end() for m in (*_DESCRIBED.finditer(text.plain), *_WHO.finditer(text.plain))]
    for first, last, song in found:
        words = text.words[first : last + 1]
        start, end = words[0].start, words[-1].end
        single = len(words) == 1
        if not single and _is_parted(text.plain[start:end]) and not _is_parted(song.title):
            continue
        after_title = text.plain[end:]
        if not single and " " not in song.title and all(is_ordinary(w.text) for w in words):
            continue  # "a love song" is nobody's "Lovesong"
        scene = (
            all(is_ordinary(w.text) and not w.capital for w in words[1:] or words)
            and _SCENE.match(after_title) is not None
        )
        plain = song.common or scene or (single and is_ordinary(words[0].text))
        if not plain and not (single and len(words[0].text) < 5):
            yield first, last, song
            continue
        before = text.plain[max(0, start - _NEAR) : start]
        after = text.plain[end : end + _NEAR]
        near = any(start - 25 <= at <= start for at in described)
        behind = "を歌っ" in after[:6] or "の歌手" in after[:6] or "गाने वाले" in after
        quoted = _QUOTED.search(before) is not None and after[:1] in "\"'」』’”,"
        capital = text.capitals_mean and _has_capitals(words, song)
        talk = _SONG_TALK.search(before) is not None or after.lstrip("\"' ").startswith("by ")
        about = not single and _ABOUT.search(before) is not None
        changed = _begins(text, start) and _CHANGED.match(after_title) is not None
        changed = changed or (
            not single and _begins(text, start) and after_title.lstrip("\"'”’").startswith(" but ")
        )
        remade = _REMAKE.search(before) is not None and words[0].capital and start > 0
        sound = _SOUND_OF.match(after_title) is not None and (
            capital
            and (start > 0 or not single)
            and (not single or _THAT.search(before) is not None)
        )
        if (
            near
            or behind
            or (_FAME.match(after_title) is not None and _OF.search(before) is not None)
            or (changed and (not single or words[0].capital))
            or (sound and (words[0].capital or not single))
            or (remade and text.capitals_mean)
            or about
            or (quoted and talk)
            or (talk and capital and words[0].capital and (not single or quoted))
            or (talk and len(words) >= 3 and "song" in before + after)
            or (capital and words[0].capital and _is_referred_to(text, words, before, after))
            or (not scene and _is_named_era(words, after))
        ):
            yield first, last, song


def _has_capitals(words: Sequence[Word], song: Song) -> bool:
    """Whether a title's words have their capitals, as English has them or as the title has."""
    own = [word.capital for word in read(song.title).words]
    return all(
        w.capital or w.text.isdigit() or w.text in _SMALL or (i < len(own) and not own[i])
        for i, w in enumerate(words)
    )


def _is_referred_to(text: Text, words: Sequence[Word], before: str, after: str) -> bool:
    """Whether words with a title's capitals are spoken of as a piece: "an outtake from …"."""
    single = len(words) == 1
    if _CUE.search(before) is not None or (not single and _ABROAD_LIKE.search(before) is not None):
        return True
    cued = _CUED.match(after)
    if cued is None:
        return False
    telling = cued["strong"].startswith(("sound", "outtake", "album", "b", "riff"))
    return not single or not _begins(text, words[0].start) or telling


def _is_named_era(words: Sequence[Word], after: str) -> bool:
    """Whether a title in small letters is what an era or album is called: "igor era"."""
    cued = _CUED.match(after)
    if cued is None or not cued["strong"].startswith(("era", "album", "sound", "outtake", "riff")):
        return False
    return len(words) > 1 or not is_ordinary(words[0].text)


def _is_parted(words: str) -> bool:
    """Whether a sentence or a part of one ends between the words."""
    return re.search(r"[,.;:!?]\s", words) is not None


def _begins(text: Text, start: int) -> bool:
    """Whether a segment of a list begins at an offset of the plain text."""
    before = text.plain[:start].rstrip(" \"'“‘([")
    return not before or before[-1] in ",;:.!\n"


def _plain_span(text: Text, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A span of the original as one of the plain text."""
    inside = [at for at, origin in enumerate(text.origin) if start <= origin < end]
    if inside:
        yield inside[0], inside[-1] + 1


def described_spans(text: Text) -> Iterator[tuple[int, int]]:
    """Unknown titles after "the band behind …" or "from the album …": quoted, or two capitals, as
    plain spans; and what anybody is famous for."""
    for match in _QUOTED_ABROAD.finditer(text.raw):
        group = next(g for g, found in match.groupdict().items() if found)
        yield from _plain_span(text, *match.span(group))
    for match in _OF_FAME.finditer(text.plain):
        if any(w.capital for w in text.words if match.start(1) <= w.start < match.end(1)):
            yield match.span(1)
    leads = (_DESCRIBED, _WHO, _FROM_ALBUM)
    for match in (match for lead in leads for match in lead.finditer(text.plain)):
        at = match.end()
        quote = re.match(r"[^\"”」』']{2,50}(?=[\"”」』']|$)", text.plain[at:])
        if text.plain[at - 1 : at] in ('"', "'") and quote is not None:
            yield at, at + quote.end()
            continue
        words = [w for w in text.words if w.start >= at][:2]
        album = re.search(r"\b(?:album|ep|lp)\b", match.group()) is not None
        if album and words and words[0].start == at and words[0].capital and text.capitals_mean:
            yield words[0].start, words[-1].end if words[-1].capital else words[0].end
            continue
        if (
            len(words) == 2
            and text.capitals_mean
            and words[0].start == at
            and all(w.capital and not is_music(w.text) for w in words)
        ):
            yield words[0].start, words[1].end
