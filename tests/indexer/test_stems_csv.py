"""stems.csv as spreadsheets and people write it: each is read, or told in one line."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer import stems_csv
from indexer.licenses import Declared, LibrarySpec, NotLicensed, match, read_library
from indexer.stems_csv import RowsRead, StemRow, read_rows
from indexer.table_text import decode_table
from rag_audio.domain import Key
from rag_audio.errors import LibraryError
from tests.indexer.library import write_tables

TODAY = date(2026, 6, 1)
HEADER = ["path", "license", "artist", "title", "bpm", "key", "tags"]
ROWS = [
    HEADER,
    ["Loops/Café, 1.wav", "full", "Björk & Sigur Rós", 'The "Best"', "120,5", "Am", "warm;old"],
    ["b.wav", "full", "", "", "92", "", ""],
]


def written(rows: list[list[str]], delimiter: str = ",", end: str = "\r\n") -> str:
    """A table as a spreadsheet writes it: what needs quotation marks has them."""

    def cell(text: str) -> str:
        needs = any(sign in text for sign in (delimiter, '"', "\n", "\r"))
        return '"' + text.replace('"', '""') + '"' if needs else text

    return "".join(delimiter.join(map(cell, row)) + end for row in rows)


def rows_of(root: Path, data: bytes | str) -> RowsRead:
    root.mkdir(parents=True, exist_ok=True)
    (root / "stems.csv").write_bytes(data.encode() if isinstance(data, str) else data)
    return read_rows(root / "stems.csv")


def notices(read: RowsRead) -> list[str]:
    assert {one.path for one in read.notices} <= {"stems.csv"}
    return [one.text for one in read.notices]


def spec_of(root: Path, rows: str) -> LibrarySpec:
    write_tables(root, rows)
    return read_library(root)


def declared(spec: LibrarySpec, path: str) -> Declared:
    found = match(spec, path, TODAY)
    assert isinstance(found, Declared), found
    return found


SAVED = {
    "CSV UTF-8 of Excel": written(ROWS).encode("utf-8-sig"),
    "CSV UTF-8 of Excel in Germany": written(ROWS, ";").encode("utf-8-sig"),
    "Unicode text of Excel": written(ROWS, "\t").encode("utf-16"),
    "Unicode, big end first": b"\xfe\xff" + written(ROWS, "\t").encode("utf-16-be"),
    "UTF-16 without a mark": written(ROWS, ";").encode("utf-16-le"),
    "UTF-16 without a mark, big end first": written(ROWS).encode("utf-16-be"),
    "UTF-32": written(ROWS).encode("utf-32"),
    "LibreOffice with tabs": written(ROWS, "\t", "\n").encode(),
    "with bars": written(ROWS, "|", "\n").encode(),
    "an old Mac's line ends": written(ROWS, ";", "\r").encode(),
    "no last line end": written(ROWS).strip().encode(),
    "two line ends for one": written(ROWS, end="\r\r\n").encode(),
    "sep=": ("sep=;\r\n" + written(ROWS, ";")).encode("utf-8-sig"),
    "sep= in quotes": ('"sep=;"\r\n' + written(ROWS, ";")).encode("utf-16"),
    "empty columns and rows": written(
        [[*row, "", "", ""] for row in [ROWS[0], [""] * 7, *ROWS[1:], [""] * 7, [" "] * 7]], ";"
    ).encode(),
    "empty rows above": (";;;;\r\n\r\n" + written(ROWS, ";")).encode(),
    "everything quoted": "".join(
        ";".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\r\n" for row in ROWS
    ).encode(),
    "spaces and capitals in the header": written(
        [[" Path ", "LICENSE\xa0", "Artist", "Title", "BPM", "\u200bKey", " tags"], *ROWS[1:]], ";"
    ).encode(),
    "text as formulas": written(
        [
            HEADER,
            *([f'="{cell.replace(chr(34), chr(34) * 2)}"' for cell in row] for row in ROWS[1:]),
        ]
    ).encode(),
}


@pytest.mark.parametrize("data", SAVED.values(), ids=SAVED.keys())
def test_a_table_is_the_same_however_it_was_saved(tmp_path: Path, data: bytes) -> None:
    read = rows_of(tmp_path, data)
    assert (read.problems, read.notices) == ([], [])
    assert [
        (row.pattern, row.license, row.artist, row.title, row.bpm, row.key, row.tags, row.fault)
        for row in read.rows
    ] == [
        ("Loops/Café, 1.wav", "full", "Björk & Sigur Rós", 'The "Best"', 120.5, Key(9, True),
         ("warm", "old"), None),
        ("b.wav", "full", "", "", 92.0, None, (), None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("page", "end", "name"),
    [
        ("cp1252", "\r\n", "Windows-1252"),
        ("mac-roman", "\r", "Mac OS Roman"),
        ("mac-roman", "\r\n", "Mac OS Roman"),
        ("cp850", "\r\n", "DOS code page 850"),
    ],
)
def test_a_code_page_is_assumed_with_one_notice_that_shows_a_cell(
    tmp_path: Path, page: str, end: str, name: str
) -> None:
    read = rows_of(tmp_path, written(ROWS, ";", end).encode(page))
    assert read.rows[0].artist == "Björk & Sigur Rós"
    assert notices(read) == [
        f"1 row was not in UTF-8 and read as {name}: row 2, column 'path' is 'Loops/Café, 1.wav'; "
        "if that is wrong, save it again as 'CSV UTF-8'"
    ]


def test_a_line_in_a_code_page_among_lines_in_utf_8(tmp_path: Path) -> None:
    data = "path,license,artist\na.wav,full,Ólafur\n".encode() + "b.wav,full,José\n".encode(
        "cp1252"
    )
    read = rows_of(tmp_path, data)
    assert [row.artist for row in read.rows] == ["Ólafur", "José"]
    assert "row 3, column 'artist' is 'José'" in notices(read)[0]


def test_japanese_of_a_spreadsheet_is_read_and_other_scripts_are_told_to_be_saved_again(
    tmp_path: Path,
) -> None:
    table = "path,license,artist\na.wav,full,{}\n"
    read = rows_of(tmp_path, table.format("ラウド").encode("cp932"))
    assert read.rows[0].artist == "ラウド" and "Windows-932" in notices(read)[0]
    for name, page in (("Гражданская Оборона", "cp1251"), ("방탄소년단", "cp949")):
        with pytest.raises(LibraryError, match=r"stems\.csv, row 2: '\\x.*is not UTF-8") as raised:
            rows_of(tmp_path, table.format(name).encode(page))
        assert raised.value.hint == "save it again as 'CSV UTF-8'"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"PK\x03\x04rest", "not CSV but a workbook"),
        (b"\xd0\xcf\x11\xe0rest", "an Excel workbook"),
        (b"{\\rtf1\\ansi path,license", "a formatted text"),
        (b"path,license\na.wav,fu\0ll\n", "row 2 holds a NUL character after 'a.wav,fu'"),
        (b"path,license\na.wav,full\n" + bytes(50) + b"b.wav,full\n", "row 3 holds a NUL"),
        (bytes(4096), "holds nothing but NUL characters"),
        (b"\x1f\x8b\x08\x00", "not CSV but a compressed file"),
        (b'[{"path": "a.wav"}]', "not CSV but JSON"),
        (b"\xff\xfepat", "no whole UTF-16-LE text"),
        (b"", "row 1: there is no column 'path'"),
        (b"path;artist\n", "row 1: there is no column 'license'"),
        (b"\n\nfile,license\n", "row 3: there is no column 'path'"),
        (b"PATH,license,Path\n", "the column 'path' is there twice"),
        (b'path,license,title\na.wav,full,"Song\nb.wav,full,x\n', "line 2: a quotation mark"),
        (b'license,path\nfull,a.wav\nfull,"b.wav"x\n', 'line 3: .* expected after'),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_one_line(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(LibraryError, match=says) as raised:
        rows_of(tmp_path, data)
    assert "\n" not in raised.value.message


OPEN = "path,license,artist,title,bpm\na.wav,full,Me,,92\n"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ('b.wav,full,"Duo,Song,92\nc.wav,full,Me,,\n', "line 3: .* column 'artist'.*: '\"Duo'"),
        ('"b.wav,full,Duo,Song,92\n', "line 3: .* column 'path'.*: '\"b.wav'"),
        ('b.wav,full,Me,"12"" mix,\nc.wav,full,Me,,\n', "line 3: .* column 'title'"),
        ('b.wav,full,"Me\n& You",Song,"92\nc.wav,full,Me,,\n', "line 4: .* column 'bpm'"),
        # A later mark closes it: what follows that one is odd, or the rows between are swallowed.
        ('b.wav,full,"Duo,Song,92\nc.wav,full,"Me, You",,\n', "line 3: .* column 'artist'"),
        ('b.wav,full,Me,"Heroes,92\nc.wav,full,Me,Mix 12",92\n', "line 3: .* column 'title'"),
        ('b.wav,full,"Me,,\nc.wav,other,X,Y,9\nd.wav,full,Z",,\n', "line 3: .* column 'artist'"),
        ('b.wav,full,"Me,,\n' + "c.wav,full,Me,,\n" * 20_000, "line 3: .* column 'artist'"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_where_a_quotation_mark_opens_that_is_never_closed_is_told(
    tmp_path: Path, rows: str, says: str, end: str
) -> None:
    with pytest.raises(LibraryError, match=says) as raised:
        rows_of(tmp_path, (OPEN + rows).replace("\n", end))
    assert "is never closed" in raised.value.message and "\n" not in raised.value.message
    assert "\r" not in raised.value.message
    assert "close it" in (raised.value.hint or "")


def test_a_cell_of_several_lines_is_read(tmp_path: Path) -> None:
    read = rows_of(
        tmp_path,
        'path,license,artist,title\na.wav,full,Me,"A song,\nin two parts, by me"\n'
        'b.wav,full,"Me\x0b& You","See a.wav,\r\nfirst take"\n',
    )
    assert [(row.artist, row.title) for row in read.rows] == [
        ("Me", "A song, in two parts, by me"),
        ("Me & You", "See a.wav, first take"),
    ]
    assert read.notices == []


def test_names_of_columns_of_several_lines_are_told(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="row 2: a quotation mark in the names of the columns"):
        rows_of(tmp_path, 'My songs\npath,license,"artist\n(band)"\na.wav,full,Me\n')


@pytest.mark.parametrize(
    ("encoding", "zeros", "told"),
    [
        ("utf-8", 4096, "4,096 NUL characters"),
        ("utf-8", 1, "1 NUL character at its end left out"),
        ("cp1252", 100, "100 NUL characters"),
        ("utf-16", 512, "256 NUL characters"),
        ("utf-16-le", 511, "255 NUL characters"),
        ("utf-16-be", 513, "256 NUL characters"),
    ],
)
def test_nul_characters_at_the_end_are_left_out_and_told(
    tmp_path: Path, encoding: str, zeros: int, told: str
) -> None:
    read = rows_of(tmp_path, written(ROWS).encode(encoding) + bytes(zeros))
    assert [(row.artist, row.fault) for row in read.rows] == [
        ("Björk & Sigur Rós", None),
        ("", None),
    ]
    (notice,) = (text for text in notices(read) if "NUL" in text)
    assert notice.startswith(told) and "row 3 is the last one" in notice


def test_a_row_that_nul_characters_cut_off_is_not_used(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "path,license,artist\n**,full,Wide\na.wav,words,")
    table = tmp_path / "stems.csv"
    table.write_bytes(table.read_bytes().rstrip(b",\n") + bytes(99))
    spec = read_library(tmp_path)
    found = match(spec, "a.wav", TODAY)
    assert isinstance(found, NotLicensed) and "cut off by NUL characters" in found.reason
    assert declared(spec, "b.wav").artist == "Wide"
    table.write_bytes(b"path,license,artist\na.wav,full,Me" + bytes(99))
    assert declared(read_library(tmp_path), "a.wav").artist == "Me"


def test_a_row_with_another_delimiter_than_the_header_is_split(tmp_path: Path) -> None:
    read = rows_of(tmp_path, "path,license,artist\na.wav,full,X\nb.wav;full;Y\nc.wav\tfull\tZ\n")
    assert [(row.pattern, row.license, row.artist) for row in read.rows] == [
        ("a.wav", "full", "X"),
        ("b.wav", "full", "Y"),
        ("c.wav", "full", "Z"),
    ]
    assert "2 rows were in one cell each" in notices(read)[0]


def test_a_link_of_a_spreadsheet_is_what_it_shows(tmp_path: Path) -> None:
    link = '"=HYPERLINK(""file:///x/{0}"";""{0}"")"'
    read = rows_of(
        tmp_path, f"path,license,artist\n{link.format('a.wav')},full,{link.format('Me')}"
    )
    assert [(row.pattern, row.artist) for row in read.rows] == [("a.wav", "Me")]


@pytest.mark.parametrize(
    ("name", "meant"), [("tempo", "bpm"), ("Genre", "tags"), ("bpm (quarter)", "bpm")]
)
def test_the_column_that_another_name_may_mean_is_suggested(
    tmp_path: Path, name: str, meant: str
) -> None:
    read = rows_of(tmp_path, f"path,license,{name}\na.wav,full,92\n")
    assert f"{name!r} is not known and was ignored; did you mean {meant!r}?" in str(read.problems)
    with pytest.raises(LibraryError) as raised:
        rows_of(tmp_path, "File Name,license\n")
    assert raised.value.hint == "is 'file_name' meant to be it?"


def test_codes_with_their_names_and_artists_with_invisible_signs_are_read(tmp_path: Path) -> None:
    read = rows_of(
        tmp_path,
        "path,license,artist,ISRC,i s w c\n"
        "a.wav,full,Me\u200b,ISRC: QZ-ABC-26-00001,ISWC T-034.524.680-1\n",
    )
    row = read.rows[0]
    assert (row.artist, row.isrc, row.iswc) == ("Me", "QZABC2600001", "T0345246801")
    assert (read.problems, read.notices) == ([], [])


def test_a_table_that_is_a_dead_link_is_told(tmp_path: Path) -> None:
    (tmp_path / "stems.csv").symlink_to("nowhere.csv")
    with pytest.raises(LibraryError, match="is a link that leads nowhere"):
        read_rows(tmp_path / "stems.csv")


def test_a_table_of_another_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "stems.csv.txt").touch()
    with pytest.raises(LibraryError, match="is missing") as raised:
        read_rows(tmp_path / "stems.csv")
    assert "there is 'stems.csv.txt'" in raised.value.hint


def test_rows_that_a_spreadsheet_took_for_one_cell_are_split(tmp_path: Path) -> None:
    quoted = 'path,license,artist\n"a.wav,full,""The, Band"""\nb.wav,full,Duo\n'
    read = rows_of(tmp_path, quoted)
    assert [(row.pattern, row.artist) for row in read.rows] == [
        ("a.wav", "The, Band"),
        ("b.wav", "Duo"),
    ]
    assert notices(read) == [
        "1 row was in one cell each, as a spreadsheet with another delimiter writes them, and split"
    ]
    german = 'path,license,artist,tags;;\n"a.wav,full,""The, Band"",x";;\nb.wav,full,Duo,y;z;\n'
    read = rows_of(tmp_path, german)
    assert [(row.license, row.artist, row.tags) for row in read.rows] == [
        ("full", "The, Band", ("x",)),
        ("full", "Duo", ("y", "z")),
    ]


def test_comments_and_lines_above_the_header_are_skipped(tmp_path: Path) -> None:
    read = rows_of(
        tmp_path,
        '#made by hand\nMy Label 2026;;\npath;license;bpm\n# a,b;"c\n#\n#1 hit.wav;full;99\n',
    )
    assert [(row.pattern, row.number) for row in read.rows] == [("#1 hit.wav", 6)]
    assert notices(read) == ["row 3 names the columns; 1 row above it not read"]


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("bpm", "fast", "'fast' is not a number; it is measured"),
        ("bpm", "01. Mai", "is not a number (a date or time, perhaps made by a spreadsheet)"),
        ("bpm", "Jan 92", "(a date or time, perhaps made by a spreadsheet); it is measured"),
        ("bpm", "1E+05", "'1E+05' is not a tempo between 20 and 400; it is measured"),
        ("bpm", "1_20", "'1_20' is not a number"),
        ("bpm", "#REF!", "'#REF!' is an error of the spreadsheet; it is measured"),
        ("bpm", "120-124", "is not a number"),
        ("bpm", "~92", "'~92' is not a number; it is measured"),
        ("bpm", "92-ish", "'92-ish' is not a number; it is measured"),
        ("bpm", "92 %", "'92 %' is not a number; it is measured"),
        ("bpm", "tempo 999", "'tempo 999' is not a tempo between 20 and 400; it is measured"),
        ("key", "A dorian", "'A dorian' is not a key; it is measured"),
        ("key", "5:00 AM", "'5:00 AM' is not a key; it is measured"),
        ("downbeat_s", "-1", "'-1' is not a time between 0 and 3600 s; it is measured"),
        ("isrc", "QZ1", "'QZ1' is not an ISRC"),
        ("iswc", "T-034.524.680-2", "its check digit does not fit; it is left out"),
        ("title", "#NAME?", "'#NAME?' is an error of the spreadsheet; it is left out"),
    ],
)
def test_a_cell_that_cannot_be_read_is_a_notice_and_its_file_is_indexed(
    tmp_path: Path, column: str, cell: str, says: str
) -> None:
    spec = spec_of(tmp_path, f"path,license,artist,{column}\na.wav,full,The Band,{cell}")
    found = declared(spec, "a.wav")
    assert (found.artist, getattr(found, column)) == ("The Band", getattr(StemRow, column, None))
    (told,) = spec.notices
    assert told.path == "stems.csv" and says in told.text
    assert told.text.startswith(f"row 2, column {column!r}: ")
    assert spec.problems == ()


@pytest.mark.parametrize(
    ("cell", "bpm"),
    [("120", 120), ("120,5", 120.5), ("120.50", 120.5), (" 120 BPM", 120), ("'120", 120),
     ("“120”", 120), ("1,2E+02", 120), ("120\xa0", 120), ("１２０", 120),
     ("120 b.p.m.", 120), ("BPM: 120", 120), ("Tempo 120,5", 120.5), ("♩ = 120", 120),
     ("120 beats per minute", 120), ("120 Bpm.", 120)],
)  # fmt: skip
def test_a_tempo_is_a_number_in_any_of_its_forms(tmp_path: Path, cell: str, bpm: float) -> None:
    read = rows_of(tmp_path, f"path;license;bpm\na.wav;full;{cell}\n")
    assert (read.rows[0].bpm, read.notices) == (bpm, [])


def test_an_unreadable_cell_is_not_filled_from_a_wider_row(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "path,license,bpm,key\n**,full,99,Am\na.wav,full,fast,")
    found = declared(spec, "a.wav")
    assert (found.bpm, found.key) == (None, Key(9, True))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a.wav,fu ll,Band,", "license 'fu ll' of row 3 of stems.csv is not in library.toml"),
        ("a.wav,,Band,", "no license: row 3 of stems.csv names none"),
        ("a.wav,full,#N/A,", "row 3, column 'artist': '#N/A' is an error of the spreadsheet"),
        ("a.wav,full,Ba\x07nd,", "column 'artist': 'Ba\\x07nd' is too long or holds control"),
        (
            "a.wav,full,Tom, Dick,92",
            "row 3 has more cells than the header; quote a cell that holds",
        ),
        ('a.wav,full,"Tom" Dick,', "row 3 is not CSV"),
    ],
)
def test_what_bears_on_rights_refuses_the_file(tmp_path: Path, row: str, says: str) -> None:
    spec = spec_of(tmp_path, f"path,license,artist,bpm\n**,full,Wide,\n{row}")
    found = match(spec, "a.wav", TODAY)
    assert isinstance(found, NotLicensed) and says in found.reason
    assert declared(spec, "b.wav").artist == "Wide"


def test_a_cell_pasted_with_its_quotation_marks_is_read(tmp_path: Path) -> None:
    read = rows_of(
        tmp_path,
        "path,license,artist,title\n“a.wav”,“full”,“Heroes”,\n"
        '"""b.wav""" ,full,x,y\n\u202ac.wav\u200b,full,,\n“Low”/*.wav,full,,\n',
    )
    assert [(row.pattern, row.license, row.artist) for row in read.rows] == [
        ("a.wav", "full", "“Heroes”"),
        ("b.wav", "full", "x"),
        ("c.wav", "full", ""),
        ("“Low”/*.wav", "full", ""),
    ]


def test_of_many_unreadable_cells_some_are_told_and_the_others_counted(tmp_path: Path) -> None:
    rows = "".join(f"{number}.wav,full,Jan {number}\n" for number in range(1000))
    told = notices(rows_of(tmp_path, "path,license,bpm\n" + rows))
    assert len(told) == stems_csv.MOST_TOLD + 1
    assert told[-1] == "column 'bpm': 980 more cells cannot be read"


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=80)
    | st.text('aé"\n\r,;\t #=\0“', max_size=60).map(lambda text: text.encode())
    | st.text("ab*?[]/!,;\"\n", max_size=60).map(lambda text: f"path,license\n{text}".encode()),
    st.sampled_from([b"", b"path,license,bpm\n", b"\xff\xfe", b"sep=;\n", b"\xef\xbb\xbf"]),
)  # fmt: skip
def test_any_bytes_are_rows_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, head: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "stems.csv"
    path.write_bytes(head + body)
    try:
        read = read_rows(path)
    except LibraryError as refused:
        assert "stems.csv" in refused.message and "\n" not in refused.message
    else:
        assert all(isinstance(row, StemRow) for row in read.rows)


def test_a_large_table_is_decoded_in_time_that_grows_with_it() -> None:
    began = time.process_time()
    decode_table(("path,license\n" + "é.wav,full\n" * 100_000).encode("cp1252"), "stems.csv")
    assert time.process_time() - began < 3
