"""Where data files lie, whether they are what they should be, and where they come from."""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

__all__ = ["DataError", "check_md5", "download", "folders", "read_arrays"]


class DataError(ValueError):
    """Data that cannot be used as it is: a missing, damaged or contradictory file, or no network."""


def folders(data_dir: str | Path | None = None) -> list[Path]:
    """The folders in which data files are looked for, in this order.

    They are ``data_dir``, the environment variable ``GOOGOL_DATA`` and the platform's cache folder; what is
    not given is left out. Downloads go into the first.
    """
    import pooch

    given = [data_dir, os.environ.get("GOOGOL_DATA"), pooch.os_cache("googol")]
    return [Path(folder).expanduser() for folder in given if folder]


def check_md5(path: Path, md5: str) -> None:
    """Check that a file is the expected one.

    Raises:
        DataError: It is another one, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if found != md5:
        raise DataError(
            f"{path} is damaged or another file: its MD5 checksum is {found}, expected {md5}; "
            "it was left as it is: move it away, then get it again"
        )


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
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise DataError(f"{path} is truncated or damaged ({error}); it was left as it is") from error
    except ValueError as error:
        raise DataError(f"{path} cannot be read as .npz arrays of numbers and texts: {error}") from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def download(addresses: Sequence[str], path: Path, md5: str) -> None:
    """Bring a file from the first address that has it; one that is there already is only checked.

    It is written beside, compared with the checksum and then moved into place.

    Raises:
        DataError: The file that is there is another one, no address answers, what they have is not the
            expected file, or there is no room for it.
    """
    import pooch

    if path.exists():
        check_md5(path, md5)
        return
    pooch.get_logger().setLevel("WARNING")  # the progress bar says the same
    reasons = []
    for address in addresses:
        downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=2**16)
        try:
            pooch.retrieve(address, f"md5:{md5}", path.name, path.parent, downloader=downloader)
            return
        except ValueError:
            reasons.append(f"{address} has another file than the expected one")
        except OSError as error:
            if error.errno is not None:  # that of requests, a network error, has none
                raise DataError(f"cannot write {path}: {error.strerror}") from error
            reasons.append(f"{address} cannot be reached ({type(error).__name__})")
    raise DataError(
        f"no download of {path.name}: {'; '.join(reasons)}; you can put the file into {path.parent} by hand"
    )
