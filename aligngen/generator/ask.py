"""Many independent requests through an engine, each answered exactly once.

For what is no corpus: scenario records, verdicts. Answers are kept on disk under the hash of the
rendered request, so the same command resumes, and a question asked twice is paid for once.
"""

import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Self, TypeVar

from aligngen.core.errors import EngineDied, Interrupted, UserError
from aligngen.core.schema import Completion, FinishReason, Request
from aligngen.generator.engines.protocol import ManagedEngine

__all__ = ["Answers", "ask"]

Key = TypeVar("Key")

MAX_DEATHS = 5
"""Deaths of the engine with the same request before it is answered by an error."""

ALONE = 3
"""What a death counts for a request that was the only one with the engine."""

MAX_SILENT_DEATHS = 3
"""Deaths of an engine that answers nothing in between, before asking ends."""

POLL_SECONDS = 0.2
"""Longest wait for an answer before `stop` is looked at again."""


_TABLE = """CREATE TABLE IF NOT EXISTS answer (
    request_id TEXT PRIMARY KEY, text TEXT NOT NULL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, seconds REAL NOT NULL,
    detail TEXT NOT NULL
) WITHOUT ROWID"""


class Answers:
    """Completions on disk by request id. `open` one; it is a context manager."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the file, for this process alone until it is closed."""
        db: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(path, timeout=1)
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute(_TABLE)
            db.commit()
        except (sqlite3.DatabaseError, OSError) as error:
            if db is not None:
                db.close()
            if "locked" in str(error):
                problem, remedy = "another process works with these answers", "Wait for it."
            else:
                problem, remedy = f"cannot be read as answers: {error}", "Remove or rename it."
            raise UserError(problem, file=path, remedy=remedy) from None
        return cls(db)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Commit and close."""
        self._db.commit()
        self._db.close()

    def get(self, request_id: str) -> Completion | None:
        """Return the answer of a request, where there is one."""
        with closing(
            self._db.execute(
                "SELECT text, finish_reason, prompt_tokens, completion_tokens, seconds, detail"
                " FROM answer WHERE request_id = ?",
                (request_id,),
            )
        ) as cursor:
            row = cursor.fetchone()
        if row is None:
            return None
        text, reason, prompt, completion, seconds, detail = row
        return Completion(
            request_id,
            text,
            FinishReason(reason),
            prompt,
            completion,
            seconds=seconds,
            detail=detail,
        )

    def put(self, answer: Completion) -> Completion:
        """Keep an answer, and return it as `get` will; an error is none and is asked again."""
        if answer.finish_reason is FinishReason.ERROR:
            return answer
        # A lone surrogate has no UTF-8: kept as its escape, for this run as for the next.
        text = answer.text.encode("utf-8", "backslashreplace").decode("utf-8")
        kept = replace(answer, text=text, cached_tokens=0, seconds=round(answer.seconds, 3))
        self._db.execute(
            "INSERT OR IGNORE INTO answer VALUES (?,?,?,?,?,?,?)",
            (
                kept.request_id,
                kept.text,
                kept.finish_reason.value,
                kept.prompt_tokens,
                kept.completion_tokens,
                kept.seconds,
                kept.detail,
            ),
        )
        return kept

    def commit(self) -> None:
        """Make what was put durable against a kill."""
        self._db.commit()


def ask(
    engine: ManagedEngine,
    questions: Iterable[tuple[Key, Request]],
    answers: Answers,
    *,
    window: int = 2048,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Key, Completion]]:
    """Yield each question's key with its answer, in the order of the questions.

    At most `window` questions are held. A request that the engine cannot answer, or dies of again
    and again, is answered by an error. Raises Interrupted when `stop` says so, and EngineDied where
    restarts bring no answer; what was answered until then is kept.
    """
    waiting: deque[tuple[Key, Request]] = deque()
    exchange = _Exchange(engine, answers)
    source = iter(questions)
    try:
        while True:
            for item in islice(source, window - len(waiting)):
                waiting.append(item)
                exchange.want(item[1])
            if not waiting:
                return
            if stop():
                raise Interrupted("stopped; every answer so far is kept")
            answer = exchange.take(waiting[0][1])
            if answer is None:
                exchange.work()
            else:
                yield waiting.popleft()[0], answer
    finally:
        answers.commit()


class _Exchange:
    """The requests of a window on their way through the engine, each once."""

    def __init__(self, engine: ManagedEngine, answers: Answers) -> None:
        self._engine, self._answers = engine, answers
        self._wanted: Counter[str] = Counter()
        """How many waiting questions share a request."""
        self._unsent: deque[Request] = deque()
        self._sent: dict[str, Request] = {}
        self._done: dict[str, Completion] = {}
        self._deaths: Counter[str] = Counter()
        self._silent_deaths = 0

    def want(self, request: Request) -> None:
        """Note that a question waits for a request's answer; look it up or queue it."""
        name = request.request_id
        self._wanted[name] += 1
        if self._wanted[name] > 1:
            return
        answer = self._answers.get(name)
        if answer is None:
            self._unsent.append(request)
        else:
            self._done[name] = answer

    def take(self, request: Request) -> Completion | None:
        """Return a request's answer to one of those who wait for it, or None while there is none.

        The answer is forgotten with the last of them.
        """
        name = request.request_id
        answer = self._done.get(name)
        if answer is not None:
            self._wanted[name] -= 1
            if not self._wanted[name]:
                del self._wanted[name], self._done[name]
                self._deaths.pop(name, None)
        return answer

    def work(self) -> None:
        """Fill the engine, and keep what it has answered; revive it where it died."""
        try:
            while self._unsent and self._engine.room > 0:
                self._engine.submit(self._unsent[0])
                request = self._unsent.popleft()
                self._sent[request.request_id] = request
            finished = self._engine.poll(POLL_SECONDS)
        except EngineDied as death:
            self._revive(death)
            return
        for completion in finished:
            self._silent_deaths = 0
            if self._sent.pop(completion.request_id, None) is not None:
                self._done[completion.request_id] = self._answers.put(completion)
        if finished:
            self._answers.commit()

    def _revive(self, death: EngineDied) -> None:
        """Queue again what died with the engine, oldest first, and start it anew."""
        self._silent_deaths += 1
        if self._silent_deaths > MAX_SILENT_DEATHS:
            raise death
        lost, self._sent = list(self._sent.values()), {}
        for request in reversed(lost):
            name = request.request_id
            self._deaths[name] += 1 if len(lost) > 1 else ALONE
            if self._deaths[name] > MAX_DEATHS:
                detail = f"the engine died with this request again and again: {death}"
                self._done[name] = Completion(name, "", FinishReason.ERROR, 0, 0, detail=detail)
            else:
                self._unsent.appendleft(request)
        try:
            self._engine.restart()
        except EngineDied as again:
            self._revive(again)
