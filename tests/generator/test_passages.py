import json
from pathlib import Path

import pytest

from aligngen.core.errors import UserError
from aligngen.generator.passages import Passages, import_passages

PAGE = "The kiln was lit before dawn and the potter counted the shelves twice. " * 3


def test_the_pages_of_a_text_file_are_divided_by_three_empty_lines(tmp_path: Path):
    source = tmp_path / "book.txt"
    source.write_text(f"{PAGE}\n\nStill the first.\n\n\n\n{PAGE} Second.\n\n\n\nToo short.\n")
    import_passages(source, tmp_path / "pages.sqlite")
    pages = Passages.open(tmp_path / "pages.sqlite")
    assert len(pages) == 2
    assert pages[0].id == "book.txt:0" and pages[0].text.endswith("Still the first.")
    assert pages[1].text.endswith("Second.")
    assert pages.report["left out, under 20 words"] == "1"


def test_rows_keep_their_own_id_and_long_ones_are_counted_out(tmp_path: Path):
    source = tmp_path / "pages.jsonl"
    rows = [{"id": "a", "text": PAGE}, {"text": PAGE + "x"}, {"id": "c", "text": "word " * 900}]
    source.write_text("".join(json.dumps(r) + "\n" for r in rows))
    import_passages(source, tmp_path / "pages.sqlite")
    pages = Passages.open(tmp_path / "pages.sqlite")
    assert [pages[i].id for i in range(len(pages))] == ["a", "pages.jsonl:1"]
    assert pages.report["left out, over 800 words"] == "1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no page of 20 to 800 words"),
        (b"\xff\xfe kiln", "not UTF-8 at byte 0"),
        (b"x" * (1 << 20) + b"xx", "line 1: a line of more than"),
    ],
)
def test_a_file_without_prose_is_refused_and_leaves_nothing(tmp_path: Path, content, message):
    source = tmp_path / "bad.txt"
    source.write_bytes(content)
    with pytest.raises(UserError) as error:
        import_passages(source, tmp_path / "pages.sqlite")
    assert message in str(error.value).replace(":1:", ": line 1:")
    assert list(tmp_path.iterdir()) == [source]


def test_a_file_that_changed_under_a_run_is_refused(tmp_path: Path):
    source = tmp_path / "book.txt"
    source.write_text(PAGE)
    import_passages(source, tmp_path / "pages.sqlite")
    pages = Passages.open(tmp_path / "pages.sqlite")
    pages.refuse_change(source)
    source.write_text(PAGE + "More.")
    with pytest.raises(UserError, match="changed since this run took its pages"):
        pages.refuse_change(source)
    source.unlink()
    pages.refuse_change(source)  # The run has its own copy.
