"""The parent's side of an engine that lives in a child process.

An engine that crashes, is killed for memory or stands still takes no run with it, and work in the
parent (parsing, dedup) does not hold it up. Measured choice: `docs/design/engine.md`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue

from aligngen.core.config import EngineConfig
from aligngen.core.errors import EngineDied, UserError
from aligngen.core.schema import Completion, Constraint, Request
from aligngen.generator.engines.protocol import EngineInfo
from aligngen.generator.engines.vllm_plan import QUIET
from aligngen.generator.engines.wire import (
    Checked,
    Close,
    Done,
    FromChild,
    FromParent,
    Gone,
    Preflight,
    Progress,
    Ready,
    Refused,
    Start,
    Submit,
)

__all__ = ["ProcessEngine"]

_ROOT = Path(__file__).resolve().parents[3]
# -P and the appended path: neither the working folder nor a PYTHONPATH may shadow a module.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[3]); "
    "from aligngen.generator.engines.worker import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)
_CALM = {"GOMP_SPINCOUNT": "1000"}
"""Threads of the engine wait for each other asleep, not spinning: beside another busy process (our
own embedding is one) that is 3.3 times the speed, 102 against 31 tokens/s; alone it costs 5 %."""
_STALL_SECONDS = 300.0
"""An engine with work that says nothing for so long stands still; it beats every 5 seconds."""
_CLOSE_SECONDS = 10.0
_EXIT_SECONDS = 2.0
_LOG_LINES = 12


class ProcessEngine:
    """A `ManagedEngine` in a child process, which starts at once; `wait_ready` waits for it.

    Make it in a thread that outlives it: on Linux the child ends with the thread that made it.
    """

    def __init__(
        self,
        config: EngineConfig,
        log: Path,
        on_event: Callable[[str], None],
        stall_seconds: float = _STALL_SECONDS,
    ) -> None:
        self._config, self._log, self._on_event = config, log, on_event
        self._stall_seconds = stall_seconds
        self._done: list[Completion] = []
        self._in_flight: set[str] = set()
        self._problem: str | None = None
        self._spawn()

    @property
    def info(self) -> EngineInfo:
        """What the engine is; waits until it says so."""
        return self.wait_ready()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def room(self) -> int:
        """How many more requests can be submitted now."""
        return max(0, self._limit - len(self._in_flight))

    def wait_ready(self) -> EngineInfo:
        """Return what the engine is, once it has started; a UserError where it refuses to."""
        while self._info is None:
            self._receive(None)
            self._raise_if_gone()
        return self._info

    def submit(self, request: Request) -> None:
        """Queue one request."""
        self._raise_if_gone()
        self._in_flight.add(request.request_id)
        self._send(Submit(request))

    def poll(self, timeout: float) -> list[Completion]:
        """Return what has finished, after waiting at most `timeout` seconds for the first."""
        if not self._in_flight:
            return []
        deadline = time.monotonic() + timeout
        while not self._done and not self._gone:
            if not self._receive(max(0.0, deadline - time.monotonic())):
                self._raise_if_stalled()
                break
        while self._receive(0.0):
            pass
        done, self._done = self._done, []
        if not done:
            self._raise_if_gone()  # Only when all that was finished has been handed over.
        self._in_flight.difference_update(c.request_id for c in done)
        return done

    def preflight(self, constraints: Iterable[Constraint]) -> None:
        """Raise a UserError naming the first constraint that the engine cannot enforce."""
        self.wait_ready()
        self._problem = None
        self._send(Preflight(tuple(dict.fromkeys(constraints))))
        while self._problem is None:
            self._raise_if_gone()
            if not self._receive(self._stall_seconds):
                self._raise_if_stalled()
        if self._problem:
            raise UserError(self._problem)

    def restart(self) -> None:
        """Start anew; nothing that was submitted before is in flight."""
        self.close()
        self._on_event("restarting the engine")
        self._spawn()
        self.wait_ready()

    def close(self) -> None:
        """Stop the child; nothing is left running."""
        self._send(Close())
        self._end(_CLOSE_SECONDS)
        self._pipe.close()

    def _spawn(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._pipe, theirs = Pipe()
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self._child = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-c", _PROGRAM),
                    *(str(theirs.fileno()), str(os.getpid()), str(_ROOT)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                # Its own group: Ctrl-C stays ours, and a kill reaches the engine's own children.
                start_new_session=True,
                env={**_CALM, **os.environ, **QUIET},
            )
        theirs.close()
        self._inbox: SimpleQueue[FromChild] = SimpleQueue()
        threading.Thread(target=_read, args=(self._pipe, self._inbox), daemon=True).start()
        self._info: EngineInfo | None = None
        self._limit = 0
        self._gone = False
        self._ended = False
        self._problem = None
        self._done = []
        self._in_flight = set()
        self._heard = time.monotonic()
        self._send(Start(self._config))

    def _send(self, message: FromParent) -> None:
        # A child that is gone is told by the reader, after what it still sent.
        with suppress(OSError):
            self._pipe.send(message)

    def _receive(self, timeout: float | None) -> bool:
        """Take one message; say whether there was one."""
        try:
            message = self._inbox.get(timeout != 0, timeout)
        except Empty:
            return False
        self._heard = time.monotonic()
        match message:
            case Progress(text):
                self._on_event(text)
            case Ready(info, room):
                self._info, self._limit = info, room
            case Refused(text):
                self._end(_EXIT_SECONDS)
                raise UserError(text)
            case Checked(problem):
                self._problem = problem
            case Done(completions):
                self._done += completions
            case Gone():
                self._gone = True
        return True

    def _raise_if_gone(self) -> None:
        if self._gone:
            self._end(_EXIT_SECONDS)
            raise EngineDied(f"the engine process ended {self._ending()}{self._last_words()}")

    def _raise_if_stalled(self) -> None:
        silent = time.monotonic() - self._heard
        if silent > self._stall_seconds:
            self._end(0)
            self._gone = True
            raise EngineDied(
                f"the engine stood still for {silent:.0f} s and was stopped{self._last_words()}"
            )

    def _end(self, patience: float) -> None:
        """Wait for the child, then kill what is left of its group; once, for ids are reused."""
        if self._ended:
            return
        try:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(patience)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
            self._ended = True

    def _ending(self) -> str:
        code = self._child.returncode
        if code is None or code >= 0:
            return f"with exit code {code}"
        name = signal.Signals(-code).name
        return f"by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")

    def _last_words(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read()[-8000:].decode("utf-8", "replace").splitlines()
        words = "\n  ".join(line for line in lines if line.strip())
        tail = "\n  ".join(words.split("\n  ")[-_LOG_LINES:])
        return f"; the end of {self._log}:\n  {tail}" if tail else f"; see {self._log}"


def _read(pipe: Connection, inbox: SimpleQueue[FromChild]) -> None:
    while True:
        try:
            inbox.put(pipe.recv())
        except (EOFError, OSError, TypeError):  # TypeError: closed by us while it was reading.
            inbox.put(Gone())
            return
