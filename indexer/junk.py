"""Files in a library's folder that are no part of it: of systems, of other programs, or no music.

They are told by their names, and counted by kind in place of one fault each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

APPLE_DOUBLE = "._*"
"""The kind of the files in which macOS keeps what other file systems have no place for."""
_APPLE_DOUBLE_MAGIC = b"\x00\x05\x16\x07"  # RFC 1740, appendix B
HIDDEN = "hidden"
"""The kind of all other names that begin with a dot."""
NO_ENDING = "no ending"
"""The kind of other files without an ending."""

_NAMES = {
    name.casefold(): name
    for name in (
        ".DS_Store",
        ".localized",
        "Thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "Icon\r",
    )
}
_FOLDERS = {
    name.casefold(): f"{name}/"
    for name in (
        "__MACOSX",
        ".Spotlight-V100",
        ".Trashes",
        ".fseventsd",
        ".TemporaryItems",
        ".DocumentRevisions-V100",
        ".AppleDouble",
        "$RECYCLE.BIN",
        "RECYCLER",
        "System Volume Information",
        "@eaDir",
        "#recycle",
        "lost+found",
    )
}
# Of Office, LibreOffice, NFS and FUSE: copies and locks of files that are open.
_BEGINNINGS = {"._": APPLE_DOUBLE, "~$": "~$*", ".~lock.": ".~lock.*", ".nfs": ".nfs*"}
_BEGINNINGS[".fuse_hidden"] = ".fuse_hidden*"
# Of Ableton Live, REAPER, Audition, Sound Forge, Cubase and WaveLab: waveforms and analyses.
_ENDINGS = frozenset(
    ".asd .reapeaks .reapindex .pkf .pk .sfk .sfap0 .ovw .wfm .gpk .peak .tmp .temp .lnk".split()
)
_PARTIAL = frozenset(
    ".part .partial .crdownload .download .opdownload .filepart .aria2 .!ut .!qb .bc!".split()
)
_PACKAGES = frozenset(
    ".logicx .logic .band .garageband .app .bundle .component .vst .vst3 .photoslibrary "
    ".fcpbundle".split()
)
_NO_MUSIC = frozenset(
    (
        ".txt .md .rtf .doc .docx .odt .pages .pdf .xls .xlsx .ods .numbers .csv .tsv .json .xml "
        ".yaml .yml .toml .ini .cfg .plist .log .html .htm .url .webloc .nfo .sfv .md5 .sha1 "
        ".sha256 .cue .m3u .m3u8 .pls .xspf .jpg .jpeg .png .gif .bmp .tif .tiff .webp .heic .svg "
        ".psd .ai .eps .ico .zip .rar .7z .gz .tgz .tar .bz2 .xz .dmg .iso .exe .msi .pkg .als "
        ".alp .adg .adv .amxd .alc .flp .rpp .rpp-bak .cpr .npr .ptx .ptf .song .reason .rns "
        ".dawproject .sesx .aup .aup3 .mmp .bwproject .logicx .band .nki .nkm .nkc .nkr .nkx .fxp "
        ".fxb .vstpreset .aupreset .nmsv .h2p .sfz .exs .py .js .dll .so .dylib .bak .db"
    ).split()
)

SHOWN_KINDS = 8


def ending_of(path: str) -> str:
    """The ending of a file's name in small letters, such as ``.wav``; empty where it has none."""
    stem, _, ending = path.rpartition("/")[2].rpartition(".")
    return f".{ending.lower()}" if stem else ""


def junk_kind(name: str) -> str | None:
    """The kind of a file of the system or of another program, such as ``.asd``; None: it is none.

    Args:
        name: without its folder.
    """
    if name.startswith(tuple(_BEGINNINGS)):
        return next(kind for start, kind in _BEGINNINGS.items() if name.startswith(start))
    known = _NAMES.get(name.casefold())
    if known is not None:
        return known.strip()
    if name.startswith("."):
        return HIDDEN
    ending = ending_of(name)
    return ending if ending in _ENDINGS else None


def junk_folder(name: str) -> str | None:
    """The kind of a folder of the system, such as ``__MACOSX/``; None: it is none."""
    return _FOLDERS.get(name.casefold())


def package_kind(name: str) -> str | None:
    """The kind of a folder that a program keeps as one document, such as ``.logicx``."""
    ending = ending_of(name)
    return ending if ending in _PACKAGES else None


def partial_download(name: str) -> str | None:
    """The ending of a download that was not finished, such as ``.crdownload``; None: it is none."""
    ending = ending_of(name)
    return ending if ending in _PARTIAL else None


def no_music(path: str) -> bool:
    """Whether a file's ending is that of text, pictures, archives, projects or presets."""
    return ending_of(path) in _NO_MUSIC


def other_kind(path: str) -> str:
    """The kind under which a file that is no music is counted: its ending."""
    return ending_of(path)[:16] or NO_ENDING


def is_apple_double(head: bytes) -> bool:
    """Whether a file begins as those of macOS do that belong to another file."""
    return head.startswith(_APPLE_DOUBLE_MAGIC)


# How these files are told.


def by_count(kinds: Mapping[str, int]) -> dict[str, int]:
    """Counts, the highest first, then by name."""
    return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))


def skipped_lines(junk: Mapping[str, int], other: Mapping[str, int]) -> list[str]:
    """One line for the files of each sort, none where there are none."""
    found = (
        (junk, "of the system and of other programs"),
        (other, "without music"),
    )
    return [
        f"{sum(kinds.values())} file{'s' if sum(kinds.values()) > 1 else ''} {what} skipped: "
        f"{_listed(kinds)}"
        for kinds, what in found
        if kinds
    ]


def _listed(kinds: Mapping[str, int]) -> str:
    ordered = by_count(kinds)
    shown = [f"{kind} {count}" for kind, count in list(ordered.items())[:SHOWN_KINDS]]
    rest = Counter(dict(list(ordered.items())[SHOWN_KINDS:])).total()
    return ", ".join([*shown, *([f"others {rest}"] if rest else [])])
