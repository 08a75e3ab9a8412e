import gzip
import io
import os
import pickle
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from googol.data import DataError
from googol.data.containers import read_archive, read_matlab, unpickle

ARRAY = np.arange(6, dtype=np.uint8).reshape(2, 3)

#: As Python 2 with NumPy 1 wrote it: [numpy.array([[1, 2]], "u1")] in protocol 0.
PYTHON_2 = (
    b"(lp0\ncnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntp3\nS'b'\np4\ntp5\nRp6\n"
    b"(I1\n(I1\nI2\ntp7\ncnumpy\ndtype\np8\n(S'u1'\np9\nI0\nI1\ntp10\nRp11\n(I3\nS'|'\np12\nNNNI-1\nI-1\nI0\ntp13\n"
    b"bI00\nS'\\x01\\x02'\np14\ntp15\nba."
)


class Calls:
    """Something whose pickle calls a function when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_are_unpickled(protocol: int) -> None:
    content = {"a": ARRAY, "b": [ARRAY[0], np.float64(0.5)], "c": "text"}
    found = unpickle(pickle.dumps(content, protocol), "it")
    np.testing.assert_array_equal(found["a"], ARRAY)
    np.testing.assert_array_equal(found["b"][0], ARRAY[0])
    assert (found["b"][1], found["c"]) == (0.5, "text")


def test_pickles_of_python_2() -> None:
    (found,) = unpickle(PYTHON_2, "it")
    np.testing.assert_array_equal(found, np.array([[1, 2]], np.uint8))


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (Calls(os.system, "touch harm"), "system"),
        (Calls(eval, "open('harm', 'w')"), "eval"),
        (Calls(getattr, ARRAY, "tofile"), "getattr"),
        ([ARRAY, Calls(np.save, "harm.npy", ARRAY)], "save"),
        (np.array([Calls(exec, "1")], object), "exec"),
    ],
)
def test_nothing_else_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any, asked: str) -> None:
    monkeypatch.chdir(tmp_path)
    for protocol in (0, 2, pickle.HIGHEST_PROTOCOL):
        with pytest.raises(DataError, match=rf"it must hold NumPy arrays alone, but it asks for [\w.]*\.{asked}$"):
            unpickle(pickle.dumps(value, protocol), "it")
    assert list(tmp_path.iterdir()) == []


def test_damaged_pickles() -> None:
    for content in (pickle.dumps([ARRAY]), PYTHON_2):
        for length in range(len(content) - 1):
            with pytest.raises(DataError, match="it is truncated or damaged") as caught:
                unpickle(content[:length], "it")
            assert "\n" not in str(caught.value)


def test_matlab_files(tmp_path: Path) -> None:
    path = tmp_path / "it.mat"
    for compressed in (False, True):
        savemat(path, {"a": ARRAY, "b": ARRAY / 2, "c": "text"}, do_compression=compressed)
        found = read_matlab(path, ("b", "a"))
        assert list(found) == ["b", "a"]
        np.testing.assert_array_equal(found["a"], ARRAY)
        np.testing.assert_array_equal(found["b"], ARRAY / 2)
        with pytest.raises(DataError, match=re.escape("it.mat must hold the arrays a, d: d missing")):
            read_matlab(path, ("a", "d"))
    content = path.read_bytes()
    for length in range(0, len(content), 9):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"it\.mat (is truncated, damaged|must hold the arrays)") as caught:
            read_matlab(path, ("a", "b", "c"))
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"cannot read .*No such file"):
        read_matlab(tmp_path / "absent.mat", ("a",))


def test_archives(tmp_path: Path) -> None:
    path = tmp_path / "it.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"top/a.bin": b"1", "top/._a.bin": b"2", "b.bin": bytes(3000)}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        folder = tarfile.TarInfo("c.bin")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    assert read_archive(path, ("b.bin", "a.bin")) == [bytes(3000), b"1"]
    with pytest.raises(DataError, match=re.escape("must hold the files a.bin, c.bin: c.bin missing")):
        read_archive(path, ("a.bin", "c.bin"))
    content = path.read_bytes()
    for length in range(0, len(content) // 2, 7):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"it\.tar\.gz (is truncated or damaged|must hold the files)"):
            read_archive(path, ("b.bin", "a.bin"))
    path.write_bytes(gzip.compress(b"no archive" * 100))
    with pytest.raises(DataError, match="is truncated or damaged"):
        read_archive(path, ("b.bin",))
    with pytest.raises(DataError, match=r"cannot read .*No such file"):
        read_archive(tmp_path / "absent.tar.gz", ("b.bin",))
