"""Casts: which names, how often, and what is wrong with a list."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aligngen.core.errors import UserError
from aligngen.generator.cast import LISTS, CastLists, load_cast
from aligngen.generator.slop import load_bans

CAST = load_cast()
SMALL = {
    "given_names": "Ania\nBogdan\nCiro\nDalia\n",
    "family_names": "Aalto\nBabic\nCisse\n",
    "organisations": "the Harrow Lane cooperative\n",
    "places": "Oldmere\n",
    "ai_names": "Thimble\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in SMALL.items():
        (tmp_path / f"{name}.txt").write_text(text)
    return tmp_path


@given(st.integers())
def test_a_seed_has_one_cast_and_its_people_share_no_name(seed):
    cast = CAST.draw(seed)
    assert cast == load_cast().draw(seed)
    given, family = zip(*(person.split() for person in cast.people), strict=True)
    assert len(set(given)) == len(set(family)) == 3


def test_a_seed_keeps_its_cast_from_version_to_version():
    lists = CastLists(*(tuple(f"{chr(65 + i)}a" for i in range(26)) for _ in LISTS))
    cast = lists.draw(7)
    assert cast.people == ("Ta Xa", "Ga Wa", "Ka Ja")
    assert (cast.organisation, cast.place, cast.ai) == ("Ya", "Wa", "Ea")


def test_every_name_is_drawn_about_as_often_as_any_other(folder):
    lists = load_cast(folder)
    seeds = range(4000)
    drawn = Counter(p.split()[0] for seed in seeds for p in lists.draw(seed).people)
    expected = 3 * len(seeds) / 4
    assert set(drawn) == {"Ania", "Bogdan", "Ciro", "Dalia"}
    assert all(abs(n - expected) < 0.05 * expected for n in drawn.values())
    first = Counter(lists.draw(seed).people[0].split()[0] for seed in seeds)
    assert all(abs(n - 1000) < 120 for n in first.values())


def test_the_packaged_lists_are_long_and_of_plain_words():
    least = {"given_names": 400, "family_names": 400, "organisations": 150, "places": 200,
             "ai_names": 120}  # fmt: skip
    for name, count in least.items():
        names = getattr(CAST, name)
        assert len(names) >= count, name
        for word in " ".join(names).split():
            assert re.fullmatch(r"[A-Z][a-z]{0,13}|[a-z]{1,14}", word), word


def test_no_packaged_name_is_banned():
    bans = load_bans()
    for name in LISTS:
        for entry in getattr(CAST, name):
            assert bans.find({"title": entry}, f"They met {entry} there.") is None, entry


KNOWN = """Abebe Bikila, Aino Aalto, Alfonso Ribeiro, Aliou Cisse, Amadou Diallo, Antonin Dvorak,
Antonin Novotny, Arjun Kapoor, Bedrich Smetana, Brendan Byrne, Burak Yilmaz, Cillian Murphy,
Djibril Cisse, Dolores Huerta, Elfriede Jelinek, Fabrice Santoro, Ferenc Molnar, Fredrik Ljungberg,
Georgi Dimitrov, Ibrahima Konate, Istvan Szabo, Javier Aguirre, Jelena Jankovic, Jerzy Dudek,
Jiri Prochazka, Justyna Kowalczyk, Kateryna Bondarenko, Kazimierz Gorski, Kwame Appiah,
Mustafa Suleiman, Ngozi Okonjo, Nuno Mendes, Oleg Antonov, Piotr Zielinski, Roald Dahl"""


def test_no_cast_has_a_person_whom_many_know():
    for person in KNOWN.split(","):
        given, family = person.split()
        assert given not in CAST.given_names or family not in CAST.family_names, person


@given(st.integers())
def test_the_ai_of_a_cast_is_named_by_nothing_else_in_it(seed):
    cast = CAST.draw(seed)
    rest = " ".join((*cast.people, cast.organisation, cast.place)).casefold().split()
    assert cast.ai.casefold() not in rest


def test_everything_a_cast_names_is_said():
    cast = CAST.draw(3)
    assert all(name in cast.said() for name in (*cast.people, *cast[1:]))


def test_comments_and_empty_lines_are_passed_over(folder):
    (folder / "places.txt").write_text("# Places\n\n  Oldmere  \nNew Kelp\n")
    assert load_cast(folder).places == ("Oldmere", "New Kelp")


def test_another_order_is_another_hash(folder):
    before = load_cast(folder).content_hash
    (folder / "places.txt").write_text("# A remark changes no draw\nOldmere\n")
    assert load_cast(folder).content_hash == before
    (folder / "family_names.txt").write_text("Babic\nAalto\nCisse\n")
    assert load_cast(folder).content_hash != before


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("places", "Oldmere\n\nOldmere\n", "places.txt:3: 'Oldmere' stands twice, first on line 1"),
        ("places", "# nothing\n", "places.txt: holds no names"),
        ("places", "OldMere\n", "places.txt:1: 'OldMere' is not made of plain words"),
        ("places", "by the sea\n", "places.txt:1: 'by the sea' is not made of plain words"),
        ("given_names", "Zoë\n", "given_names.txt:1: 'Zoë' is not made of plain words"),
        ("given_names", "Mary Ann\n", "given_names.txt:1: 'Mary Ann' is not made of plain words"),
        ("given_names", "Ania\nCiro\n", "given_names.txt: holds 2 names, a cast has 3 people"),
        ("ai_names", "Thimble\nCiro\n", "ai_names.txt:2: 'Ciro' stands in given_names.txt too"),
        ("ai_names", "Thimble\nHarrow\n", "ai_names.txt:2: 'Harrow' stands in organisations.txt"),
        ("ai_names", "Oldmere\n", "ai_names.txt:1: 'Oldmere' stands in places.txt"),
        ("ai_names", "Lane\n", "ai_names.txt:1: 'Lane' stands in organisations.txt"),
        ("ai_names", "Cooperative\n", "ai_names.txt:1: 'Cooperative' stands in organisations.txt"),
        ("ai_names", None, "ai_names.txt: no such file"),
        ("ai_names", b"Thimbl\xe9\n", "ai_names.txt: not UTF-8 at byte 6"),
    ],
)
def test_a_bad_list_is_named(folder, name, text, message):
    path = folder / f"{name}.txt"
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match="^" + re.escape(f"{folder}/{message}")):
        load_cast(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="none: no such folder"):
        load_cast(tmp_path / "none")
