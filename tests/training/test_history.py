"""Rows of metrics.csv."""

from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from googol.training.history import History, RunningMeans


def test_rows_behind_the_checkpoint_are_cut(tmp_path: Path) -> None:
    with History(tmp_path, rows=0, step=0) as history:
        history.write(1, 1, "train", {"loss": 0.1, "kl": 1e-30})
        history.write(1, 1, "valid", {"loss": 1 / 3})
        history.write(2, 2, "train", {"loss": 5.0, "kl": 6.0})
    path = tmp_path / "metrics.csv"
    whole = path.read_text()
    assert whole == "step,epoch,split,loss,kl\n1,1,train,0.1,1e-30\n1,1,valid,0.3333333333333333,\n2,2,train,5.0,6.0\n"
    path.write_text(whole + "3,2,tra")  # a row that a kill cut short
    with History(tmp_path, rows=2, step=1) as history:
        assert history.rows == 2
        history.write(2, 2, "train", {"loss": 5.0, "kl": 6.0})
    assert path.read_text() == whole


def test_a_term_that_comes_later_gets_a_column(tmp_path: Path) -> None:
    with History(tmp_path, rows=0, step=0) as history:
        history.write(1, 1, "train", {"loss": 0.1})
        history.write(2, 2, "train", {"kl": 3.0, "loss": 0.2})
        history.write(2, 2, "valid", {"loss": 0.3})
    expected = "step,epoch,split,loss,kl\n1,1,train,0.1,\n2,2,train,0.2,3.0\n2,2,valid,0.3,\n"
    assert (tmp_path / "metrics.csv").read_text() == expected
    with History(tmp_path, rows=1, step=1) as history:
        history.write(2, 2, "train", {"kl": 3.0, "loss": 0.2})
        history.write(2, 2, "valid", {"loss": 0.3})
    assert (tmp_path / "metrics.csv").read_text() == expected


def test_means_go_on_from_their_state() -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    whole, first, second = (RunningMeans(fabric) for _ in range(3))
    for step in range(3):
        for means in (whole, first if step < 2 else second):
            means.add(step, {"loss": torch.tensor(0.1 * step), "kl": torch.tensor(1.0)}, weight=step + 1)
        if step == 1:
            second.load_state_dict(first.state_dict())
    expected = {"loss": pytest.approx((0.1 * 2 + 0.2 * 3) / 6), "kl": 1.0}
    assert second.pop() == whole.pop() == expected
    assert not second
    second.add(3, {"loss": torch.tensor(1.0)})
    with pytest.raises(ValueError, match=r"expected the terms \['loss'\] as in the steps before, got \['kl'\]"):
        second.add(4, {"kl": torch.tensor(1.0)})
