"""What is wrong with a line that is not TOML, in words for people who write few of them."""

from __future__ import annotations

import re

_PLACE = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)")
_DECLARED = re.compile(r"Cannot declare \((?P<names>.*?),?\) twice")
_CURLY = re.compile("[“”„‟«»‘’]")
_DAY = re.compile(r"=\s*\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\s*(?:#|$)")
_DECIMAL_COMMA = re.compile(r"=\s*\d+,\d+\s*(?:#|$)")
_TRUTH = re.compile(r"=\s*(?:True|False|TRUE|FALSE|yes|no|None|null)\b")
_COLON = re.compile(r"[\w-]+\s*:")
_BARE = re.compile(r"(?P<key>[\w-]+)\s*=\s*(?P<text>[^\W\d][^\"\'\[\]{}#=]*?)\s*(?:#.*)?")
_SHOWN = 80
_HINTS = {
    "Expected '=' after a key": "write key = value",
    "Illegal character": "delete it",
    "Invalid initial character for a key part": "no comma follows the last value between { and }",
}
"""By how tomllib's messages begin; what the line itself tells comes first."""


def explained(fault: str, text: str) -> tuple[str, str, str]:
    """A fault that :mod:`tomllib` found: with its line, that line's text, and what would do.

    Args:
        fault: the error's message. text: of the whole document.
    """
    found = _PLACE.fullmatch(fault)
    if found is None:
        return fault, "", ""
    lines = re.split(r"\r\n|\n", text)
    number = int(found["line"] or len(lines))
    line = lines[number - 1].strip() if number <= len(lines) else ""
    what = found["what"]
    hint = next((hint for start, hint in _HINTS.items() if what.startswith(start)), "")
    hint = _hint(line) or hint
    declared = _DECLARED.fullmatch(what)
    if declared is not None:
        name = ".".join(re.findall(r"'([^']*)'", declared["names"]))
        what, hint = f"[{name}] is there twice", "give each license an id of its own"
    elif what == "Cannot overwrite a value":
        key = line.partition("=")[0].strip()
        what, hint = f"the key {key!r} is there twice", "leave one of them"
    return f"line {number}: {_lower(what)}", line[:_SHOWN], hint


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _hint(line: str) -> str:
    """What would do, for what people write instead of TOML; empty where that is not known."""
    value = line.partition("=")[2].strip()
    if re.search(r"=\s*\d{4}-\d\d-\d\d", line):
        return "there is no such day; it is written as 2030-12-31"
    bare = _BARE.fullmatch(line)
    if _CURLY.search(line) and '"' not in value[:1]:
        return 'write straight quotation marks: "…"'
    if _DAY.search(line):
        return "a day is written as 2030-12-31"
    if _DECIMAL_COMMA.search(line):
        return "a number is written with a decimal point: 0.8"
    if _TRUTH.search(line):
        return "truth is written as true or false, a text between quotation marks"
    if "\\" in value:
        return "a text with backslashes stands between single quotation marks: 'C:\\Music'"
    if value.count('"') % 2:
        return "close the quotation mark in the same line"
    if bare is not None:
        return f'a text stands between quotation marks: {bare["key"]} = "{bare["text"]}"'
    if "=" not in line and _COLON.match(line):
        return "write key = value, not key: value"
    if line.startswith("[") and not line.partition("#")[0].rstrip().endswith("]"):
        return "a table's name stands between brackets: [licenses.my-license]"
    if line.startswith("[") and re.search(r"\[[^\]\"']* ", line):
        return 'a name with a space stands between quotation marks: [licenses."my license"]'
    return ""
