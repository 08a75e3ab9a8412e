"""`googol reproduce`: the rows of a published table, and the page that compares them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from googol.cli import arguments as shared
from googol.data import unknown
from googol.experiments.caveats import NOT_PUBLISHED
from googol.experiments.reproduction import Cell, Reproduction, run_all
from googol.experiments.table import Row, Table, read_table, tables
from googol.experiments.table_page import number, summary, write_page
from googol.experiments.table_pictures import draw_pictures

DESCRIPTION = """\
Train and measure the rows of a published table, and put the numbers beside the published ones.

Examples:
  googol reproduce                                             list the tables
  googol reproduce sylvester --row vae,h-snf --data caltech101
  googol reproduce vampprior --data static-mnist --seeds 1 --budget 30 --jobs 2
  googol reproduce sylvester --show
  googol reproduce sylvester --row my-row.yaml --data caltech101

Each row, data set and seed is a run, and leaves one JSON file in results/TABLE; what is there is not made again.
Interrupted, the same command goes on where it was. A row is a small YAML file: give the path of your own."""


@dataclass(frozen=True)
class Reproduce:
    """Which rows."""

    table: Annotated[Positional[str | None], arg(metavar="TABLE")] = None
    """name of a table, or path of a folder with one; none lists them"""
    row: Annotated[str | None, arg(metavar="NAME,NAME,…")] = None
    """rows, by name or path; by default all"""
    data: Annotated[str | None, arg(metavar="NAME,NAME,…")] = None
    """data sets; by default all"""
    seeds: int = 3
    """number of seeds: 0, 1, …"""
    seed: int | None = None
    """one seed instead"""
    budget: Annotated[float | None, arg(metavar="MINUTES")] = None
    """minutes that a training may take; by default as long as its epochs"""
    jobs: int = 1
    """runs side by side, which share the processor"""
    runs: Path = Path("runs")
    """folder of the runs"""
    results: Path = Path("results")
    """folder of the results"""
    show: bool = False
    """train nothing; print the table and write its page, with pictures of the runs that are there"""
    json: bool = False
    """print one JSON object"""
    data_dir: shared.DataDir = None
    """folder of data files"""

    def run(self) -> dict[str, Any]:
        """Runs what is missing, writes the page, and tells."""
        if self.table is None:
            return _list()
        for name, value, least in (("seeds", self.seeds, 1), ("jobs", self.jobs, 1)):
            if value < least:
                raise ValueError(f"--{name} must be at least {least}, got {value}")
        table = read_table(self.table)
        rows = [table.row(name) for name in shared.names(self.row)] if self.row else list(table.rows)
        table = table.with_rows(rows)
        data = shared.names(self.data) if self.data else table.data
        for name in data:
            if name not in table.data:
                raise ValueError(unknown(f"data set of {table.name}", name, table.data))
        seeds = range(self.seeds) if self.seed is None else [self.seed]
        cells = [Cell(table, row, name, seed) for seed in seeds for name in data for row in rows]
        where = Reproduction(self.runs, self.results, self.budget, self.data_dir)
        if not self.show:
            for cell in cells:
                cell.experiment()  # a mistake in a row is told before anything is trained
            run_all(where, cells, jobs=self.jobs)
        for cell in cells:
            draw_pictures(where, cell)
        found = summary(table, self.results, rows)
        found["rows"] = [entry for entry in found["rows"] if entry["data"] in data]
        if any(entry["seeds"] for entry in found["rows"]):
            shared.note(f"the page is {write_page(table, self.results)}")
        _tell(table, rows, found)
        return found


def _list() -> dict[str, Any]:
    found = [read_table(name) for name in tables()]
    width = _width(table.name for table in found)
    for table in found:
        print(f"{table.name:<{width}}{table.title}\n{'':<{width}}rows: {', '.join(row.name for row in table.rows)}")
        print(f"{'':<{width}}data: {', '.join(table.data)}")
    return {"tables": [table.name for table in found]}


def _width(names: Iterable[str]) -> int:
    return max(map(len, names)) + 2


def _tell(table: Table, rows: list[Row], found: dict[str, Any]) -> None:
    titles = {row.name: row.title for row in rows}
    width, of_data, of_metric = (
        _width(names)
        for names in (titles.values(), table.data, ["metric", *(entry["metric"] for entry in found["rows"])])
    )
    print(
        f"{'row':<{width}}{'data':<{of_data}}{'metric':<{of_metric}}"
        f"{'published':>10}{'ours':>18}{'seeds':>7}{'minutes':>9}"
    )
    for entry in found["rows"]:
        metric = entry["metric"]
        ours = "" if entry["ours"] is None else number(metric, entry["ours"], entry["sd"])
        published = "" if entry["published"] is None else number(metric, entry["published"])
        minutes = "" if entry["minutes"] is None else f"{entry['minutes']:.1f}"
        rebuilt = "" if entry["exact_data"] in (True, None) else f"  ({NOT_PUBLISHED})"
        print(
            f"{titles[entry['row']]:<{width}}{entry['data']:<{of_data}}{metric:<{of_metric}}{published:>10}{ours:>18}"
            f"{entry['seeds']:>7}{minutes:>9}{rebuilt}"
        )


def parse(arguments: list[str]) -> Any:
    """The command that the arguments describe."""
    return shared.parse(Reproduce, arguments, prog="googol reproduce", description=DESCRIPTION)
