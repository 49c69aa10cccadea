"""Templates that people write: Jinja2, sandboxed and strict."""

from collections.abc import Mapping
from functools import lru_cache

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aligngen.core.errors import UserError

__all__ = ["render"]

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
)


def render(source: str, context: Mapping[str, object], where: str) -> str:
    """Render a template, strictly; a fault names the template."""
    try:
        return _compiled(source).render(context).strip()
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"the template fails: {error}", field=where, remedy="Mend the template."
        ) from None


@lru_cache(maxsize=256)
def _compiled(source: str) -> Template:
    return _ENVIRONMENT.from_string(source)
