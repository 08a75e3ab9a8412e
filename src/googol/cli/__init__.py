"""The command line: `googol COMMAND …`.

A command is a module of this package whose `Command` describes its arguments and runs; what it imports is
loaded only when it is asked for.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import googol

NO_MEMORY = ("can't allocate memory", "out of memory")  # as PyTorch says it of a processor and of a GPU
# What each command does, and an example.
COMMANDS = {
    "demo": (
        "train on embedded digits and write a report, in about three minutes",
        "googol demo",
    ),
    "train": (
        "train a model, or go on with an interrupted run",
        "googol train joint-vae --data mnist --out RUN",
    ),
    "sample": (
        "generate images or rows of a table, under any conditions or none",
        "googol sample RUN --given digit=3 -n 64 --out grid.png",
    ),
    "impute": (
        "fill in the missing conditions of images, and the holes of tables",
        "googol impute RUN --data mnist --split test --out labels.csv",
    ),
    "evaluate": (
        "measure a model on images or rows that it was not trained on",
        "googol evaluate RUN --metrics elbo,condition-accuracy",
    ),
    "query": (
        "ask how probable a choice of conditions is, and what goes with it",
        "googol query RUN --given Smiling=1 --ask Male",
    ),
    "edit": (
        "change conditions of an image, and keep the others",
        "googol edit RUN face.png --set Eyeglasses=1 --out edited.png",
    ),
    "explore": (
        "choose conditions and look at pictures in the browser",
        "googol explore RUN",
    ),
    "score": (
        "tell how well images or rows fit what the model was trained on",
        "googol score RUN --strangers noise --out scores.csv --figure scores.png",
    ),
    "plot": (
        "draw what finished runs have learned",
        "googol plot modes RUN --out modes.png",
    ),
    "reproduce": (
        "train and measure the rows of a published table, beside the published numbers",
        "googol reproduce sylvester --row vae,h-snf --data caltech101",
    ),
    "data": (
        "list or download data sets",
        "googol data list",
    ),
}

DONE, OUR_FAULT, USERS_MISTAKE, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code.

    0: done; 2: a mistake of the user, told in one line on standard error; 1: a fault of googol, with its
    traceback; 130: interrupted by Ctrl-C; 141: whoever read the output stopped reading.

    Arguments:
        arguments: By default those of the program.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _warnings_said():
            _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except KeyboardInterrupt as interrupt:
        _say(str(interrupt) or "interrupted")
        return INTERRUPTED
    except (ValueError, OSError) as error:
        _say(f"error: {_one_line(error)}")
        return USERS_MISTAKE
    except Exception as error:
        if isinstance(error, MemoryError) or any(text in str(error) for text in NO_MEMORY):
            _say("error: there is not enough memory for that much at once")
            return USERS_MISTAKE
        traceback.print_exc()
        _say("this is a fault of googol, not yours; please report it with the lines above")
        return OUR_FAULT
    return DONE


def _run(arguments: list[str]) -> None:
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
    elif name == "--version":
        print(f"googol {googol.__version__}")
    elif name in COMMANDS:
        command = importlib.import_module(f"googol.cli.{name}").parse(rest)
        if not 0 <= (getattr(command, "seed", None) or 0) < 2**63:
            raise ValueError(f"--seed must be from 0 to 2^63 - 1, got {command.seed}")
        as_json = getattr(command, "json", False)
        # What a command tells people goes to standard error if a program reads the output.
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            result = command.run()
        if as_json:
            print(json.dumps(_finite(result), allow_nan=False))
    else:
        from googol.data import unknown

        raise ValueError(f"{unknown('command', name, COMMANDS)}; see googol --help")


def _help() -> str:
    commands = "\n".join(f"  {name:<10}{what}\n  {'':<10}  {example}" for name, (what, example) in COMMANDS.items())
    return f"""\
usage: googol COMMAND [ARGUMENTS]

Generative models of images and tables that take any subset of the known properties as conditions, and fill in the rest.

commands, each with an example:
{commands}

options:
  -h, --help  this text; googol COMMAND --help tells all about a command
  --version   the version

RUN is the folder that a training wrote. To see it all work: googol demo"""


def _say(text: str) -> None:
    print(f"googol: {text}", file=sys.stderr)


@contextmanager
def _warnings_said() -> Iterator[None]:
    """Shows googol's own warnings as it says everything else, without the line of code that they come from."""
    shown, package = warnings.showwarning, Path(googol.__file__).parent

    def show(message: Warning | str, category: type[Warning], filename: str, *rest: Any, **named: Any) -> None:
        if category is UserWarning and Path(filename).is_relative_to(package):
            from tqdm import tqdm

            with tqdm.external_write_mode(sys.stderr):  # else it would stand at the end of a bar of progress
                _say(f"warning: {message}")
        else:
            shown(message, category, filename, *rest, **named)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        files = " → ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        text = f"{files}: {error.strerror}" if files else error.strerror
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def _finite(value: Any) -> Any:
    """The value with null in place of NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
