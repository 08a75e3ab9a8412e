"""Filling in the holes of a table: a tensor ring beside the imputers of scikit-learn.

    python -m benchmarks.holes

A share of the cells of each table is hidden at random, ten times. Everybody sees what is left and fills in the rest.
The error is that of the hidden numbers, in standard deviations of their column. The kind (a categorical column) is
hidden too: its accuracy is that of the most probable value, and for the imputers, which know numbers only, of the
rounded one.
Writes ``results/bench/holes.md`` and ``.json``.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from benchmarks.tensor_ring import OUT
from benchmarks.timing import machine, markdown_table, write, write_json
from googol.distributions import Categorical, Normal, TensorRing

TABLES = {"wine": datasets.load_wine, "breast cancer": datasets.load_breast_cancer}
HIDDEN, PATTERNS, RANK, COMPONENTS, STEPS = 0.3, 10, 8, 8, 50

# A table filled in, and the standard deviations of its numbers from those who know them.
Filled: TypeAlias = tuple[np.ndarray, np.ndarray | None]


def with_ring(table: np.ndarray) -> Filled:
    """The table filled in by the means and most probable kinds given the rest of each row, and standard deviations."""
    torch.manual_seed(0)
    rows = torch.from_numpy(table)
    kinds = int(np.nanmax(table[:, -1])) + 1
    variables = [Normal(COMPONENTS)] * (rows.shape[1] - 1) + [Categorical(kinds)]
    ring = TensorRing(variables, rank=RANK, boundary="train")
    ring.fit_initial(rows)
    optimizer = torch.optim.Adam(ring.parameters(), 0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (-ring().log_prob(rows[torch.randint(len(rows), (64,))]).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        joint = ring().condition(rows)
        filled, scale = joint.mean, joint.variance.sqrt()
        filled[:, -1] = joint.component_probs()[:, -1, :kinds].argmax(-1)
    return filled.numpy(), scale.numpy()


def with_imputer(imputer: Any) -> Callable[[np.ndarray], Filled]:
    """The same by an imputer, which tells no standard deviations."""

    def fill(table: np.ndarray) -> Filled:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            filled = imputer.fit_transform(table)
        return np.concatenate([filled[:, :-1], filled[:, -1:].round()], 1), None

    return fill


WAYS: dict[str, Callable[[np.ndarray], Filled]] = {
    "tensor train": with_ring,
    "column means": with_imputer(SimpleImputer()),
    "nearest neighbours": with_imputer(KNNImputer()),
    "iterative (linear)": with_imputer(IterativeImputer(random_state=0)),
}


def measure(name: str) -> list[dict[str, Any]]:
    """What every way makes of a table, a row for each way and pattern of holes."""
    numbers, kinds = TABLES[name](return_X_y=True)
    numbers = (numbers - numbers.mean(0)) / numbers.std(0)
    whole = np.concatenate([numbers, kinds[:, None]], 1).astype(np.float32)
    found = []
    for pattern in range(PATTERNS):
        hidden = np.random.default_rng(pattern).random(whole.shape) < HIDDEN
        for way, fill in WAYS.items():
            start = time.perf_counter()
            filled, scale = fill(np.where(hidden, np.nan, whole))
            seconds = time.perf_counter() - start
            cells, kind = hidden[:, :-1], hidden[:, -1]
            error = np.abs(filled - whole)
            found.append(
                {
                    "table": name,
                    "way": way,
                    "pattern": pattern,
                    "error": float(np.sqrt(np.square(error[:, :-1][cells]).mean())),
                    "kinds_right": float((error[kind, -1] == 0).mean()),
                    "within_90": None if scale is None else float((error <= 1.645 * scale)[:, :-1][cells].mean()),
                    "seconds": seconds,
                }
            )
    return found


def main() -> None:
    """Measures, and writes the page."""
    torch.set_num_threads(1)
    found = [row for name in TABLES for row in measure(name)]
    rows = []
    for name in TABLES:
        for way in WAYS:
            mine = [row for row in found if (row["table"], row["way"]) == (name, way)]
            errors, right = (np.array([row[key] for row in mine]) for key in ("error", "kinds_right"))
            within = [row["within_90"] for row in mine if row["within_90"] is not None]
            rows.append(
                [
                    name,
                    way,
                    f"{errors.mean():.3f} ± {errors.std():.3f}",
                    f"{100 * right.mean():.1f} %",
                    f"{100 * np.mean(within):.0f} %" if within else "",
                    f"{np.median([row['seconds'] for row in mine]):.2f}",
                ]
            )
    header = ["table", "filled in by", "error", "kinds right", "in the 90 % interval", "seconds"]
    text = f"""# Holes in tables

{100 * HIDDEN:.0f} % of the cells are hidden, in {PATTERNS} patterns; errors in standard deviations of a column, mean ±
standard deviation over the patterns. One thread; the seconds are medians. `python -m benchmarks.holes` measures it.

{markdown_table(header, rows)}

The train knows each number by one of {COMPONENTS} normals. Where rows fall into groups, as wines do, that is as good
as anything here. Where many columns are nearly linear functions of each other, as in the breast cancer table, a linear
model tells the numbers much better. The train alone says how sure it is.
"""
    write(OUT / "holes.md", text)
    write_json(OUT / "holes.json", {"machine": machine(), "results": found})
    print(text)


if __name__ == "__main__":
    main()
