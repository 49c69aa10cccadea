import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
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


def test_parquet_rows_keep_their_id_and_half_a_surrogate_is_counted_out(tmp_path: Path):
    pq.write_table(pa.table({"id": ["x", None], "text": [PAGE, PAGE]}), tmp_path / "p.parquet")
    import_passages(tmp_path / "p.parquet", tmp_path / "pages.sqlite")
    pages = Passages.open(tmp_path / "pages.sqlite")
    assert [pages[i].id for i in range(2)] == ["x", "p.parquet:1"]
    rows = [PAGE, PAGE + "\ud83d"]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in rows))
    import_passages(tmp_path / "p.jsonl", tmp_path / "pages.sqlite")
    pages = Passages.open(tmp_path / "pages.sqlite")
    assert len(pages) == 1
    assert pages.report["left out, with half a surrogate pair"] == "1"


def test_a_book_without_dividers_does_not_fill_the_memory(tmp_path: Path):
    source = tmp_path / "book.txt"
    source.write_text((PAGE + "\n") * 20_000 + "\n\n\n" + PAGE)
    tracemalloc.start()
    import_passages(source, tmp_path / "pages.sqlite")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(Passages.open(tmp_path / "pages.sqlite")) == 1
    assert peak < source.stat().st_size / 2


def test_missing_pages_of_a_run_are_named(tmp_path: Path):
    with pytest.raises(UserError, match="the run's pages are missing"):
        Passages.open(tmp_path / "pages.sqlite")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no page of 20 to 800 words"),
        (b"\xff\xfe kiln", "not UTF-8 at byte 0 of the line"),
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
