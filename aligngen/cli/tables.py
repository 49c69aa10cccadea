"""Consoles that tables of any width are printed on."""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["FILE_WIDTH", "wide_console"]

FILE_WIDTH = 160
"""Columns of tables that go to a file or a pipe."""


def wide_console(*, markup: bool = False) -> "Console":
    """Return a console as wide as the terminal, or as a reader of a file can scroll.

    The variable COLUMNS decides in both cases.
    """
    from rich.console import Console

    known = sys.stdout.isatty() or os.environ.get("COLUMNS")
    return Console(
        file=sys.stdout, highlight=False, markup=markup, width=None if known else FILE_WIDTH
    )
