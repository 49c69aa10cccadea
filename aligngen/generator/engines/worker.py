"""The engine's child process, started by `process.py` with a pipe and its parent's id.

In: messages over an inherited pipe. Out: completions over the same. Ends when the parent does,
however that ends: by the pipe's end, and on Linux by the kernel's word before that.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue

from aligngen.core.config import EngineConfig
from aligngen.core.errors import UserError
from aligngen.generator.engines.protocol import HostedEngine
from aligngen.generator.engines.replay import ReplayEngine
from aligngen.generator.engines.vllm_plan import QUIET
from aligngen.generator.engines.wire import (
    BEAT_SECONDS,
    Beat,
    Checked,
    Close,
    Done,
    FromParent,
    Preflight,
    Progress,
    Ready,
    Refused,
    Start,
    Submit,
)

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_STEP_SECONDS = 0.02
"""How long the engine may keep the loop from looking at its inbox, beyond a step."""


def main(fd: int, parent: int) -> None:
    """Serve one engine until the parent closes it or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it drains, then closes.
    _die_with(parent)
    os.environ.update(QUIET)
    pipe: Connection = Connection(fd)
    try:
        start = pipe.recv()
    except EOFError:
        return
    assert isinstance(start, Start)
    inbox: SimpleQueue[FromParent] = SimpleQueue()
    serving = threading.Event()
    threading.Thread(target=_read, args=(pipe, inbox, serving), daemon=True).start()
    try:
        engine = _open(start.config, lambda text: pipe.send(Progress(text)))
    except UserError as error:
        pipe.send(Refused(str(error)))
        _leave(1)
    serving.set()
    pipe.send(Ready(engine.info, engine.room))
    _serve(engine, pipe, inbox)
    engine.close()
    _leave(0)


def _leave(code: int) -> None:
    # Threads of torch and vLLM may hold an ordinary exit back for ever.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It ended before the kernel was told.
        os._exit(0)


def _read(pipe: Connection, inbox: SimpleQueue[FromParent], serving: threading.Event) -> None:
    """Keep the pipe empty, so that the parent never blocks; end with it."""
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)
        if isinstance(message, Close) and not serving.is_set():
            os._exit(0)
        inbox.put(message)


def _open(config: EngineConfig, progress: Callable[[str], None]) -> HostedEngine:
    if config.kind == "replay":
        return ReplayEngine(config)
    from aligngen.generator.engines.vllm import VllmEngine

    return VllmEngine(config, progress)


def _serve(engine: HostedEngine, pipe: Connection, inbox: SimpleQueue[FromParent]) -> None:
    in_flight, beaten = 0, time.monotonic()
    while True:
        for message in _messages(inbox, wait=not in_flight):
            match message:
                case Submit(request):
                    engine.submit(request)
                    in_flight += 1
                case Preflight():
                    pipe.send(Checked(_preflight(engine, message)))
                case Close():
                    return
        if in_flight and (done := engine.poll(_STEP_SECONDS)):
            in_flight -= len(done)
            pipe.send(Done(done))
        if time.monotonic() - beaten >= BEAT_SECONDS:
            beaten = time.monotonic()
            pipe.send(Beat())


def _messages(inbox: SimpleQueue[FromParent], wait: bool) -> list[FromParent]:
    messages = []
    try:
        if wait:
            messages.append(inbox.get(timeout=BEAT_SECONDS))
        while True:
            messages.append(inbox.get_nowait())
    except Empty:
        return messages


def _preflight(engine: HostedEngine, message: Preflight) -> str:
    try:
        engine.preflight(message.constraints)
    except UserError as error:
        return str(error)
    return ""
