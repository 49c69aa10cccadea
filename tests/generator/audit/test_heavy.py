from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aligngen.generator.audit import HeavyHitters

STREAMS = st.lists(st.lists(st.integers(0, 40), max_size=60), max_size=12)


@settings(max_examples=60, deadline=None)
@given(STREAMS, st.integers(1, 30))
def test_every_key_more_frequent_than_the_error_is_found(stream, counters):
    summary, truth = HeavyHitters(counters), Counter()
    for part in stream:
        summary.update(np.array(part, dtype=np.uint64))
        truth.update(part)
    found = dict(zip(*(column.tolist() for column in summary.items()), strict=True))
    assert len(found) <= counters
    assert summary.seen == truth.total()
    assert summary.error <= truth.total() / (counters + 1)
    for key, count in truth.items():
        assert count - summary.error <= found.get(key, 0) <= count


def test_nothing_is_lost_where_all_keys_fit():
    summary = HeavyHitters(4)
    summary.update(np.array([1, 2, 2, 3, 3, 3], dtype=np.uint64))
    assert [column.tolist() for column in summary.items()] == [[1, 2, 3], [1, 2, 3]]
    assert summary.error == 0


def test_no_counter_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        HeavyHitters(0)
