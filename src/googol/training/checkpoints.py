"""Files of a run: checkpoints to go on from, and the finished model.

Every file is written beside its place and moved there when it is complete, so a kill or a full disk leaves
the former one as it was. Nothing is unpickled: `torch.load(weights_only=True)`, safetensors and JSON.
"""

import errno
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

import googol
from googol.data.files import replaced

Model = TypeVar("Model", bound=nn.Module)

FORMAT = 1
"""Version of the files of a run; a newer one is refused."""


@contextmanager
def disk_space_errors(folder: Path) -> Iterator[None]:
    """Turns the errors of a full disk into one `ValueError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise ValueError(
            f"no space left to write into {folder}; what was complete there is intact: "
            "free some space and go on with --resume"
        ) from error


def write_file(path: Path, content: bytes) -> None:
    """Writes a file beside its place and moves it there when it is safely on the disk; see `replaced`.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new" / "a.txt"
        >>> write_file(path, b"whole")
        >>> path.read_bytes()
        b'whole'
    """
    with replaced(path) as part, part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint of tensors, numbers, strings and containers of them.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "last.ckpt"
        >>> save_checkpoint(path, {"step": 3, "weights": torch.zeros(2)})
        >>> load_checkpoint(path)["weights"]
        tensor([0., 0.])
    """
    content = io.BytesIO()
    torch.save({"format": FORMAT, "googol": googol.__version__, **state}, content)
    write_file(path, content.getbuffer().tobytes())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU, without unpickling code.

    Raises:
        ValueError: If the file is damaged, no checkpoint, or from a newer version of googol.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        state = torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load has no error class of its own for a file that it cannot read
        raise ValueError(f"{path} is damaged or no checkpoint of googol") from error
    if not isinstance(state, dict) or "format" not in state:
        raise ValueError(f"{path} is no checkpoint of googol")
    _check_format(path, state)
    return state


def save_model(model: nn.Module, folder: Path, config: dict[str, Any]) -> None:
    """Writes a model as `model.safetensors` (its weights) and `model.json` (what is needed to rebuild it).

    Arguments:
        model: The model.
        folder: Where the two files go.
        config: What its maker needs to build the model again; anything that JSON holds.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> save_model(nn.Linear(2, 1), folder, {"name": "linear"})
        >>> load_config(folder)
        {'name': 'linear'}
        >>> load_weights(nn.Linear(2, 1), folder)
        Linear(in_features=2, out_features=1, bias=True)
    """
    from safetensors.torch import save

    weights = save({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()})
    about = {
        "format": FORMAT,
        "googol": googol.__version__,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "config": config,
    }
    text = json.dumps(about, indent=2, allow_nan=False) + "\n"
    with disk_space_errors(folder):
        write_file(folder / "model.safetensors", weights)
        write_file(folder / "model.json", text.encode())


def load_config(folder: Path) -> dict[str, Any]:
    """The config that `save_model` was given.

    Raises:
        ValueError: If the folder holds no finished model, or one from a newer version of googol.
    """
    config: dict[str, Any] = _about(folder)["config"]
    return config


def load_weights(model: Model, folder: Path) -> Model:
    """Loads the weights that `save_model` wrote into a model built from the same config, and returns it.

    Raises:
        ValueError: If the folder holds no finished model, one from a newer version of googol, weights other
            than those `model.json` speaks of, or weights of another model.
    """
    from safetensors.torch import load

    about = _about(folder)
    path = folder / "model.safetensors"
    if not path.is_file():
        raise ValueError(f"{folder} holds model.json but no model.safetensors: it is half written")
    weights = path.read_bytes()
    if hashlib.sha256(weights).hexdigest() != about["sha256"]:
        raise ValueError(f"{path} is not the file that model.json speaks of: it is damaged or half written")
    try:
        model.load_state_dict(load(weights))
    except RuntimeError as error:
        raise ValueError(f"{path} holds the weights of another model: {error}") from error
    return model


def _about(folder: Path) -> dict[str, Any]:
    path = folder / "model.json"
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; expected the folder of a run")
    if not path.is_file():
        unfinished = (folder / "checkpoints" / "last.ckpt").is_file()
        raise ValueError(
            f"the run in {folder} is not finished (no model.json yet); go on with it by --resume"
            if unfinished
            else f"{folder} is not the folder of a run: it has no model.json"
        )
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(about, dict) or not {"format", "sha256", "config"} <= about.keys():
        raise ValueError(f"{path} was not written by googol: expected format, sha256 and config in it")
    _check_format(path, about)
    return about


def _check_format(path: Path, content: dict[str, Any]) -> None:
    if content["format"] != FORMAT:
        raise ValueError(
            f"{path} has format {content['format']} (written by googol {content.get('googol', '?')}), "
            f"this is googol {googol.__version__}, which reads format {FORMAT}"
        )
