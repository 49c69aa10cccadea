from dataclasses import fields, replace

import pytest

from aligngen.core.schema import Constraint, Message, Request, Sampling

REQUEST = Request(
    messages=(Message("system", "You write."), Message("user", "Write a memo.")),
    sampling=Sampling(),
    constraint=Constraint("json", '{"type":"object"}'),
    model="a-model",
    revision="1",
    template_version="abc",
    backend="vllm/guidance",
)

CHANGES = {
    "messages": [
        (Message("system", "You write!"), REQUEST.messages[1]),
        (REQUEST.messages[0], Message("user", "Write a letter.")),
        (REQUEST.messages[0], Message("assistant", "Write a memo.")),
        REQUEST.messages[:1],
    ],
    "constraint": [None, Constraint("regex", '{"type":"object"}'), Constraint("json", "{}")],
    "model": ["another"],
    "revision": ["2"],
    "template_version": ["abd"],
    "backend": ["vllm/xgrammar"],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in CHANGES.items() for v in vs])
def test_changing_a_field_changes_the_request_id(name, value):
    assert replace(REQUEST, **{name: value}).request_id != REQUEST.request_id


@pytest.mark.parametrize("name", list(Sampling.model_fields))
def test_changing_a_sampling_parameter_changes_the_request_id(name):
    before = getattr(REQUEST.sampling, name)
    after = before + 1 if isinstance(before, int) else before / 2
    changed = replace(REQUEST, sampling=REQUEST.sampling.model_copy(update={name: after}))
    assert changed.request_id != REQUEST.request_id


def test_no_field_is_left_out_of_these_tests():
    covered = {*CHANGES, "sampling", "request_id"}
    assert covered == {f.name for f in fields(Request)}


def test_the_same_request_has_the_same_id_in_every_process():
    assert replace(REQUEST).request_id == REQUEST.request_id
    assert REQUEST.request_id == "4639a04ae8e70fc1a57dbf70a1513169"
