"""The bytes of a table as text, however a spreadsheet or an editor saved them.

Unicode says which it is (a byte order mark, or the zero bytes of UTF-16 without one); everything
else is UTF-8 where it can be. A line that is not UTF-8 was saved in a code page, which nothing in
the file names. Those of Excel for western languages and Japanese (Windows-1252, Mac OS Roman, DOS
850, Windows-932) are told apart by what they make of the letters, and what was assumed is said;
text of another script is refused.
"""

from __future__ import annotations

import codecs
import re
import string
from dataclasses import dataclass, replace

from rag_audio.errors import LibraryError

MAX_BYTES = 128_000_000
"""Of a table; a million rows have about 100 MB."""

MAX_LINES = 2_000_000
"""Of a table."""

SAVE_AGAIN = "save it again as 'CSV UTF-8'"

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_OTHERS = (
    (b"PK\x03\x04", "a workbook (.xlsx, .ods or .numbers)"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls)"),
    (b"{\\rtf", "a formatted text (.rtf)"),
    (b"%PDF", "a PDF"),
    (b"<html", "a web page"),
    (b"<!doc", "a web page"),
    (b"<tabl", "a web page"),
    (b"<?xml", "an XML document"),
    (b"\x1f\x8b", "a compressed file (.gz)"),
    (b"bplis", "a property list (.plist)"),
    (b'[{"', "JSON"),
    (b'{"', "JSON"),
)
_CODE_PAGES = {
    "cp1252": "Windows-1252",
    "mac-roman": "Mac OS Roman",
    "cp850": "DOS code page 850",
    "cp932": "Windows-932 (Shift JIS)",
}
_SIGNS = frozenset("“”‘’„‚–—…•·°€£©®™«»¡¿´§\xa0")
"""What stands in western text beside letters."""
_OTHER = re.compile(r"[^\x00-\x7f]")
_RUN = re.compile(r"[^\x00-\x7f]{5,}")
_KANA = re.compile("[\u3040-\u30ff]")
_JAPANESE = re.compile("[\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]+")
_PLAUSIBLE = 0.5
_SAMPLE = 200_000  # characters by which a code page is chosen
_END = "\x1a"  # by which CP/M and DOS end a text


@dataclass(frozen=True)
class TableText:
    """A table that was decoded.

    Attributes:
        text: with the ends of lines that it has, without NUL characters at its end.
        code_page: in which some lines were taken to be written, for a person to read; empty where
            all is Unicode.
        guessed: numbers of these lines, counted from 1.
        padding: NUL characters at its end that were left out.
    """

    text: str
    code_page: str = ""
    guessed: frozenset[int] = frozenset()
    padding: int = 0


def decode_unicode(data: bytes, name: str) -> str | None:
    """The text of a UTF-8, UTF-16 or UTF-32 file; None: it is none of them.

    Raises:
        LibraryError: it says that it is UTF-16 or UTF-32, and breaks off or is damaged.
    """
    encoding, body = _encoding(data)
    surplus = len(body) % {"utf-8": 1, "utf-32-le": 4, "utf-32-be": 4}.get(encoding, 2)
    if surplus and not any(body[-surplus:]):
        body = body[:-surplus]  # of NUL bytes at its end
    try:
        return body.decode(encoding).lstrip("\ufeff").rstrip(_END)
    except UnicodeDecodeError as cause:
        if encoding == "utf-8":
            return None
        at = len(data) - len(body) + cause.start
        raise LibraryError(
            f"{name} is no whole {encoding.upper()} text (byte {at:,})", hint=SAVE_AGAIN
        ) from cause


def decode_table(data: bytes, name: str) -> TableText:
    """The text of a table of cells.

    Args:
        name: of the file, for messages.

    Raises:
        LibraryError: it is no text, too long, or not in a code page that is known.
    """
    what = other_kind(data)
    if what:
        raise LibraryError(f"{name} is not CSV but {what}", hint=SAVE_AGAIN)
    if max(data.count(b"\n"), data.count(b"\r")) > MAX_LINES:
        raise LibraryError(f"{name} has more than {MAX_LINES:,} lines")
    text = decode_unicode(data, name)
    found = _decode_lines(data, name) if text is None else TableText(text)
    found = _without_padding(found, name)
    at = found.text.find("\0")
    if at >= 0:
        lines = re.split(r"\r\n|\r|\n", found.text[:at])
        after = f" after {lines[-1][-60:]!r}" if lines[-1] else ""
        raise LibraryError(
            f"{name}, row {len(lines)} holds a NUL character{after}", hint=SAVE_AGAIN
        )
    return found


def other_kind(data: bytes) -> str:
    """What a file is by its first bytes, if it is of a kind that is taken for a table or a text;
    else empty."""
    head = data.removeprefix(codecs.BOM_UTF8)[:5].lower()
    found = (what for start, what in _OTHERS if head.startswith(start.lower()))
    return next(found, "")


def _without_padding(found: TableText, name: str) -> TableText:
    """A table without the NUL characters that a file system leaves at its end after a crash."""
    end = found.text.rstrip("\0\x1a" + string.whitespace)
    padding = found.text.count("\0", len(end))
    if not padding:
        return found
    if not end:
        raise LibraryError(
            f"{name} holds nothing but NUL characters, as after a crash of the machine",
            hint="restore it from a copy",
        )
    return replace(found, text=found.text[: found.text.index("\0", len(end))], padding=padding)


def _encoding(data: bytes) -> tuple[str, bytes]:
    """Which Unicode encoding it is, and the bytes after its mark."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding, data[len(mark) :]
    head = data[:16]  # of a table, whose first row is ASCII
    if len(head) >= 4 and not any(head[1::2]) and all(head[0::2]):
        return "utf-16-le", data
    if len(head) >= 4 and not any(head[0::2]) and all(head[1::2]):
        return "utf-16-be", data
    return "utf-8", data


def _decode_lines(data: bytes, name: str) -> TableText:
    """Each line as UTF-8 where it is, the others in the code page that fits them best."""
    lines = data.removeprefix(codecs.BOM_UTF8).splitlines(keepends=True)
    texts: dict[int, str] = {}
    others: dict[int, bytes] = {}
    for number, line in enumerate(lines, 1):
        try:
            texts[number] = line.decode("utf-8")
        except UnicodeDecodeError:
            others[number] = line
    joined = b"".join(others.values())
    page = _code_page(joined)
    if page is None:
        number, line = next(iter(others.items()))
        cell = re.search(rb"[^,;\t]{0,40}[\x80-\xff][^,;\t\r\n]{0,20}", line)
        found = b"" if cell is None else cell.group().strip()
        shown = found.decode("ascii", "backslashreplace")
        raise LibraryError(
            f"{name}, row {number}: '{shown}' is not UTF-8 text, nor that of a code page that is "
            "known",
            hint=SAVE_AGAIN,
        )
    texts.update((number, line.decode(page)) for number, line in others.items())
    text = "".join(texts[number] for number in range(1, len(lines) + 1))
    return TableText(text.rstrip(_END), _CODE_PAGES[page], frozenset(others))


def _code_page(data: bytes) -> str | None:
    """The code page in which most letters stand where western words have them.

    Of several the one counts that goes with the ends of the lines: CR are an old Mac's, and DOS
    has CR LF.
    """
    if _is_japanese(data):
        return "cp932"
    best, most = None, _PLAUSIBLE
    pages = (
        ["cp1252", "cp850", "mac-roman"] if b"\r\n" in data else ["cp1252", "mac-roman", "cp850"]
    )
    for page in pages if b"\n" in data else ["mac-roman", "cp1252", "cp850"]:
        try:
            share = _western(data.decode(page)[:_SAMPLE])
        except UnicodeDecodeError:
            continue
        if share >= _PLAUSIBLE and (best is None or share > most):
            best, most = page, share
    return best


def _western(text: str) -> float:
    """The share of a text's other than ASCII characters that stand as in western words."""
    weights = [
        _weight(text[max(at - 1, 0) : at], text[at], text[at + 1 : at + 2])
        for at in (found.start() for found in _OTHER.finditer(text))
    ]
    strange = 1.5 * sum(len(run) for run in _RUN.findall(text))
    return sum(weights) / (len(weights) + strange) if weights else 0.0


def _weight(before: str, sign: str, after: str) -> float:
    """How well a character stands between two others, 0…1.

    No capital stands within a word of small letters, no small letter within one of capitals, and
    no sign but an apostrophe or a middle dot within either.
    """
    if sign in _SIGNS:
        if sign in "…®©”":
            return float(not after.isalpha())
        if sign in "„‚":
            return float(not before.isalpha())
        if sign == "\xa0":
            return 0.9
        return float(sign in "’‘·" or not (before.isalpha() and after.isalpha()))
    if not sign.isalpha() or sign in "ƒªº":
        return 0.0
    if sign.islower():
        if before.isupper() and after.isupper():
            return 0.0
        return 0.7 if sign in "šž" else 1.0  # letters of languages that have another code page
    return float(not (before.islower() or (before.isalpha() and after.islower())))


def _is_japanese(data: bytes) -> bool:
    """Whether all of it is Windows-932 where it is not ASCII: kana, kanji, mostly in rows."""
    try:
        text = data.decode("cp932")[:_SAMPLE]
    except UnicodeDecodeError:
        return False
    words = _JAPANESE.findall(text)
    many = sum(len(word) for word in words if len(word) > 1)
    return any(_KANA.search(word) for word in words) and 2 * many > len(_OTHER.findall(text))
