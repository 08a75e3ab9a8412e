"""Where data files lie, whether they are what they should be, and where they come from."""

import glob
import hashlib
import os
import secrets
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

__all__ = ["DataError", "check", "download", "folders", "read", "read_arrays", "replaced"]

LEFT_BEHIND = 3600.0
"""Seconds after which a half-written file is nobody's any more."""


class DataError(ValueError):
    """Data that cannot be used as it is: a missing, damaged or contradictory file, or no network."""


def folders(data_dir: str | Path | None = None) -> list[Path]:
    """The folders in which data files are looked for, in this order.

    They are ``data_dir``, the environment variable ``GOOGOL_DATA`` and the platform's cache folder; what is
    not given is left out. Downloads go into the first.

    Args:
        data_dir: The first of them, if there is one.

    Example:
        >>> folders("mine")[0].name
        'mine'
    """
    import pooch

    given = [data_dir, os.environ.get("GOOGOL_DATA"), pooch.os_cache("googol")]
    return [Path(folder).expanduser() for folder in given if folder]


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """The name of a file to write, beside another one whose place it takes in the end, or is removed after an error.

    So a kill or a full disk leaves the former file as it was. Several processes may write the same file; it has the
    content of one of them.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new" / "a.txt"
        >>> with replaced(path) as part:
        ...     _ = part.write_text("whole")
        >>> path.read_text()
        'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 16}.part"):  # by a process that was killed
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > LEFT_BEHIND:
                left.unlink()
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        yield part
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(part):
            error.filename = str(path)
        raise


def check(path: Path, checksum: str) -> None:
    """Check that a file is the expected one.

    Args:
        path: The file.
        checksum: Its MD5 as 32 hexadecimal digits; or "git:" and the 40 digits by which Git names such a file in
            the repository that publishes it.

    Raises:
        DataError: It is another one, or cannot be read.
    """
    try:
        found = _checksum(path, checksum)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if found != checksum:
        kind = "Git" if checksum.startswith("git:") else "MD5"
        raise DataError(
            f"{path} is damaged or another file: its {kind} checksum is {found}, expected {checksum}; "
            "it was left as it is: move it away, then get it again"
        )


def _checksum(path: Path, like: str) -> str:
    """The checksum of a file, of the same kind as another one."""
    with path.open("rb") as file:
        if not like.startswith("git:"):
            return hashlib.file_digest(file, "md5").hexdigest()
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
        return f"git:{hashlib.file_digest(file, lambda: digest).hexdigest()}"


def read(path: Path) -> bytes:
    """The content of a file.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def read_arrays(path: Path, required: Sequence[str]) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz`` file, without unpickling anything.

    Raises:
        DataError: It is damaged, cannot be read, holds Python objects, or lacks a required array.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise DataError(f"{path} must be an .npz file of several arrays, but holds a single one")
        with file:
            missing = [name for name in required if name not in file.files]
            if missing:
                raise DataError(
                    f"{path} must hold the arrays {', '.join(required)}: "
                    f"{', '.join(missing)} missing, found {', '.join(file.files) or 'none'}"
                )
            return {name: file[name] for name in file.files}
    except DataError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path} is truncated or damaged ({error}); it was left as it is") from error
    except ValueError as error:
        raise DataError(f"{path} cannot be read as .npz arrays of numbers and texts: {error}") from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def download(addresses: Sequence[str], path: Path, checksum: str) -> None:
    """Bring a file from the first address that has it; one that is there already is only checked.

    It is written beside, compared with the checksum (see :func:`check`) and then moved into place.

    Raises:
        DataError: The file that is there is another one, no address answers, what they have is not the
            expected file, or there is no room for it.
    """
    import pooch

    if path.exists():
        check(path, checksum)
        return
    reasons = []
    for address in addresses:
        try:
            with replaced(path) as part:
                pooch.HTTPDownloader(progressbar=True, chunk_size=2**16)(address, str(part), None)
                if _checksum(part, checksum) != checksum:
                    raise DataError(f"{address} has another file than the expected one")
            return
        except DataError as error:
            reasons.append(str(error))
        except OSError as error:
            if error.errno is not None:  # that of requests, a network error, has none
                raise DataError(f"cannot write {path}: {error.strerror}") from error
            reasons.append(f"{address} cannot be reached ({type(error).__name__})")
    raise DataError(
        f"no download of {path.name}: {'; '.join(reasons)}; you can put the file into {path.parent} by hand"
    )
