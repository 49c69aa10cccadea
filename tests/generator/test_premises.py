from hypothesis import given
from hypothesis import strategies as st

from aligngen.core.schema import Idea
from aligngen.generator.premises import GIVEN_UP, LAG, SHOWN, Memory, Premises, Visit, choose


def test_the_first_visits_are_shown_nothing_and_wait_for_nobody():
    premises = Premises({"b": 5})
    assert [premises.shown("b", visit) for visit in range(5, 5 + LAG)] == [Memory(())] * LAG


def test_a_visit_waits_for_the_oldest_premise_it_misses_and_then_sees_them_in_order():
    premises = Premises({"b": 0})
    assert premises.shown("b", LAG + 1) == Visit("b", 0)
    premises.put("b", 1, "second")
    assert premises.shown("b", LAG + 1) == Visit("b", 0)
    premises.put("b", 0, "first")
    assert premises.shown("b", LAG + 1) == Memory(("first", "second"))


def test_a_premise_that_never_came_holds_nobody_up_and_is_not_shown():
    premises = Premises({"b": 0})
    premises.put("b", 0, GIVEN_UP)
    premises.put("b", 1, "second")
    assert premises.shown("b", LAG + 1) == Memory(("second",))


@given(st.permutations(range(60)))
def test_what_is_shown_does_not_depend_on_the_order_of_arrival(order):
    premises = Premises({"b": 0})
    for visit in order:
        premises.put("b", visit, f"p{visit}")
    shown = premises.shown("b", 59)
    assert isinstance(shown, Memory)
    assert shown.premises == tuple(f"p{v}" for v in range(59 - LAG - SHOWN + 1, 59 - LAG + 1))


def test_the_idea_least_like_the_used_ones_is_taken_and_of_equals_the_least_probable():
    ideas = [Idea("a ferry at night", 60), Idea("a mill in spring", 30), Idea("an old quarry", 10)]
    assert choose(ideas, ["an old quarry", "a ferry at dawn"]) == "a mill in spring"
    assert choose(ideas, []) == "an old quarry"
