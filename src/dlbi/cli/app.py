"""The `dlbi` program: its commands, exit codes and the one line that tells what is wrong.

Heavy modules are imported inside the commands, so that ``dlbi --help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from dlbi import __version__
from dlbi.cli.bench import bench
from dlbi.cli.calibrate import calibrate
from dlbi.cli.console import (
    discard_output,
    one_line,
    printed_warnings,
    termination_as_interrupt,
    tolerate_any_output,
)
from dlbi.cli.demo import demo
from dlbi.cli.doctor import doctor
from dlbi.cli.evaluate import evaluate
from dlbi.cli.reconstruct import reconstruct
from dlbi.cli.simulate import simulate
from dlbi.cli.train import train
from dlbi.core.errors import DlbiError

DONE, FAILED, WRONG_INPUT = 0, 1, 2

_UsageError: type[Exception] = typer.BadParameter.mro()[1]
_INTERRUPTED = 130  # what typer returns for Ctrl-C

app = typer.Typer(
    name="dlbi",
    help="Super-resolution fluorescence microscopy from dense blinking movies.",
    epilog="Exit codes: 0 done; 2 wrong input or options; 1 anything else.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for command in (demo, simulate, calibrate, reconstruct, evaluate, train, bench, doctor):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dlbi {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and exit"),
    ] = False,
) -> None:
    """Super-resolution fluorescence microscopy from dense blinking movies."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program's name; that of the process by default.

    Returns
    -------
    int
        Exit code: 0 done; 2 wrong input or options, told in one line on stderr; 1 anything else.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    tolerate_any_output()
    with printed_warnings(), termination_as_interrupt():
        try:
            code = app(words, prog_name="dlbi", standalone_mode=False, obj=["dlbi", *words])
            sys.stdout.flush()
        except _UsageError as error:
            return _say(_usage_message(error), WRONG_INPUT)
        except DlbiError as error:
            return _say(str(error), WRONG_INPUT)
        except (KeyboardInterrupt, typer.Abort):
            code = _INTERRUPTED
        except BrokenPipeError:
            discard_output()
            return FAILED
        except OSError as error:  # no input or output of a command: those are told by name
            return _say(f"{error.strerror or error} ({error.filename or 'output'})", FAILED)
        except MemoryError as error:
            return _say(f"out of memory ({error}); try a smaller --roi or fewer --frames", FAILED)
    if code == _INTERRUPTED:
        return _say("interrupted; no file is half-written", FAILED)
    return int(code or DONE)


def _say(message: str, code: int) -> int:
    print(f"error: {one_line(message)}", file=sys.stderr)
    return code


def _usage_message(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    message: str = getattr(error, "format_message", lambda: str(error))()
    program = context.command_path if context is not None else "dlbi"
    return f"{message.rstrip('.')}; see {program} --help"
