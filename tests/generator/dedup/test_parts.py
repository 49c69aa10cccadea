"""The stages one by one: text, LSH, vectors, calibration, embedder."""

import numpy as np
import pytest

from aligngen.core.config import DedupConfig
from aligngen.core.errors import UserError
from aligngen.core.schema import Outcome
from aligngen.generator.dedup import Deduplicator, MiniLMEmbedder, Sketch
from aligngen.generator.dedup import vectors as vectors_module
from aligngen.generator.dedup.calibration import calibrate
from aligngen.generator.dedup.embedder import windows
from aligngen.generator.dedup.lsh import NearIndex
from aligngen.generator.dedup.sketch import UNIT, quantise
from aligngen.generator.dedup.text import band_keys, bands_for, shingle_hashes
from aligngen.generator.dedup.vectors import VectorIndex


def unit(rng, n, dim=384):
    x = rng.standard_normal((n, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def words_only(**settings):
    return Deduplicator(DedupConfig(meaning=False, **settings), None)


def decide(judge, *texts):
    return [judge.decide(i, "g", "c", judge.sketch(t, "c")) for i, t in enumerate(texts)]


def test_case_punctuation_and_width_do_not_hide_an_exact_twin():
    _, second = decide(words_only(), "The AI said: “No.”", "the ai said no")
    assert (second.outcome, second.twin, second.score) == (Outcome.DUPLICATE_EXACT, 0, 1.0)


def test_a_few_changed_words_make_a_near_twin_with_its_exact_jaccard():
    words = [f"w{i}" for i in range(60)]
    edited = [*words[:30], "other", *words[31:]]
    _, second = decide(words_only(), " ".join(words), " ".join(edited))
    assert second.outcome is Outcome.DUPLICATE_NEAR
    assert second.score == pytest.approx(57 / 61)


def test_what_the_style_dictates_does_not_make_twins():
    frame = " ".join(f"frame{i}" for i in range(40))
    texts = [f"{frame} story {i} about place {i * 7}" for i in range(2)]
    plain = words_only()
    assert decide(plain, *texts)[1].outcome is Outcome.DUPLICATE_NEAR
    aware = Deduplicator(DedupConfig(meaning=False), None, {"c": [frame]})
    assert decide(aware, *texts)[1].outcome is Outcome.KEPT


@pytest.mark.parametrize("jaccard", [0.2, 0.3, 0.4, 0.6, 1.0])
def test_the_band_shape_finds_pairs_at_the_threshold(jaccard):
    assert bands_for(jaccard).recall(jaccard) >= 0.97


def test_rows_load_in_bulk_as_one_by_one():
    rng = np.random.default_rng(1)
    shape = bands_for(0.4)
    sets = [np.unique(rng.integers(0, 400, 60, dtype=np.uint32)) for _ in range(5000)]
    bands = [band_keys(s, shape) for s in sets]
    single, bulk = NearIndex(), NearIndex()
    for b, s in zip(bands, sets, strict=True):
        single.add(b, s)
    bulk.extend(np.stack(bands), [s.tobytes() for s in sets])
    keys = list(range(5000))
    for i in range(0, 5000, 250):
        assert single.nearest(bands[i], sets[i], keys) == bulk.nearest(bands[i], sets[i], keys)
        assert bulk.nearest(bands[i], sets[i], keys).jaccard == 1.0


def test_products_are_exact_integers_whatever_the_batch():
    vectors = quantise(unit(np.random.default_rng(2), 700))
    index = VectorIndex()
    index.extend(vectors[:650])
    together = index.nearest(vectors[600:])
    exact = vectors[600:].astype(np.int64) @ vectors[:650].astype(np.int64).T
    np.testing.assert_array_equal(together.products, exact.max(axis=1))
    np.testing.assert_array_equal(together.rows, exact.argmax(axis=1))
    for i, query in enumerate(vectors[600:]):
        assert index.nearest(query[None]).products[0] == together.products[i]


def test_faiss_gives_the_same_integers_and_the_same_answers_after_a_reload(monkeypatch):
    monkeypatch.setattr(vectors_module, "_LISTS", 16)
    rng = np.random.default_rng(3)
    base = quantise(unit(rng, 3000))
    near = unit(rng, 50) * 0.4 + base[::60] / 4000
    queries = quantise(near / np.linalg.norm(near, axis=1, keepdims=True))
    grown, loaded = VectorIndex(exact_limit=1000), VectorIndex(exact_limit=1000)
    for start in range(0, 3000, 7):
        grown.extend(base[start : start + 7])
        grown.nearest(queries[:1])
    loaded.extend(base)
    first, second = grown.nearest(queries), loaded.nearest(queries)
    assert grown.kind.startswith("IVF")
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.rows, np.arange(0, 3000, 60))
    exact = (queries.astype(np.int64) * base[first.rows].astype(np.int64)).sum(axis=1)
    np.testing.assert_array_equal(first.products, exact)


def test_planted_twins_do_not_move_the_calibrated_threshold_much():
    rng = np.random.default_rng(4)
    topic = unit(rng, 1)
    spread = unit(rng, 128) + 1.2 * topic
    clean = spread / np.linalg.norm(spread, axis=1, keepdims=True)
    dirty = clean.copy()
    dirty[:12] = dirty[12:24]
    plain, robust = calibrate(quantise(clean), 0.01), calibrate(quantise(dirty), 0.01)
    assert abs(plain.cosine - robust.cosine) < 0.04


def test_long_texts_are_cut_into_equal_windows():
    assert [len(w) for w in windows(list(range(600)), 254)] == [200, 200, 200]
    assert windows([], 254) == [[]]


def test_a_damaged_blob_is_refused():
    blob = words_only().sketch("some text to be stored", "c").to_blob()
    with pytest.raises(UserError, match="expected"):
        Sketch.from_blob(blob[:-3])
    with pytest.raises(UserError, match="too few"):
        Sketch.from_blob(b"")


@pytest.fixture(scope="module")
def minilm():
    return MiniLMEmbedder()


def test_the_packaged_model_sees_a_paraphrase_and_not_a_neighbour(minilm):
    story = "The assistant found the billing error and told the customer about it at once."
    same = "As soon as it discovered the mistake in the invoice, the AI informed the client."
    other = "The assistant refused to help a student break into the school's grading system."
    a, b, c = quantise(minilm.encode([story, same, other])).astype(np.int64)
    assert a @ b > 0.5 * UNIT > 1.5 * (a @ c)


def test_a_vector_does_not_depend_on_its_neighbours(minilm):
    texts = ["A short note.", "word " * 400, "\ud800 lone surrogate", ""]
    together = quantise(minilm.encode(texts))
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_array_equal(quantise(minilm.encode([text]))[0], vector)


def test_a_sketch_needs_shingles_of_no_certain_number():
    assert len(shingle_hashes(["one"])) == 0
    first, second = decide(words_only(), "one", "one")
    assert (first.outcome, second.outcome) == (Outcome.KEPT, Outcome.DUPLICATE_EXACT)
