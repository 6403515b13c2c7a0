"""library.toml and stems.csv: what they declare, and what is said about their faults."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from indexer.licenses import Declared, LibrarySpec, NotLicensed, match, read_library
from rag_audio.domain import Key, License, Share, Use
from rag_audio.domain.codec import decode, encode
from rag_audio.errors import LibraryError
from tests.indexer.library import LICENSES, write_tables

TODAY = date(2026, 6, 1)


def read(root: Path, rows: str, licenses: str | None = None) -> LibrarySpec:
    write_tables(root, rows, licenses)
    return read_library(root)


def declared(spec: LibrarySpec, path: str) -> Declared:
    found = match(spec, path, TODAY)
    assert isinstance(found, Declared), found
    return found


def reason(spec: LibrarySpec, path: str) -> str:
    found = match(spec, path, TODAY)
    assert isinstance(found, NotLicensed), found
    return found.reason


def problems(spec: LibrarySpec) -> str:
    return "\n".join(f"{item.path}: {item.reason}" for item in spec.problems)


def test_a_row_declares_what_its_cells_say(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        "a b.wav,full,The Band,A Song,92.5,F# minor,warm; dusty ;warm,qz-abc-26-00001,0.25",
    )
    found = declared(spec, "a b.wav")
    assert found.license.holder == "Night Shift Recordings"
    assert found.license.uses == {Use.PROMPT, Use.INIT_AUDIO, Use.STYLE}
    assert found.license.valid_until == date(2030, 12, 31)
    assert (found.artist, found.title, found.bpm) == ("The Band", "A Song", 92.5)
    assert found.key == Key(6, True)
    assert found.tags == ("warm", "dusty")
    assert (found.isrc, found.downbeat_s) == ("QZABC2600001", 0.25)
    assert spec.problems == ()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_most_specific_row_decides_and_its_empty_cells_come_from_rows_of_its_license(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    rows = (
        "**,words,Somebody Else,,99,,other,,",
        "drums/*.wav,full,The Band,,,A minor,drums,,",
        "drums/b.wav,full,,Break,92,,,,",
    )
    spec = read(tmp_path, "\n".join(rows[number] for number in order))
    found = declared(spec, "drums/b.wav")
    assert (found.license.id, found.artist, found.title) == ("full", "The Band", "Break")
    assert (found.bpm, found.key, found.tags) == (92, Key(9, True), ("drums",))
    assert declared(spec, "drums/deep/b.wav").artist == "Somebody Else"


def test_a_faulty_row_does_not_let_a_wider_row_take_its_file(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        """
        *.wav,full,The Band,,,,,,
        secret.wav,words,#REF!,,,,,,
        """,
    )
    assert "faulty" in reason(spec, "secret.wav")
    assert declared(spec, "open.wav").license.id == "full"
    assert "stems.csv: row 3, column 'artist': '#REF!' is an error" in problems(spec)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a.wav,full,Tab,le,1,2,3,4,5,6", "row 2 has more cells than the header"),
        ("../a.wav,full", "row 2, column 'path': '../a.wav' leads out of the library"),
        ("/etc/*,full", "'/etc/*' is absolute"),
        ("C:\\a.wav,full", "is absolute"),
        (",full", "'' is empty"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_other_rows_stand(
    tmp_path: Path, row: str, says: str
) -> None:
    spec = read(tmp_path, f"{row}\nb.wav,full,,,,,,,")
    assert says in problems(spec)
    assert declared(spec, "b.wav").license.id == "full"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a.wav,full,,,0,,,,", "row 2, column 'bpm': '0' is not a tempo"),
        ("a.wav,full,,,nan,,,,", "'nan' is not a finite number"),
        ("a.wav,full,,,,J major,,,", "row 2, column 'key': 'J major' is not a key"),
        ("a.wav,full,,,,,,QZ1,", "row 2, column 'isrc': 'QZ1' is not an ISRC"),
        ("a.wav,full,,,,,,,-1", "row 2, column 'downbeat_s': '-1'"),
    ],
)
def test_a_bad_cell_is_named_with_row_column_and_value_and_its_file_is_indexed(
    tmp_path: Path, row: str, says: str
) -> None:
    spec = read(tmp_path, row)
    assert says in "\n".join(item.text for item in spec.notices)
    assert declared(spec, "a.wav").license.id == "full"


def test_an_unknown_column_is_reported_with_a_guess_and_ignored(tmp_path: Path) -> None:
    spec = read(tmp_path, "path,license,tempo_bpm,tag\na.wav,full,12,x")
    assert "the column 'tag' is not known and was ignored; did you mean 'tags'?" in problems(spec)
    assert declared(spec, "a.wav").tags == ()


@pytest.mark.parametrize(
    ("license", "says"),
    [
        ("expired", "license 'expired' expired on 2020-12-31"),
        ("nothing", "license 'nothing' grants no use"),
        ("ful", "license 'ful' of row 2 of stems.csv is not in library.toml; did you mean 'full'"),
        ("", "no license: row 2 of stems.csv names none"),
    ],
)
def test_without_a_valid_license_a_file_is_refused(tmp_path: Path, license: str, says: str) -> None:
    spec = read(tmp_path, f"a.wav,{license}")
    assert says in reason(spec, "a.wav")
    assert "no row of stems.csv matches" in reason(spec, "b.wav")


def test_a_license_that_begins_later_or_holds_elsewhere_is_indexed(tmp_path: Path) -> None:
    spec = read(tmp_path, "later.wav,future\nhere.wav,words")
    assert declared(spec, "later.wav").license.valid_from == date(2029, 1, 1)
    assert declared(spec, "here.wav").license.territories == {"DE", "AT"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('uses = ["promt"]', "uses holds 'promt'; allowed are prompt, init_audio, style, train"),
        ('uses = ["Init-Audio"]', "style, train; did you mean 'init_audio'?"),
        (
            'uses = "prompt"',
            "uses must be a list of texts, got 'prompt', as in uses = [\"prompt\"]",
        ),
        ('ipi = "123"', "ipi: '123' is not an IPI number"),
        ("[licenses.odd.1]\nholder = 5", 'in quotation marks: [licenses."odd.1"]'),
        ('valid_until = "31.12.2029"', "did you mean 2029-12-31?"),
        ('territories = ["UK"]', "territories holds 'UK': the United Kingdom is GB"),
        ('territories = ["XQ"]', "ISO 3166-1"),
        ("territories = []", "territories is empty"),
        ('valid_until = "31.12.2030"', "valid_until '31.12.2030' is not a day like 2030-12-31"),
        ("valid_until = 2030", "valid_until 2030 is not a day"),
        ("valid_untill = 2030-12-31", "'valid_untill' is not known; did you mean 'valid_until'?"),
        ("valid_from = 2031-01-01\nvalid_until = 2030-01-01", "is before valid_from"),
        ("max_similarity = 2", "max_similarity must be 0…1, got 2"),
        ('holder = " "', "holder must be text"),
        ('spdx = "a/b"', "spdx 'a/b' is not an SPDX id"),
    ],
)
def test_a_fault_in_a_license_makes_that_license_unusable_and_no_other(
    tmp_path: Path, line: str, says: str
) -> None:
    base = {"holder": '"H"', "spdx": '"CC0-1.0"', "uses": '["prompt"]'}
    base.pop(line.split(" ", 1)[0], None)
    body = "\n".join([*(f"{key} = {value}" for key, value in base.items()), line])
    spec = read(tmp_path, "a.wav,odd\nb.wav,full", f"{LICENSES}\n[licenses.odd]\n{body}\n")
    assert "library.toml: license 'odd' is not used: " in problems(spec)
    assert says in problems(spec)
    assert "license 'odd' is not usable" in reason(spec, "a.wav")
    assert declared(spec, "b.wav").license.id == "full"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_library_toml_may_be_unicode_of_any_kind(tmp_path: Path, encoding: str, end: str) -> None:
    write_tables(tmp_path, "a.wav,full")
    text = LICENSES.strip().replace("Night Shift", "Nächte").replace("\n", end)
    (tmp_path / "library.toml").write_bytes(text.encode(encoding))
    assert declared(read_library(tmp_path), "a.wav").license.holder == "Nächte Recordings"


def test_a_missing_table_is_an_error_that_shows_a_minimal_one(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"library\.toml is missing") as raised:
        read_library(tmp_path)
    assert "[licenses.my-license]" in raised.value.hint
    (tmp_path / "library.toml").write_text(LICENSES)
    with pytest.raises(LibraryError, match=r"stems\.csv is missing"):
        read_library(tmp_path)
    with pytest.raises(LibraryError, match="is not a folder"):
        read_library(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        (b"[library\n", r"not valid TOML: .*line 1"),
        (b"\xff\xfe", "not UTF-8"),
        (b'[library]\nname = ""\n', "no .library. name"),
        (b'[library]\nname = "!!!"\n[licenses.a]\n', "no id can be made"),
        (b'[library]\nname = "A"\n', "declares no license"),
    ],
)
def test_a_library_toml_that_cannot_be_read_is_an_error(
    tmp_path: Path, toml: bytes, says: str
) -> None:
    write_tables(tmp_path, "a.wav,full")
    (tmp_path / "library.toml").write_bytes(toml)
    with pytest.raises(LibraryError, match=says):
        read_library(tmp_path)


BASE = '[library]\nname = "L"\n'
ONE = '[licenses.lic]\nholder = "H"\nspdx = "LicenseRef-X"\nuses = ["prompt"]\n'


@pytest.mark.parametrize(
    ("toml", "says", "hint"),
    [
        ("[library]\nname = 5\n" + ONE, "has no [library] name: name must be text, got 5", "as in"),
        ('library = "L"\n' + ONE, "has no [library] name: [library] is 'L'", "as in"),
        (BASE + 'id = ["a"]\n' + ONE, "[library] id must be text, got ['a']", 'id = "my-label"'),
        (BASE + 'id = "-"\n' + ONE, "no id can be made from the id '-'", 'id = "my-label"'),
        (BASE + ONE.replace("[licenses.lic]", "[[licenses]]"), "is a list of tables", ".my-lic"),
        (BASE + ONE.replace("licenses", "license"), "[license] is not known", "[licenses.my-lic"),
        (BASE + ONE.replace("licenses", "Licenses"), "[Licenses] is not known", "[licenses.my-lic"),
        (BASE + ONE.replace("licenses.lic", "licenses"), "stand in [licenses] itself", ".my-lic"),
        (BASE + ONE + ONE, "line 7: [licenses.lic] is there twice", "an id of its own"),
        (BASE + ONE + 'holder = "X"', "line 7: the key 'holder' is there twice", "leave one"),
        (BASE + ONE.replace('"H"', "“H”"), "line 4: invalid value: 'holder = “H”'", "straight"),
        (BASE + ONE.replace('"H"', '"H'), "line 4: illegal character '\\n'", "close the quotation"),
        (BASE + ONE.replace('"H"', "Me"), "line 4: invalid value", 'holder = "Me"'),
        (BASE + ONE.replace('"H"', '"C:\\Users"'), "line 4: invalid hex value", "single quot"),
        (BASE + ONE.replace("holder =", "holder:"), "line 4: expected '='", "not key: value"),
        (BASE + ONE.replace("holder =", "holder"), "line 4: expected '='", "write key = value"),
        (BASE + ONE + "valid_until = 31.12.2030", "line 7: expected newline", "as 2030-12-31"),
        (BASE + ONE + "valid_until = 2030-02-30", "line 7: invalid date", "there is no such day"),
        (BASE + ONE + "max_similarity = 0,8", "line 7: expected newline", "decimal point"),
        (BASE + ONE + "max_similarity = " + "9" * 5000, "a number that is too long", ""),
        (BASE + ONE.replace("s.lic]", "s.my lic]"), "line 3: expected ']'", '"my license"'),
        (BASE + ONE + "\0" * 99, "line 7 holds NUL characters", "compare it with a copy"),
        (b'[library]\nname = "L\xe4"\n' + ONE.encode(), "line 2 is not UTF-8 text", "as UTF-8"),
        ("", "library.toml is empty", "[licenses.my-license]"),
        ("{\\rtf1 [library]", "is not TOML but a formatted text", "plain text"),
        ('{"library": {}}', "is not TOML but JSON", "plain text"),
    ],
)
def test_a_library_toml_that_cannot_be_read_is_told_with_what_would_do(
    tmp_path: Path, toml: str | bytes, says: str, hint: str
) -> None:
    write_tables(tmp_path, "a.wav,full")
    (tmp_path / "library.toml").write_bytes(toml.encode() if isinstance(toml, str) else toml)
    with pytest.raises(LibraryError) as raised:
        read_library(tmp_path)
    assert raised.value.message.startswith("library.toml")
    assert says in raised.value.message and "\n" not in raised.value.message
    assert hint in (raised.value.hint or "")


def test_what_is_no_file_in_the_place_of_a_library_toml_is_told(tmp_path: Path) -> None:
    def told(make: Callable[[Path], object]) -> str:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        write_tables(root, "a.wav,full")
        (root / "library.toml").unlink()
        make(root / "library.toml")
        with pytest.raises(LibraryError) as raised:
            read_library(root)
        return f"{raised.value.message} ({raised.value.hint})"

    assert "library.toml is a folder" in told(lambda path: path.mkdir())
    assert "library.toml is no regular file" in told(os.mkfifo)
    assert "is a link that leads nowhere" in told(lambda path: path.symlink_to("nowhere"))
    assert "symbolic links" in told(lambda path: path.symlink_to(path.name))
    assert "there is 'Library.toml.txt'" in told(
        lambda path: path.with_name("Library.toml.txt").touch()
    )


def test_keys_that_are_not_known_outside_of_licenses_are_told_with_a_guess(tmp_path: Path) -> None:
    toml = f'name = "L"\n{BASE}ids = "x"\n{ONE}[conflict]\n"a.wav" = "lic"\n'
    spec = read(tmp_path, "a.wav,lic", toml)
    assert [problem.reason for problem in spec.problems] == [
        "'name' is not known and was ignored",
        "[conflict] is not known and was ignored; did you mean 'conflicts'?",
        "'ids' in [library] is not known and was ignored; did you mean 'id'?",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"path,licence\n", "no column 'license'"),
        (b"path,license,path\n", "'path' is there twice"),
        (b'path,license\n"a,full\n', "line"),
        (b"path,license\n\xcf\xf0\xe8\xe2\xe5\xf2.wav,full\n", "not UTF-8 text"),
        (b"", "no column 'path'"),
    ],
)
def test_a_stems_csv_that_cannot_be_read_is_an_error(
    tmp_path: Path, text: bytes, says: str
) -> None:
    write_tables(tmp_path, "a.wav,full")
    (tmp_path / "stems.csv").write_bytes(text)
    with pytest.raises(LibraryError, match=says):
        read_library(tmp_path)


def test_a_spreadsheet_s_byte_order_mark_and_accents_do_not_matter(tmp_path: Path) -> None:
    write_tables(tmp_path, "")
    (tmp_path / "stems.csv").write_bytes("\ufeffpath,license\r\ncafe\u0301.wav,full\r\n".encode())
    assert declared(read_library(tmp_path), "café.wav").license.id == "full"


@pytest.mark.parametrize(
    ("pattern", "matches", "differs"),
    [
        ("*.wav", ["a.wav"], ["x/a.wav", "a.flac"]),
        ("**", ["a.wav", "x/y/a.wav"], []),
        ("**/*.wav", ["a.wav", "x/y/a.wav"], ["a.flac"]),
        ("x/**", ["x/a.wav", "x/y/a.wav"], ["y/a.wav"]),
        ("x/", ["x/a.wav", "x/y/a.wav"], ["y/a.wav"]),
        ("./x//?.wav", ["x/a.wav"], ["x/ab.wav", "a.wav"]),
        ("x\\a.wav", ["x/a.wav"], []),
        ("[ab][!c].wav", ["ad.wav", "bd.wav"], ["ac.wav", "cd.wav"]),
        ("loop [92].wav", ["loop [92].wav", "loop 9.wav"], ["loop 8.wav"]),
        ("[z-a].wav", ["[z-a].wav"], ["z.wav"]),
        ("a+(b).wav", ["a+(b).wav"], ["ab.wav"]),
        ("[[]x].wav", ["[x].wav"], ["x.wav"]),
    ],
)
def test_patterns_match_as_in_a_shell(
    tmp_path: Path, pattern: str, matches: list[str], differs: list[str]
) -> None:
    spec = read(tmp_path, f"{pattern},full")
    assert [path for path in matches if not spec.rows_of(path)] == []
    assert [path for path in differs if spec.rows_of(path)] == []


def test_ids_are_made_from_names_of_any_script(tmp_path: Path) -> None:
    for name, id_ in {"Night Shift!": "night-shift", "夜 勤": "夜-勤"}.items():
        text = LICENSES.replace("Night Shift", name, 1)
        assert read(tmp_path, "a.wav,full", text).id == id_
    given = LICENSES.replace("[library]", '[library]\nid = "mine"', 1)
    assert read(tmp_path, "a.wav,full", given).id == "mine"


def test_an_edited_cell_changes_the_digest_and_an_edited_comment_does_not(tmp_path: Path) -> None:
    first = declared(read(tmp_path, "a.wav,full,The Band,,,,,,"), "a.wav").digest
    same = declared(read(tmp_path, "*.wav,words\n*.wav,full,The Band,,,,,,"), "a.wav").digest
    other = declared(read(tmp_path, "a.wav,full,The Bend,,,,,,"), "a.wav").digest
    assert first == same != other


def with_license(root: Path, body: str, rows: str = "a.wav,odd\nb.wav,full") -> LibrarySpec:
    base = 'holder = "H"\nspdx = "CC0-1.0"\nuses = ["prompt"]\n'
    return read(root, rows, f"{LICENSES}\n[licenses.odd]\n{base}{body}\n")


@pytest.mark.parametrize("body", ['territories = ["WORLD", "-US", "-ca"]', 'except = ["US", "CA"]'])
def test_the_world_may_have_exceptions(tmp_path: Path, body: str) -> None:
    granted = declared(with_license(tmp_path, body), "a.wav").license
    for territory, covered in {
        "DE": True,
        "US": False,
        "ca": False,
        None: False,
        "XX": False,
    }.items():
        refusal = granted.refusal(Use.PROMPT, territory, TODAY)
        assert (refusal is None) is covered, territory


def test_an_exception_beats_a_territory_that_is_named(tmp_path: Path) -> None:
    granted = declared(with_license(tmp_path, 'territories = ["DE", "AT", "-AT"]'), "a.wav").license
    assert granted.covers("DE") and not granted.covers("AT") and not granted.covers("FR")


@pytest.mark.parametrize(
    ("body", "last"),
    [
        ("valid_until = 2026-06-30", "2026-06-30T23:59:59.999999+00:00"),
        ('valid_until = 2026-06-30\ntimezone = "Asia/Tokyo"', "2026-06-30T14:59:59.999999+00:00"),
        ("valid_until = 2026-06-30T18:00:00-04:00", "2026-06-30T22:00:00+00:00"),
        ('valid_until = "2026-06-30T18:00:00+02:00"', "2026-06-30T16:00:00+00:00"),
    ],
)
def test_a_license_ends_at_its_last_moment(tmp_path: Path, body: str, last: str) -> None:
    granted = declared(with_license(tmp_path, body), "a.wav").license
    moment = datetime.fromisoformat(last)
    assert granted.refusal(Use.PROMPT, None, moment) is None
    after = granted.refusal(Use.PROMPT, None, moment + timedelta(microseconds=1))
    assert after is not None and "expired" in after


def test_a_license_begins_at_its_first_moment(tmp_path: Path) -> None:
    body = 'valid_from = 2026-03-29\ntimezone = "Europe/Berlin"'  # clocks go forward that night
    granted = declared(with_license(tmp_path, body), "a.wav").license
    first = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)
    assert granted.refusal(Use.PROMPT, None, first) is None
    assert granted.refusal(Use.PROMPT, None, first - timedelta(seconds=1)) is not None
    assert granted.refusal(Use.PROMPT, None, date(2026, 3, 29)) is None
    assert granted.refusal(Use.PROMPT, None, date(2026, 3, 28)) is not None


def test_splits_and_numbers_are_kept(tmp_path: Path) -> None:
    body = """
    ipi = "00000000199"
    [licenses.odd.splits]
    master = {"Label A" = 0.5, "Label B" = 0.5}
    composition = {"Writer" = {share = 0.75, ipi = "I-000000229-7"}, "Publisher" = 0.25}
    """
    header = "path,license,isrc,iswc\n"
    row = "a.wav,odd,QZ-ABC-26-00001,T-034.524.680-1"
    found = declared(with_license(tmp_path, body, header + row), "a.wav")
    assert found.license.ipi == "00000000199"
    assert found.license.splits.master == (Share("Label A", 0.5), Share("Label B", 0.5))
    assert found.license.splits.composition[0] == Share("Writer", 0.75, "I0000002297")
    assert (found.isrc, found.iswc) == ("QZABC2600001", "T0345246801")
    again = decode(License, json.loads(json.dumps(encode(found.license))))
    assert again == found.license


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("valid_until = 2030-12-31T18:00:00", "valid_until 2030-12-31T18:00:00 has no time zone"),
        ('valid_from = "2030-12-31T18:00"', "has no time zone; write its offset, such as"),
        ('timezone = "Berlin/Europe"', "timezone 'Berlin/Europe' is not known"),
        ('except = ["UK"]', "excluded territories holds 'UK': the United Kingdom is GB"),
        ('territories = ["-US"]', "territories is empty"),
        ('territories = ["WORLD", "-WORLD"]', "holds 'WORLD'"),
        ("splits = {master = {A = 0.6, B = 0.3}}", "master splits must sum to 1, they sum to 0.9"),
        ("splits = {master = {A = 1.5, B = -0.5}}", "must be in (0, 1]"),
        ("splits = {masters = {A = 1.0}}", "splits holds 'masters'"),
        ('splits = {composition = {A = "half"}}', "the share of 'A' is 'half', no number"),
        ('splits = {composition = {A = {share = 1.0, ipi = "123"}}}', "'123' is not an IPI number"),
        ('ipi = "00000000198"', "its check digits do not fit"),
    ],
)
def test_a_fault_in_the_finer_terms_is_quoted(tmp_path: Path, body: str, says: str) -> None:
    spec = with_license(tmp_path, body)
    assert says in problems(spec)
    assert "license 'odd' is not usable" in reason(spec, "a.wav")
    assert declared(spec, "b.wav").license.id == "full"


def test_a_wrong_check_digit_names_row_column_and_value(tmp_path: Path) -> None:
    spec = read(tmp_path, "path,license,iswc\na.wav,full,T-034.524.680-2\nb.wav,full,")
    assert (
        "row 2, column 'iswc': 'T-034.524.680-2' is not an ISWC: its check digit"
        in spec.notices[0].text
    )
    assert declared(spec, "b.wav").license.id == "full"


def test_a_row_whose_quotes_do_not_fit_stops_no_other_and_frees_no_file(tmp_path: Path) -> None:
    spec = read(tmp_path, 'path,license,title\n*.wav,full,\na.wav,words,"Song" two\nb.wav,words,')
    assert "stems.csv: row 3 is not CSV" in problems(spec)
    assert "faulty" in reason(spec, "a.wav"), "the wider row above must not take the file"
    assert declared(spec, "b.wav").license.id == "words"
    assert declared(spec, "c.wav").license.id == "full"
    with pytest.raises(LibraryError, match="line 2"):
        read(tmp_path, 'path,license,title\n"a.wav"x,words,T')


def test_documents_of_the_first_release_still_decode_and_keep_their_spelling() -> None:
    old = {
        "id": "l", "library": "lib", "holder": "H", "spdx": "CC0-1.0", "uses": ["prompt"],
        "territories": ["WORLD"], "valid_from": None, "valid_until": "2030-12-31",
        "credit": "", "max_similarity": 1.0,
    }  # fmt: skip
    assert encode(decode(License, old)) == old
