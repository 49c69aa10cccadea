import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aligngen.core.errors import UserError
from aligngen.generator.audit import (
    compare,
    compression_ratio,
    coverage,
    distinct_n,
    entropy,
    nearest_cosines,
    normalised_entropy,
    open_source,
    self_repetition,
    vendi_score,
)
from aligngen.generator.dedup.text import words
from tests.generator.audit.corpora import row, text, write


class HashEmbedder:
    """Words' hashes as vectors: texts that share words lie near each other."""

    name = "words"

    def encode(self, texts):
        rows = np.zeros((len(texts), 64), dtype=np.float32)
        for counts, one in zip(rows, texts, strict=True):
            np.add.at(counts, [sum(map(ord, w)) % 64 for w in words(one)], 1)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_distinct_n_by_hand():
    texts = ["a b a b", "b c"]
    assert distinct_n(texts, 1) == 3 / 6
    assert distinct_n(texts, 2) == 3 / 4  # a b, b a, a b, b c
    assert distinct_n(texts, 2, tokens=2) == 1
    assert distinct_n(texts, 5) == distinct_n([], 1) == 0
    with pytest.raises(ValueError, match="at least 1"):
        distinct_n(texts, 0)


def test_copies_compress_and_repeat_and_drawn_words_less():
    draw = random.Random(1)
    varied = [text(draw) for _ in range(30)]
    copies = [varied[0]] * 30
    assert compression_ratio(copies) > 5 * compression_ratio(varied)
    assert self_repetition(copies) > self_repetition(varied)
    assert self_repetition(["a b c d e", "v w x y z"]) == 0
    assert self_repetition(["a b c d e", "a b c d z"]) == pytest.approx(math.log(2))
    assert math.isnan(compression_ratio([])) and math.isnan(self_repetition([]))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12))
def test_vendi_of_orthogonal_vectors_is_their_number_and_of_copies_one(count):
    assert vendi_score(np.eye(12)[:count], centred=False) == pytest.approx(count)
    assert vendi_score(np.ones((count, 12)), centred=False) == pytest.approx(1)
    assert vendi_score(np.ones((count, 12))) == 1


def test_vendi_is_that_of_the_similarities_between_all_documents():
    rows = np.random.default_rng(1).normal(size=(40, 8))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(unit @ unit.T / 40)
    shares = eigenvalues[eigenvalues > 1e-12]
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert vendi_score(rows, centred=False) == pytest.approx(expected)


def test_centring_sees_through_what_all_vectors_share():
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(200, 32)) * 0.2
    rows[:, 0] += 3
    assert vendi_score(rows, centred=False) < 3 < 25 < vendi_score(rows)
    assert math.isnan(vendi_score(np.empty((0, 3))))


def test_the_nearest_neighbour_is_another_document():
    found = nearest_cosines(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
    assert found.mean == pytest.approx(2 / 3)
    assert found.quantiles["95"] == pytest.approx(1)
    assert math.isnan(nearest_cosines(np.ones((1, 3))).mean)


def test_rows_of_zeros_are_no_documents():
    rows = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert nearest_cosines(rows) == nearest_cosines(rows[[0, 2]])
    assert vendi_score(rows) == vendi_score(rows[[0, 2]])
    assert vendi_score(rows, centred=False) == pytest.approx(2)
    assert math.isnan(vendi_score(np.zeros((3, 2))))


@pytest.mark.parametrize("count", [2, 40, 1024, 1500])
def test_nearest_neighbours_are_found_across_blocks(count):
    rows = np.random.default_rng(count).normal(size=(count, 4))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ unit.T - 3 * np.eye(count)
    assert nearest_cosines(rows).mean == pytest.approx(cosines.max(axis=1).mean())


def test_entropy_and_coverage_by_hand():
    assert entropy({"a": 1, "b": 1, "c": 2}) == 1.5
    assert entropy({}) == entropy({"a": 5}) == 0
    assert normalised_entropy({"a": 2, "b": 2}) == 1
    assert normalised_entropy({"a": 2, "b": 2}, possible=4) == 0.5
    assert coverage(3, 4) == 0.75 and math.isnan(coverage(0, 0))


def varied_and_templated(folder, count=120):
    draw = random.Random(1)
    varied = write(folder / "varied.jsonl", [row(i, text(draw)) for i in range(count)])
    one = text(draw)
    rows = [row(i, one + " " + text(draw, sentences=1)) for i in range(count)]
    return open_source([varied]), open_source([write(folder / "templated.jsonl", rows)])


def test_a_templated_corpus_is_less_varied_at_equal_count(tmp_path):
    varied, templated = varied_and_templated(tmp_path)
    found = compare(varied, templated, 100, embedder=HashEmbedder())
    assert (found.documents, found.vectors) == (100, 100)
    ratios = {r.measure: r for r in found.ratios}
    for name in ("distinct_2", "distinct_4", "vendi_uncentred"):
        assert ratios[name].low > 1, name
    for name in ("compression_ratio", "nearest_cosine"):
        assert ratios[name].high < 1, name
    assert ratios["self_repetition"].ratio < 1


def test_a_corpus_is_as_varied_as_itself(tmp_path):
    varied, _ = varied_and_templated(tmp_path, 40)
    for ratio in compare(varied, varied, embedder=HashEmbedder()).ratios:
        assert ratio.ratio == pytest.approx(1)
        assert math.isnan(ratio.low) or ratio.low <= 1 <= ratio.high


def test_only_the_beginning_of_a_long_document_is_compared(tmp_path):
    bodies = [f"{text(random.Random(i))} ".ljust(50_000, "x") for i in range(4)]
    short = write(tmp_path / "short.jsonl", [row(i, body) for i, body in enumerate(bodies)])
    rows = [row(i, body + " and more" * 500) for i, body in enumerate(bodies)]
    long = write(tmp_path / "long.jsonl", rows)
    found = compare(open_source([short]), open_source([long]), embedded=0)
    assert {r.ratio for r in found.ratios} == {1.0}


def test_more_documents_than_there_are_cannot_be_compared(tmp_path):
    varied, templated = varied_and_templated(tmp_path, 40)
    with pytest.raises(UserError, match="holds 40 documents, fewer than the 41"):
        compare(varied, templated, 41, embedded=0)
