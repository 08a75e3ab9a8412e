"""No test of data looks at this machine's own data."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder during a test, which does not exist at first; ``GOOGOL_DATA`` is not set."""
    monkeypatch.delenv("GOOGOL_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache" / project)
    return tmp_path / "cache" / "googol"
