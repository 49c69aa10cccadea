"""The `aligngen` command: what every subcommand has in common."""

import sys
import traceback
from typing import Annotated

import typer

from aligngen import __version__
from aligngen.cli.audit import audit_command
from aligngen.cli.dedup import dedup_command
from aligngen.cli.doctor import doctor
from aligngen.cli.generate import generate, preview
from aligngen.cli.plan import plan
from aligngen.cli.scenarios import scenarios
from aligngen.cli.show import show
from aligngen.cli.status import status
from aligngen.cli.styles import styles_app
from aligngen.cli.taxonomy import taxonomy_app
from aligngen.cli.verify import verify
from aligngen.core.errors import AligngenError

__all__ = ["app", "main"]

app = typer.Typer(
    name="aligngen",
    help="Make corpora of aligned and misaligned AI behaviour for alignment pretraining.",
    epilog="Exit codes: 0 done · 1 your input · 2 a fault of ours · 3 finished, quota or guard not "
    "met · 130 interrupted; the same command resumes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"aligngen {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


app.command()(generate)
app.command()(preview)
app.command()(plan)
app.command()(status)
app.command()(show)
app.command()(verify)
app.command("audit")(audit_command)
app.command("dedup")(dedup_command)
app.add_typer(taxonomy_app, name="taxonomy")
app.add_typer(styles_app, name="styles")
app.add_typer(scenarios, name="scenarios")
app.command()(doctor)


def main() -> None:
    """Run the command and end with the exit code of what happened."""
    try:
        app(prog_name="aligngen")
    except AligngenError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except SystemExit as end:
        # Usage errors end with 2 by custom; here 2 means a fault of ours and 1 the user's input.
        sys.exit(1 if end.code == 2 else end.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception:
        traceback.print_exc()
        typer.echo(
            "error: this is a fault of aligngen; please report it with the lines above.", err=True
        )
        sys.exit(2)
