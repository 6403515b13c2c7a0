"""A long list of names from MusicBrainz's dumps or CSV: read, chosen, looked up, replaced whole."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio import guardrails
from rag_audio.errors import ConfigError, InvalidInput
from rag_audio.guardrails import Action, ImportedNames, Policy
from rag_audio.guardrails.name_import import Progress, import_names
from rag_audio.guardrails.name_sources import Choice
from rag_audio.guardrails.normalise import read
from rag_audio.storage.locks import lock_file
from tests.guardrails import dumps


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "home" / "names.db"


def known(target: Path) -> set[str]:
    """All spellings of a list."""
    with sqlite3.connect(target) as database:
        return {text for (text,) in database.execute("SELECT text FROM form")}


def in_folder(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def decides(target: Path, prompt: str, licensed: str = "Copper Lantern Trio") -> Action:
    roster = guardrails.load_roster(None, ImportedNames(target))
    return guardrails.check(prompt, Policy(frozenset({licensed}), frozenset(), roster)).action


FULL = {"Zanther Quill", "Quillotharn Vode", "Ozzeldrim", "Grendl\tMavvick\\", "Plovdar Ensk"}


def _folder(at: Path) -> list[Path]:
    return [dumps.folder(at / "dump")]


def _tables(at: Path) -> list[Path]:
    made = dumps.folder(at / "dump") / "mbdump"
    return [made / "artist_alias", made / "artist"]


def _renamed(at: Path) -> list[Path]:
    (at / "a.tsv").write_bytes(dumps.ARTISTS)
    (at / "b.tsv").write_bytes(dumps.ALIASES)
    return [at / "a.tsv", at / "b.tsv"]


def _archive(at: Path) -> list[Path]:
    rows = {"artist_alias": dumps.ALIASES, "artist": dumps.ARTISTS, "artist_credit": b"1\tx\n"}
    return [dumps.archive(at / "mbdump.tar.bz2", **rows)]


def _json(at: Path) -> list[Path]:
    rows = dumps.json_lines(
        dumps.json_artist(
            "Zanther Quill",
            **{"type": "Person", "sort-name": "Quill, Zanther"},
            aliases=[{"name": "Quillotharn Vode", "type": "Artist name", "locale": None}],
        ),
        dumps.json_artist(
            "Ozzeldrim", aliases=[{"name": "Ozeldrimm", "type": "Search hint"}], type=None
        ),
        dumps.json_artist("[unknown]", type=None),
        dumps.json_artist("Summer Rain"),
        dumps.json_artist(
            "Brunhold Vexmar", type="Person", **{"life-span": {"end": "1801-03", "ended": True}}
        ),
        dumps.json_artist("Grendl\tMavvick\\"),
        dumps.json_artist("Plovdar Ensk"),
    )
    return [dumps.archive(at / "artist.tar.xz", "xz", artist=rows)]


def _csv(at: Path) -> list[Path]:
    (at / "list.csv").write_bytes(
        b"\xef\xbb\xbfname,aliases,genre\r\nZanther Quill,Quillotharn Vode,jazz\r\nOzzeldrim,,\r\n"
        b'"Grendl\tMavvick\\",,\r\nPlovdar Ensk,,\r\nSummer Rain,,\r\n"[unknown]",,\r\n'
    )
    return [at / "list.csv"]


@pytest.mark.parametrize("lay", [_folder, _tables, _renamed, _archive, _json, _csv])
def test_every_layout_gives_the_same_names(
    lay: Callable[[Path], list[Path]], tmp_path: Path, target: Path
) -> None:
    files = lay(tmp_path)
    told: list[Progress] = []
    made = import_names(files, target, on_progress=told.append)
    assert known(target) == FULL
    assert (made.artists, made.forms) == (4, 5)
    assert told[-1].read == told[-1].size > 0
    kept = ImportedNames(target).about
    assert kept.to_json() == made.to_json() | {"options": kept.options}
    if files[0].is_file():
        digests = {sha256(file.read_bytes()).hexdigest() for file in files}
        assert {one["sha256"] for one in kept.sources} == digests
    assert made.left_out["special purpose"] == 1
    assert target.stat().st_mode & 0o777 == 0o600
    assert in_folder(target.parent) == ["names.db"]


@pytest.fixture
def listed(tmp_path: Path, target: Path) -> Path:
    import_names(_folder(tmp_path), target)
    return target


@pytest.mark.parametrize(
    "prompt",
    ["zanther quill vocals over strings", "in the style of Ozzeldrim", "ozzeldrim type beat",
     "the singer Ozzeldrim", "a Quillotharn Vode chorus", "piano, plovdar ensk"],
)  # fmt: skip
def test_an_imported_name_is_refused(listed: Path, prompt: str) -> None:
    assert decides(listed, prompt) is Action.REFUSE


@pytest.mark.parametrize(
    "prompt",
    ["summer rain on a tin roof", "like summer rain", "a lullaby for Anna", "zanter quil vocals",
     "an ozzeldrim of strings", "rain"],
)  # fmt: skip
def test_everyday_words_and_near_spellings_pass(listed: Path, prompt: str) -> None:
    assert decides(listed, prompt) is Action.ALLOW


def test_a_licensed_artist_of_the_list_passes(listed: Path) -> None:
    assert decides(listed, "in the style of Ozzeldrim", licensed="Ozzeldrim") is Action.ALLOW


def test_what_is_known_of_somebody_is_put_in_place(tmp_path: Path, target: Path) -> None:
    import_names(_csv(tmp_path), target)
    roster = guardrails.load_roster(None, ImportedNames(target))
    policy = Policy(frozenset(), frozenset(), roster, guardrails.parse_actions(
        "named-artist=transform"))  # fmt: skip
    done = guardrails.check("zanther quill piano", policy)
    assert done.action is Action.TRANSFORM and "jazz" in done.prompt_out


def test_figures_of_the_derived_dump_choose(tmp_path: Path, target: Path) -> None:
    derived = dumps.archive(
        tmp_path / "derived.tar.bz2", artist_meta=dumps.META, artist_tag=dumps.TAGS
    )
    files = [*_archive(tmp_path), derived]
    for choice, names in (
        (Choice(min_ratings=3), {"Zanther Quill", "Quillotharn Vode", "Plovdar Ensk"}),
        (Choice(min_tags=1), {"Zanther Quill", "Quillotharn Vode"}),
        (Choice(min_aliases=1), {"Zanther Quill", "Quillotharn Vode"}),
        (Choice(limit=2), {"Zanther Quill", "Quillotharn Vode", "Plovdar Ensk"}),
        (Choice(kinds=("character",)), {"Captain Zorvel"}),
        (Choice(died_from=1700), FULL | {"Brunhold Vexmar"}),
    ):
        import_names(files, target, choice)
        assert known(target) == names, choice


def test_words_of_many_groups_are_everyday_in_some_language(tmp_path: Path, target: Path) -> None:
    many = [dumps.artist(n, f"Noxera Vint{n:x}or") for n in range(1, 31)]
    rare = [dumps.artist(50, "Noxera"), dumps.artist(51, "Noxera Summer"),
            dumps.artist(52, "Lia Noxera", "Noxera, Lia", "person")]  # fmt: skip
    import_names([dumps.folder(tmp_path / "d", artist=dumps.table(*many, *rare))], target)
    assert known(target) & {"Noxera", "Noxera Summer", "Lia Noxera"} == {"Lia Noxera"}


ARTIST = dumps.artist(1, "Zanther Quill")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("artist", b"", "is empty"),
        ("artist", dumps.table(ARTIST, "2\tx"), "line 2: 2 columns, and the table artist has"),
        ("artist", dumps.table(ARTIST, ARTIST.replace("1\t", "one\t", 1)), "line 2: 'one' is no"),
        ("artist", dumps.table(ARTIST)[:40], "line 1: 3 columns"),
        ("artist", dumps.table(ARTIST, ARTIST.replace("Quill", "Qu\0ill")), "line 2: a zero byte"),
        ("artist", dumps.table(ARTIST).replace(b"Quill", b"\xff"), "line 1: not UTF-8"),
        ("list.csv", b"artist\nx\n", "line 1: neither MusicBrainz's columns nor"),
        ("list.csv", b"name\nZanther\n \n", "line 3: the name is empty"),
        ("list.csv", b"name,common\nZanther,maybe\n", "line 2: common is 'maybe'"),
        ("list.csv", b"name\nZanther,more\n", "line 2: more cells"),
        ("list.csv", b'name\n"Zanther\n', "list.csv, line 2: unexpected end"),
        ("list.csv", b"name\n" + b"z" * 200_000 + b"\n", "line 2: field larger"),
        ("list.csv", b"name\n\xff\n", "line 2: not UTF-8"),
        ("artist", b'{"name": "Zanther"}\n{"name": 3}\n', "line 2: no artist with a name"),
        ("artist", b'{"name": "Zanther"\n', "line 1: not JSON"),
        ("artist", b'{"name": "Zan\\ud800"}\n', "line 1: not UTF-8"),
        ("artist", b'{"name": "Zan\\u0000"}\n', "line 1: a zero byte"),
        ("artist", b'{"name": ' + b"[" * 100_000 + b"\n", "line 1: nested too deeply"),
        ("list.csv", b"name\nSummer Rain\nAnna\n", "no artist is left"),
        ("artist_alias", dumps.ALIASES, "no artist is in these files"),
    ],
)
def test_bad_input_is_one_line_and_the_old_list_stays(
    tmp_path: Path, listed: Path, name: str, content: bytes, message: str
) -> None:
    file = tmp_path / "new" / name
    file.parent.mkdir()
    file.write_bytes(content)
    before = listed.read_bytes()
    with pytest.raises(InvalidInput) as caught:
        import_names([file], listed)
    assert message in caught.value.message and "\n" not in caught.value.message
    assert len(caught.value.message) < 400
    assert listed.read_bytes() == before and in_folder(listed.parent) == ["names.db"]


def test_figures_that_no_file_has_cannot_choose(tmp_path: Path, target: Path) -> None:
    with pytest.raises(
        InvalidInput, match="at least 1 ratings are wanted, and these files have no ratings"
    ):
        import_names(_folder(tmp_path), target, Choice(min_ratings=1))
    assert not target.exists()


@pytest.mark.parametrize("form", ["bz2", "xz", ""])
def test_a_file_that_is_cut_off_is_no_list(tmp_path: Path, target: Path, form: str) -> None:
    rows = dumps.table(*(dumps.artist(n, f"Zanther {os.urandom(9).hex()}") for n in range(3000)))
    whole = dumps.archive(tmp_path / "whole.tar", form, artist=rows).read_bytes()
    for share in (0.1, 0.5, 0.9):
        (tmp_path / "cut").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InvalidInput, match=r"ends before|line .* columns|damaged"):
            import_names([tmp_path / "cut"], target)
    (tmp_path / "odd").write_bytes(whole[:2000] + b"\xff" * 3000)
    with pytest.raises(InvalidInput):
        import_names([tmp_path / "odd"], target)
    assert in_folder(target.parent) == []


def test_what_expands_without_end_is_stopped(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_audio.guardrails.bounded_reading._GROWTH_FROM", 2**20)
    monkeypatch.setattr("rag_audio.guardrails.bounded_reading.MAX_LINE", 2**22)
    many = dumps.archive(tmp_path / "a.tar.bz2", artist=dumps.table(ARTIST) * 40_000)
    with pytest.raises(InvalidInput, match="expands to more than 200 times"):
        import_names([many], target)
    (tmp_path / "line").write_bytes(b"\xc3\xa9" * 2**22)
    with pytest.raises(InvalidInput, match="line 1: longer than 4 MiB"):
        import_names([tmp_path / "line"], target)


def test_names_in_an_archive_are_bounded(tmp_path: Path, target: Path) -> None:
    import tarfile

    info = tarfile.TarInfo("x" * 70_000)
    (tmp_path / "long.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024)
    with pytest.raises(InvalidInput, match="a name of 70001 bytes"):
        import_names([tmp_path / "long.tar"], target)


def test_a_damaged_list_is_told(listed: Path) -> None:
    listed.write_bytes(listed.read_bytes()[:5000])
    with pytest.raises(ConfigError, match=r"imported names .* cannot be read"):
        decides(listed, "zanther quill")
    listed.write_bytes(b"no database")
    with pytest.raises(ConfigError, match="is not a database") as caught:
        ImportedNames(listed)
    assert "names refresh" in caught.value.hint


def test_threads_look_names_up_at_once(listed: Path) -> None:
    names = ImportedNames(listed)
    found: list[int] = []

    def look() -> None:
        for _ in range(50):
            found.append(len(list(names.exact(read("with Zanther Quill and Ozzeldrim")))))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2] * 200


@pytest.fixture(scope="module")
def long_list(tmp_path_factory: pytest.TempPathFactory) -> tuple[Policy, Policy]:
    """Without and with a list that has every word of the dictionary as an artist."""
    from rag_audio.guardrails.vocabulary import listed_words

    folder = tmp_path_factory.mktemp("long")
    words = sorted(listed_words("music") | listed_words("given") | listed_words("places"))
    words += sorted(listed_words("english"))[::10]
    pairs = [f"{one} {other}" for one, other in zip(words, words[7:], strict=False)]
    names = [*words, *pairs, "Zanther Quill"]
    rows = dumps.table(*(dumps.artist(n, name.title()) for n, name in enumerate(names, 1)))
    import_names([dumps.folder(folder / "dump", artist=rows)], folder / "names.db")
    plain = guardrails.load_roster(None)
    full = guardrails.load_roster(None, ImportedNames(folder / "names.db"))
    licensed = frozenset({"Copper Lantern Trio"})
    return Policy(licensed, frozenset(), plain), Policy(licensed, frozenset(), full)


@pytest.mark.parametrize("name", ["dev", "heldout", "fresh"])
def test_a_list_of_every_word_refuses_no_more_than_none(
    name: str, long_list: tuple[Policy, Policy]
) -> None:
    from rag_audio.guardrails.prompts import read_labelled

    without, with_list = long_list
    prompts = read_labelled(Path(__file__).parents[1] / "data" / "guardrails" / f"{name}.csv")
    for item in prompts:
        if guardrails.check(item.prompt, without).action is Action.ALLOW:
            assert guardrails.check(item.prompt, with_list).action is Action.ALLOW, item.prompt


NAME_PARTS = st.text("bdfgklmnprstvz", min_size=4, max_size=6).map(lambda t: f"{t}aqo".title())


@settings(max_examples=25, deadline=None)
@given(first=NAME_PARTS, last=NAME_PARTS, shout=st.booleans())
def test_any_full_name_is_found_as_it_is_spelled(
    tmp_path_factory: pytest.TempPathFactory, first: str, last: str, shout: bool
) -> None:
    folder = tmp_path_factory.mktemp("one")
    row = dumps.artist(1, f"{first} {last}", f"{last}, {first}", "person")
    import_names([dumps.folder(folder / "dump", artist=dumps.table(row))], folder / "names.db")
    names = ImportedNames(folder / "names.db")
    prompt = f"soft {first} {last} strings"
    hits = list(names.exact(read(prompt.upper() if shout else prompt.lower())))
    assert [(hit.first, hit.last, hit.form.artist.name) for hit in hits] == [
        (1, 2, f"{first} {last}")
    ]
    names.close()


def test_what_a_killed_import_left_is_removed_by_a_later_one(tmp_path: Path) -> None:
    source = tmp_path / "names.csv"
    source.write_text("name\nOzzeldrim Vantrell\n")
    target = tmp_path / "names.db"
    killed = tmp_path / f".names.db-rows.{'0' * 16}", tmp_path / f".names.db.{'1' * 16}"
    running = tmp_path / f".names.db.{'2' * 16}"
    for left in (*killed, running):
        left.write_bytes(b"half")
    with running.open("rb") as held:
        lock_file(held)
        import_names([source], target)
    assert {path.name for path in tmp_path.iterdir()} == {source.name, target.name, running.name}
