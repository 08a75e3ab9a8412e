"""A finished run, and folders of its own for each test."""

from pathlib import Path

import pytest

from googol.cli import main

TINY = ["--epochs", "2", "--warmup-epochs", "1", "--latents", "2", "--figure-every", "2", "prior:tensor-ring"]
TINY += ["--prior.rank", "3", "--prior.components", "4", "network:mlp", "--network.hidden", "16"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    out = tmp_path_factory.mktemp("runs") / "RUN"
    assert main(["train", "joint-vae", "--out", str(out), "--missing", "0.5", "--missing-seed", "1", *TINY]) == 0
    return out


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GOOGOL_DATA", str(tmp_path / "data"))
