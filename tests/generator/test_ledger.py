import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aligngen.core.errors import UserError
from aligngen.core.schema import Completion, FinishReason, Outcome
from aligngen.generator.ledger import Ledger, iter_completions


def completion(text: str = "text", request_id: str = "r") -> Completion:
    return Completion(request_id, text, FinishReason.STOP, 7, 11, 3, 0.5)


def test_an_attempt_can_be_written_only_once(tmp_path: Path):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.record(1, 0, completion(), Outcome.TRUNCATED)
        with pytest.raises(sqlite3.IntegrityError):
            ledger.record(1, 0, completion(), Outcome.EMPTY)


def test_attempts_come_back_in_slot_order_with_all_they_hold(tmp_path: Path):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.record(5, 1, completion("b"), Outcome.CANDIDATE, sketch=b"s")
        ledger.record(5, 0, completion("a"), Outcome.REPETITION, detail="loop", score=0.5)
        ledger.record(2, 0, completion("c"), Outcome.CANDIDATE, sketch=b"t")
        ledger.decide(2, 0, Outcome.KEPT)
        ledger.decide(5, 1, Outcome.DUPLICATE_NEAR, score=0.9, twin=2)
    with Ledger.read(tmp_path / "l.sqlite") as ledger:
        rows = list(ledger.attempts())
        assert [(a.slot, a.number, a.outcome) for a in rows] == [
            (2, 0, Outcome.KEPT), (5, 0, Outcome.REPETITION), (5, 1, Outcome.DUPLICATE_NEAR),
        ]  # fmt: skip
        assert (rows[1].detail, rows[1].score, rows[2].twin) == ("loop", 0.5, 2)
        assert [a.slot for a in ledger.attempts(3)] == [5, 5]
        assert list(ledger.decided_sketches(5)) == [(2, Outcome.KEPT, b"t")]
        assert [(a.slot, text) for a, text in ledger.kept()] == [(2, "c")]
        assert ledger.text(2) == "c" and ledger.text(5, 0) == "a"
    texts = [c.text for c in iter_completions(tmp_path / "l.sqlite")]
    assert texts == ["c", "a", "b"]


def test_a_decision_changes_a_candidate_and_nothing_else(tmp_path: Path):
    with Ledger.open(tmp_path / "l.sqlite") as ledger:
        ledger.record(1, 0, completion(), Outcome.CANDIDATE)
        ledger.decide(1, 0, Outcome.KEPT)
        ledger.decide(1, 0, Outcome.DUPLICATE_NEAR)
        ledger.commit()
        assert ledger.counts() == {Outcome.KEPT: 1}


@given(text=st.text(st.characters(codec=None), max_size=300))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives_a_round_trip_or_is_escaped(tmp_path: Path, text: str):
    path = tmp_path / "l.sqlite"
    path.unlink(missing_ok=True)
    with Ledger.open(path) as ledger:
        ledger.record(0, 0, completion(text), Outcome.EMPTY)
        ledger.commit()
        stored = ledger.text(0, 0)
    try:
        text.encode()
    except UnicodeEncodeError:
        assert stored == text.encode("utf-8", "backslashreplace").decode()
    else:
        assert stored == text


def test_what_was_not_committed_is_gone_and_what_was_is_there(tmp_path: Path):
    ledger = Ledger.open(tmp_path / "l.sqlite")
    ledger.record(0, 0, completion(), Outcome.EMPTY)
    ledger.commit()
    ledger.record(1, 0, completion(), Outcome.EMPTY)
    ledger._db.close()  # as a kill would
    with Ledger.read(tmp_path / "l.sqlite") as again:
        assert [a.slot for a in again.attempts()] == [0]


def test_a_damaged_ledger_is_named(tmp_path: Path):
    path = tmp_path / "l.sqlite"
    path.write_bytes(b"this was never a database, it is only text" * 50)
    with pytest.raises(UserError, match=r"l\.sqlite: the ledger is damaged: .*Restore it"):
        Ledger.open(path)


def test_damage_within_is_named_when_it_is_read(tmp_path: Path):
    path = tmp_path / "l.sqlite"
    with Ledger.open(path) as ledger:
        for i in range(2000):
            ledger.record(i, 0, completion("x" * 500), Outcome.EMPTY)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400_000] = b"\xff" * 400_000
    path.write_bytes(data)
    with pytest.raises(UserError, match="the ledger is damaged"):
        list(iter_completions(path))


def test_another_database_is_not_taken_for_a_ledger(tmp_path: Path):
    path = tmp_path / "l.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE t (x)")
    db.commit()
    db.close()
    with pytest.raises(UserError, match="not a ledger of this version"):
        Ledger.open(path)


def test_a_missing_ledger_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="no ledger there"):
        Ledger.read(tmp_path / "nothing.sqlite")
