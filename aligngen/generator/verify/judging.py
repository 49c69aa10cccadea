"""Documents through a judge, in order, each asked about once."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from aligngen.core.hashing import Json
from aligngen.generator.ask import Answers, ask
from aligngen.generator.engines.protocol import EngineIdentity, EngineInfo, ManagedEngine
from aligngen.generator.judge import Judge, Verdict, parse_verdict, verdict_constraint

__all__ = ["Judged", "Observer", "describe_judge", "judge_all"]

Key = TypeVar("Key")

WINDOW = 1024
"""Documents held while their answers are out; any engine stays full."""


@dataclass(frozen=True)
class Observer:
    """Who is told: a stage's name, the engine once it runs, how many of how many are judged."""

    stage: Callable[[str], None] = lambda _: None
    engine: Callable[[EngineInfo], None] = lambda _: None
    progress: Callable[[int, int], None] = lambda _done, _of: None
    stop: Callable[[], bool] = lambda: False


class Judged(NamedTuple, Generic[Key]):
    """A case with its verdict."""

    key: Key
    verdict: Verdict
    cut: bool
    """Whether the judge saw head and tail alone."""
    request_id: str


class _Asked(NamedTuple, Generic[Key]):
    key: Key
    document: str
    cut: bool


def judge_all(
    engine: ManagedEngine,
    judge: Judge,
    cases: Iterable[tuple[Key, Mapping[str, object]]],
    answers: Answers,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Judged[Key]]:
    """Yield the verdict on every case, in the order of the cases.

    A case is a key and what `judge_context` returns. Raises UserError before the first question
    where the engine cannot enforce the form of an answer, Interrupted where `stop` says so.
    """
    engine.preflight([verdict_constraint()])
    info = engine.info
    questions = (
        (
            _Asked(key, str(context["document"]), fitted.cut),
            judge.request({**context, "document": fitted.text}, info.identity),
        )
        for key, context in cases
        for fitted in [judge.fit(context, info.max_model_len)]
    )
    for asked, completion in ask(engine, questions, answers, window=WINDOW, stop=stop):
        verdict = parse_verdict(completion, asked.document)
        yield Judged(asked.key, verdict, asked.cut, completion.request_id)


def describe_judge(judge: Judge, identity: EngineIdentity) -> dict[str, Json]:
    """Return who judged: the model, its revision and backend, and the hash of the prompt."""
    return {**identity._asdict(), "prompt": judge.content_hash}
