"""Source texts good and bad, and the passages cut from them."""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aligngen.core.errors import UserError
from aligngen.generator.scenarios.language import english_share
from aligngen.generator.scenarios.markup import HtmlText
from aligngen.generator.scenarios.passages import (
    BadPassage,
    Passage,
    PassageReason,
    read_passages,
    require_paths,
)

EXAMPLES = Path(__file__).parents[3] / "examples" / "passages"
PROSE = (
    "The keeper of the lamp wrote down every ship that passed, and at each month's end she sent "
    "the list to the mainland. Nobody there had ever read it. She knew, because for two years she "
    "had put the same mistake on the third page, and nobody had said a word about it."
)
GERMAN = (
    "Der Wärter schrieb jedes Schiff auf, das vorbeifuhr, und schickte jeden Monat eine Liste "
    "an das Amt. Dort hat sie niemand gelesen. Er wusste es, weil er seit zwei Jahren denselben "
    "Fehler auf die dritte Seite schrieb und niemand ein Wort darüber verlor."
)


def read(path: Path, words: int = 60) -> list[Passage | BadPassage]:
    return list(read_passages([path], words))


def save(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def reasons(results) -> list[tuple[str, int]]:
    return [(r.reason.value, r.line) for r in results if isinstance(r, BadPassage)]


def test_paragraphs_are_gathered_up_to_the_size_and_no_word_is_lost(tmp_path):
    text = "\n\n".join([PROSE] * 7)
    results = read(save(tmp_path / "a.txt", text), words=130)
    size = len(PROSE.split())
    assert [len(p.text.split()) for p in results] == [2 * size] * 3 + [size]
    assert " ".join(p.text for p in results).split() == text.split()
    assert results[0].text == f"{PROSE}\n\n{PROSE}"
    assert [(p.number, p.line) for p in results] == [(0, 1), (1, 5), (2, 9), (3, 13)]


def test_a_long_paragraph_is_cut_at_a_sentence(tmp_path):
    results = read(save(tmp_path / "a.txt", " ".join([PROSE] * 5)), words=60)
    assert all(p.text.endswith(".") for p in results)
    assert all(len(p.text.split()) <= 60 for p in results)


@pytest.mark.parametrize(
    ("name", "content", "reason", "line"),
    [
        ("a.txt", "", PassageReason.EMPTY, 1),
        ("a.txt", " \n\n\t\n", PassageReason.EMPTY, 1),
        ("a.html", "<html><script>x = 1</script></html>", PassageReason.EMPTY, 1),
        ("a.txt", "\n\nToo few words to ask about.", PassageReason.TOO_SHORT, 3),
        ("a.txt", GERMAN, PassageReason.WRONG_LANGUAGE, 1),
        ("a.txt", PROSE.encode() + b" caf\xe9", PassageReason.NOT_UTF8, 1),
        ("a.txt", PROSE + "\n\n\x00\x01", PassageReason.BINARY, 3),
        ("a.txt", PROSE.encode("utf-16"), PassageReason.BINARY, 1),
        ("a.txt", "x" * 5000, PassageReason.TOO_LONG, 1),
        ("a.html", "<p>ok</p>\n<!-- " + "never > " * 40_000, PassageReason.TOO_LONG, 2),
        ("a.html", f"<p>ok</p>\n<!-- {PROSE}", PassageReason.TOO_LONG, 2),
        ("a.md", f"ok\n<!-- {PROSE}", PassageReason.TOO_LONG, 2),
        ("a.md", f"---\ntitle: x\n{PROSE}", PassageReason.TOO_LONG, 3),
    ],
)
def test_what_is_no_passage_is_named_with_its_line(tmp_path, name, content, reason, line):
    results = read(save(tmp_path / name, content))
    assert (reason.value, line) in reasons(results)
    assert not any(isinstance(r, Passage) for r in results)


def test_bad_stretches_do_not_take_the_good_ones_with_them(tmp_path):
    parts = [PROSE, GERMAN, "\udce9 " + PROSE, "Too short.", PROSE]
    content = "\n\n".join(parts).encode("utf-8", "surrogateescape")
    results = read(save(tmp_path / "a.txt", content), words=55)
    assert reasons(results) == [("wrong_language", 3), ("not_utf8", 5)]
    assert [(p.number, p.line) for p in results if isinstance(p, Passage)] == [(0, 1), (1, 7)]


def test_html_gives_its_prose_and_nothing_else(tmp_path):
    page = f"""<html><head><title>Title</title><style>p {{}}</style>
    <script>if (a < b) document.write("<p>evil</p>");</script></head><body><nav>Home</nav>
    <h1>Heading</h1><p>{PROSE.replace("She knew", "She &amp; I kn&eacute;w")}<br>
    <a href="x">Read</a> <b>on</b>.</p><form><p>{PROSE}</p></form><footer>Foot</footer></body>"""
    [one] = read(save(tmp_path / "a.html", page), words=250)
    first, second, third = one.text.split("\n\n")
    assert "She & I knéw" in first
    assert (second, third) == ("Read on.", PROSE)
    for word in ("Title", "evil", "Home", "Heading", "Foot", "{"):
        assert word not in one.text


def test_a_tag_that_holds_a_whole_image_is_passed_over(tmp_path):
    image = "A" * 300_000
    page = f'<p>{PROSE}\n<img src="data:image/png;base64,{image}">\n{PROSE}</p>'
    one, two = read(save(tmp_path / "a.html", page))
    assert (one.text, two.text) == (PROSE, PROSE)
    assert two.line >= 2


def test_markdown_gives_its_prose_and_nothing_else(tmp_path):
    page = f"""---
title: nothing
---
# Heading

{PROSE.replace("the list", "[the **list**](http://a.b/c)")}
<!-- a comment --> ![an image](x.png)

```python
code = 1
```

| a | table |
"""
    [one] = read(save(tmp_path / "a.md", page))
    assert one.text == PROSE
    assert one.line == 6


@pytest.mark.parametrize(
    "around",
    [
        "---\n\n{}",
        "````\n```\ncode\n```\n````\n{}",
        "```\n~~~\ncode\n```\n{}",
        "<!-- a note\nover lines -->\n{}",
        "---\r\ntitle: x\r\n---\r\n# Heading\r\n{}\r\n",
    ],
)
def test_markdown_that_is_no_prose_ends_where_it_ends(tmp_path, around):
    [one] = read(save(tmp_path / "a.md", around.format(PROSE)))
    assert one.text == PROSE


def test_code_within_a_line_opens_no_block(tmp_path):
    [one] = read(save(tmp_path / "a.md", f"```make``` builds it.\n{PROSE}"))
    assert one.text == f"make builds it. {PROSE}"


@pytest.mark.parametrize("page", ["<h2>Title<p>{}", "<title>Title<p>{}", "<h1>A<h2>B<p>{}</p>"])
def test_a_heading_that_is_never_closed_takes_no_paragraph_with_it(tmp_path, page):
    [one] = read(save(tmp_path / "a.html", page.format(PROSE)))
    assert one.text == PROSE


def test_every_file_has_a_name_of_its_own(tmp_path):
    for name in ("a.md", "a.txt", "a-2.txt", "a-2.html"):
        save(tmp_path / name, PROSE)
    names = [p.name for p in read(tmp_path)]
    assert len(set(names)) == len(names) == 4


def test_a_folder_is_read_in_order_and_other_files_are_named(tmp_path):
    save(tmp_path / "b.txt", PROSE)
    save(tmp_path / "a.jpg", b"\xff\xd8")
    (tmp_path / "sub").mkdir()
    save(tmp_path / "sub" / "b.md", PROSE)
    (tmp_path / ".git").mkdir()
    save(tmp_path / ".git" / "c.txt", PROSE)
    results = read(tmp_path)
    assert reasons(results) == [("unknown_format", 1)]
    assert [p.name for p in results if isinstance(p, Passage)] == ["b", "b-2"]


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        require_paths([tmp_path / "nothing"])


@pytest.mark.parametrize("kind", ["one word", "one script", "prose on one line"])
def test_memory_does_not_grow_with_the_file(tmp_path, kind):
    path = tmp_path / ("a.html" if kind == "one script" else "a.txt")
    with path.open("w") as file:
        file.write("<p>ok</p><script>" if kind == "one script" else "")
        unit = PROSE + " " if kind == "prose on one line" else "x" * 100_000
        for _ in range(1_500_000 // len(unit)):
            file.write(unit)
    tracemalloc.start()
    count = sum(1 for _ in read_passages([path], 250))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count >= 1
    assert peak < 2_000_000


@given(st.text(alphabet="<>/!-[]?&;#ax \n\"'=ps", max_size=60))
@settings(max_examples=150, deadline=None)
def test_no_markup_breaks_the_reader(text):
    reader = HtmlText()
    pieces = [*reader.feed(text), *reader.feed(text[::-1]), *reader.close()]
    assert all(piece.line >= 1 for piece in pieces)


def test_languages_are_told_apart():
    french = (
        "Le gardien notait chaque navire qui passait, et à la fin du mois il envoyait la liste."
    )
    assert english_share(PROSE) > 0.35
    assert english_share(GERMAN) < 0.1
    assert english_share(french) < 0.1


def test_the_examples_are_passages_throughout():
    results = list(read_passages([EXAMPLES], 250))
    assert len(results) >= 2
    assert all(isinstance(r, Passage) for r in results)
