"""Any OpenAI-compatible endpoint, behind the same three calls as a local engine.

Requests run as tasks of an event loop in a background thread of this process; how many at once
follows the endpoint's answers (`pace.py`). What fails for a moment (429, 5xx, a broken connection)
is tried again; what fails for one request is that request's error; a key or a model that the
endpoint refuses is the user's; an endpoint that can't be reached is a dead engine.
"""

import asyncio
import os
import threading
import time
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from aligngen.core.config import EngineConfig
from aligngen.core.errors import EngineDied, UserError
from aligngen.core.schema import (
    Completion,
    Constraint,
    FinishReason,
    Message,
    Request,
    Sampling,
)
from aligngen.generator.engines.endpoint import (
    KEY,
    NOT_SENT,
    body,
    check_endpoint,
    read_answer,
    refuse_constraint,
)
from aligngen.generator.engines.identity import identify
from aligngen.generator.engines.pace import Pace
from aligngen.generator.engines.protocol import EngineInfo
from aligngen.generator.engines.refusals import (
    is_passing,
    is_unreachable,
    raise_if_fatal,
    retry_after,
    words,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["OpenAIEngine", "check_endpoint"]

_TRIES = 7
"""With a first wait of half a second, patience for about a minute."""
_DEFAULT_SEQS = 16


class OpenAIEngine:
    """A `ManagedEngine` over an endpoint."""

    def __init__(
        self,
        config: EngineConfig,
        *,
        timeout_seconds: float = 600.0,
        backoff_seconds: float = 0.5,
        tries: int = _TRIES,
    ) -> None:
        check_endpoint(config)
        self._config, self._tries = config, tries
        self._timeout, self._backoff = timeout_seconds, backoff_seconds
        self._limit = config.max_num_seqs or _DEFAULT_SEQS
        self.info = EngineInfo(
            identity=identify(config),
            device="endpoint",
            dtype="",
            max_model_len=config.max_model_len,
            max_num_seqs=self._limit,
            not_sent=NOT_SENT[config.dialect],
        )
        self._open()

    @property
    def room(self) -> int:
        """How many more requests can be submitted now."""
        return max(0, self._limit - len(self._in_flight))

    @property
    def concurrency(self) -> int:
        """How many requests the endpoint is asked at once, as its answers have it."""
        return int(self._pace.limit)

    def submit(self, request: Request) -> None:
        """Queue one request."""
        self._raise_if_over()
        self._in_flight.add(request.request_id)
        asyncio.run_coroutine_threadsafe(self._answer(request), self._loop)

    def poll(self, timeout: float) -> list[Completion]:
        """Return what has finished, after waiting at most `timeout` seconds for the first."""
        done: list[Completion] = []
        if self._in_flight and self._over is None:
            self._take(done, timeout)
            while self._take(done, 0):
                pass
        if not done:
            self._raise_if_over()
        self._in_flight.difference_update(c.request_id for c in done)
        return done

    def preflight(self, constraints: Iterable[Constraint]) -> None:
        """Ask for a few tokens under each constraint: the endpoint refuses what it can't do."""
        distinct = tuple(dict.fromkeys(constraints))
        for constraint in distinct:
            refuse_constraint(constraint, self._config.dialect)
        trials: tuple[Constraint | None, ...] = distinct or (None,)
        for trial in trials:
            asyncio.run_coroutine_threadsafe(self._ask_once(trial), self._loop).result()

    def restart(self) -> None:
        """Connect anew; nothing that was submitted before is in flight."""
        self.close()
        self._open()

    def close(self) -> None:
        """Stop, dropping what is unfinished."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._in_flight.clear()

    def _open(self) -> None:
        self._answers: SimpleQueue[Completion | EngineDied | UserError] = SimpleQueue()
        self._in_flight: set[str] = set()
        self._over: EngineDied | UserError | None = None
        self._pace = Pace(self._limit, self._backoff)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._client = _client(self._config, self._timeout)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        await self._stop.wait()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    def _take(self, done: list[Completion], timeout: float) -> bool:
        try:
            answer = self._answers.get(timeout > 0, timeout or None)
        except Empty:
            return False
        if isinstance(answer, Completion):
            done.append(answer)
        else:
            self._over = self._over or answer
        return True

    def _raise_if_over(self) -> None:
        if self._over is not None:
            raise self._over

    async def _answer(self, request: Request) -> None:
        started = time.monotonic()
        try:
            self._answers.put(await self._ask(request, started))
        except (EngineDied, UserError) as error:
            self._answers.put(error)

    async def _ask(self, request: Request, started: float) -> Completion:
        """Return the answer, after as many tries as it takes and is given."""
        from openai import APIError

        fields = body(request, self._config)
        problem = ""
        for attempt in range(self._tries):
            try:
                async with self._pace.turn():
                    # The API's reference decides the fields' types, which differ by dialect.
                    create = self._client.chat.completions.create
                    answer = await create(**fields)  # type: ignore[call-overload]
                    self._pace.succeeded()
                return read_answer(request.request_id, answer, time.monotonic() - started)
            except APIError as error:
                problem = words(error)
                raise_if_fatal(error, self._config)
                if not is_passing(error):
                    return _failure(request, problem, started)
                wait = retry_after(error)
                self._pace.refused(wait)
                unreachable = is_unreachable(error)
            if attempt + 1 < self._tries:
                await asyncio.sleep(self._pace.delay(attempt, wait))
        problem = f"{problem} ({self._tries} tries)"
        if unreachable:
            raise EngineDied(f"the endpoint {self._config.base_url} can't be reached: {problem}")
        return _failure(request, problem, started)

    async def _ask_once(self, constraint: Constraint | None) -> None:
        request = Request(
            messages=(Message("user", "Answer in one word: yes."),),
            sampling=Sampling(max_tokens=16, loop_pattern=0),
            constraint=constraint,
            model=self._config.model,
            revision="",
            template_version="preflight",
            backend="",
        )
        answer = await self._ask(request, time.monotonic())
        if answer.finish_reason is FinishReason.ERROR:
            raise UserError(
                f"the endpoint refuses a trial request: {answer.detail}; "
                f"{constraint.value[:200] if constraint else 'without a constraint'}",
                remedy="Check the model's name, the dialect and the schema.",
                field="engine",
            )


def _client(config: EngineConfig, timeout: float) -> "AsyncOpenAI":
    from openai import AsyncOpenAI

    return AsyncOpenAI(
        api_key=os.environ.get(KEY) or "none",  # A local server asks for no key, the client does.
        base_url=config.base_url or None,
        timeout=timeout,
        max_retries=0,  # `_ask` retries, so that the pace sees every refusal.
    )


def _failure(request: Request, problem: str, started: float) -> Completion:
    seconds = time.monotonic() - started
    return Completion(
        request.request_id, "", FinishReason.ERROR, 0, 0, seconds=seconds, detail=problem
    )
