"""Arguments of a command from its dataclass, and one line for what is wrong with them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

# What tyro and Python say, and what we say.
REWORDED = {
    r"^Error parsing (__tyro\S*|[^\s-]\S*): ": "",
    r"^Error parsing ": "",
    r"invalid literal for int\(\) with base 10: ": "expected an integer, got ",
    r"could not convert string to float: ": "expected a number, got ",
}

# Fields that several commands have.
RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
DataDir = Annotated[str | None, tyro.conf.arg(metavar="DIR")]
Text = Annotated[str | None, tyro.conf.arg(metavar="NAME")]


def parse(command: Any, arguments: Sequence[str], *, prog: str, description: str) -> Any:
    """An instance of a dataclass (or of one in a union) from the arguments of a command line.

    Arguments:
        command: The dataclass.
        arguments: What follows the name of the command.
        prog: What comes before.
        description: The head of its help.

    Raises:
        ValueError: The arguments are wrong.
        SystemExit: Help was asked for.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                command,
                args=list(arguments),
                prog=prog,
                description=description,
                config=(tyro.conf.CascadeSubcommandArgs, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise ValueError(_sentence(complaint.getvalue()) + f"; see {prog} --help") from None


def _sentence(box: str) -> str:
    """The text in the box that tyro draws, without its help: what is wrong, and what may have been meant."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip(" │") for line in box.splitlines()]
    lines = [line for line in lines if line]
    # Where the terminal has no such characters, there is a title and a rule in place of the box's edge.
    text = lines[1:-1] if lines[0].startswith("╭") else lines[2:]
    wrong, meant, expected = [], set(), ""
    for part in re.split(r"\n[─-]{3,}\n", "\n".join(text)):
        if part.startswith(("Perhaps", "Arguments similar")):
            meant |= set(_options(part))
        elif part.startswith("Available subcommands: "):
            expected = "; expected one of " + part.removeprefix("Available subcommands: ")
        elif not part.startswith(("For full helptext", "Argument helptext")):
            wrong.append(" ".join(part.split()).rstrip("."))
    sentence = "; ".join(wrong)
    for machine, people in REWORDED.items():
        sentence = re.sub(machine, people, sentence)
    begun = re.search(r"(--[\w.-]+)", sentence)
    if meant:
        if begun and begun[1] in meant:
            return f"{sentence}; {begun[1]} belongs to another choice of a model or of a part"
        # Of those that it finds alike, tyro names some that only other choices have: what was begun comes first.
        meant = {option for option in meant if begun and option.startswith(begun[1])} or meant
        return f"{sentence}; did you mean {' or '.join(sorted(meant))}?"
    # A misspelt option is not a subcommand that is missing.
    return sentence if ": -" in sentence else sentence + expected


def _options(text: str) -> list[str]:
    return re.findall(r"^(--[\w.-]+)", text, re.MULTILINE)


def check_output(path: Path, *endings: str, overwrite: bool, option: str = "--out") -> None:
    """Raises a ValueError if a file cannot be written: it has another ending, or something is there that stays."""
    if endings and path.suffix not in endings:
        raise ValueError(f"{option} must end with {' or '.join(endings)}, got {path}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected the name of a file")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists: choose another name, or say --overwrite")
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ValueError(f"nothing can be written into {there}: {option} must be in another folder, got {path}")


def names(text: str) -> tuple[str, ...]:
    """What an option names, with commas in between."""
    return tuple(name.strip() for name in text.split(","))


def note(*texts: str) -> None:
    """Tells people something on standard error, a line each."""
    for text in texts:
        print(text, file=sys.stderr)
