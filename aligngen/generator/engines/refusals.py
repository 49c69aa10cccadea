"""What an endpoint's refusals mean: for a while, for this request, or for the whole run."""

from typing import TYPE_CHECKING

from aligngen.core.config import EngineConfig
from aligngen.core.errors import UserError
from aligngen.generator.engines.endpoint import KEY

if TYPE_CHECKING:
    from openai import APIError

__all__ = ["is_passing", "is_unreachable", "raise_if_fatal", "retry_after", "words"]

_FATAL = (401, 403, 404)
_PASSING = (408, 409, 429)


def _status(error: "APIError") -> int:
    return int(getattr(error, "status_code", 0))


def words(error: "APIError") -> str:
    """Return what the endpoint said, in one short line."""
    status = _status(error)
    cause = f": {error.__cause__}" if error.__cause__ and not status else ""
    return f"{f'HTTP {status}: ' if status else ''}{error.message}{cause}"[:500]


def is_passing(error: "APIError") -> bool:
    """Say whether the same request may be answered later."""
    from openai import APIConnectionError

    status = _status(error)
    return isinstance(error, APIConnectionError) or status in _PASSING or status >= 500


def is_unreachable(error: "APIError") -> bool:
    """Say whether the endpoint was not reached at all."""
    from openai import APIConnectionError, APITimeoutError

    # A timeout is of one request: the endpoint took it.
    return isinstance(error, APIConnectionError) and not isinstance(error, APITimeoutError)


def raise_if_fatal(error: "APIError", config: EngineConfig) -> None:
    """Raise a UserError for what no other request would escape."""
    if _status(error) in _FATAL:
        remedy = f"Check {KEY}, --base-url and --model {config.model}."
    elif error.code == "insufficient_quota":
        remedy = "The account has no credit left; add some, then resume."
    else:
        return
    raise UserError(f"the endpoint refuses us: {words(error)}", remedy=remedy, field="engine")


def retry_after(error: "APIError") -> float | None:
    """Return the seconds that the endpoint asks us to wait, where it says so."""
    response = getattr(error, "response", None)
    if response is None:
        return None
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = response.headers.get(name, "")
        if text.replace(".", "", 1).isdecimal():
            return float(text) / unit
    return None  # The header may hold a date; our own doubling wait serves.
