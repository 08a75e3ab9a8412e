"""What is inside MATLAB files, pickles and archives, read without running or unpacking anything."""

import gzip
import io
import pickle
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from googol.data.files import DataError, read

__all__ = ["read_archive", "read_matlab", "unpickle"]

#: What a pickle of NumPy arrays names, by the names of NumPy before and since version 2.
ARRAYS = {("numpy", "ndarray"), ("numpy", "dtype")} | {
    (f"numpy.{core}.{module}", name)
    for core in ("core", "_core")
    for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
}


def read_matlab(path: Path, required: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of a MATLAB file (version 5 to 7.2).

    Raises:
        DataError: It is damaged, of another kind, or lacks one of the arrays.
    """
    from scipy.io import loadmat

    content = io.BytesIO(read(path))
    try:
        arrays = loadmat(content, variable_names=list(required))
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory: {error}") from error
    except Exception as error:  # for damaged files SciPy has errors of all kinds
        raise DataError(f"{path} is truncated, damaged or no MATLAB file ({_line(error)}); left as it is") from error
    missing = [name for name in required if name not in arrays]
    if missing:
        raise DataError(f"{path} must hold the arrays {', '.join(required)}: {', '.join(missing)} missing")
    return {name: arrays[name] for name in required}


def read_archive(path: Path, names: Sequence[str]) -> list[bytes]:
    """The contents of files in a ``.tar.gz`` archive, in whichever of its folders they are.

    Raises:
        DataError: It is damaged, or lacks one of the files.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                file = archive.extractfile(member) if name in names else None
                if file is not None:
                    found[name] = file.read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or damaged ({_line(error)}); it was left as it is") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{path} must hold the files {', '.join(names)}: {', '.join(missing)} missing")
    return [found[name] for name in names]


def unpickle(content: bytes, what: str) -> Any:
    """Lists, dictionaries, texts, numbers and NumPy arrays in a pickle, also one of Python 2.

    A pickle can call any function there is. This one calls only those that rebuild arrays.

    Args:
        content: The pickle.
        what: What to call it in an error.

    Raises:
        DataError: It is damaged, or holds anything else.

    Example:
        >>> unpickle(pickle.dumps([np.arange(2)]), "a pickle")
        [array([0, 1])]
        >>> unpickle(pickle.dumps(print), "a pickle")
        Traceback (most recent call last):
        googol.data.files.DataError: a pickle must hold NumPy arrays alone, but it asks for builtins.print
    """
    try:
        return _Arrays(io.BytesIO(content), encoding="latin1").load()
    except DataError as error:
        raise DataError(f"{what} must hold NumPy arrays alone, but it asks for {error}") from error
    except MemoryError as error:
        raise DataError(f"{what} does not fit into memory: {error}") from error
    except Exception as error:  # for damaged content pickle has errors of all kinds
        raise DataError(f"{what} is truncated or damaged ({_line(error)}); it was left as it is") from error


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ARRAYS:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if (module, name) == ("_codecs", "encode"):  # how protocols 0 to 2 of Python 3 write bytes
            return _encode
        raise DataError(f"{module}.{name}")


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
