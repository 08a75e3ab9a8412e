"""The page of a table: what was published beside what was found here."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from googol.experiments.caveats import NOT_PUBLISHED
from googol.experiments.reproduction import read_results
from googol.experiments.table import Row, Table
from googol.experiments.table_pictures import pictures_markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTES = "notes.md"
SMALLER_IS_BETTER = ("bits_per_dim", "fid", "mode_kl")
SHARES = ("accuracy", "precision", "recall", "coverage")


def summary(table: Table, results: Path, rows: Sequence[Row] | None = None) -> dict[str, Any]:
    """A table as plain data: an entry for each row, data set and metric.

    Arguments:
        table: The table.
        results: The folder of all results.
        rows: Which rows; by default those of the table.
    """
    found, _ = read_results(results, table)
    entries = []
    for data in table.data:
        for row in rows or table.rows:
            runs = [run for run in found if (run["row"], run["data"]) == (row.name, data)]
            for metric in table.metrics[data]:
                entries.append(_entry(row, data, metric, runs))
    return {"table": table.name, "rows": entries}


def _entry(row: Row, data: str, metric: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    published = row.published.get(data, {}).get(metric)
    values = [run["metrics"][metric] for run in runs]
    minutes = [run["training"]["seconds"] / 60 for run in runs]
    return {
        "row": row.name,
        "data": data,
        "metric": metric,
        "published": None if published is None else published.value,
        "ours": statistics.fmean(values) if values else None,
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "seeds": len(values),
        "exact_data": runs[0]["exact_data"] if runs else None,
        "minutes": round(statistics.fmean(minutes), 1) if minutes else None,
        "device": runs[0]["device"] if runs else None,
    }


def write_page(table: Table, results: Path) -> Path:
    """Writes `README.md` and the curves of a table; remarks in `notes.md` beside them are taken over."""
    from googol.training import to_png, write_file

    folder = results / table.name
    found, stale = read_results(results, table)
    named = "Published" if any(row.published for row in table.rows) else "Source"
    parts = [f"# {table.title}", f"{named}: {table.source}.", table.remark]
    own = {row.baseline: table.row(row.baseline).title for row in table.rows if row.baseline}
    others = f" (of some rows, over {', '.join(f'*{title}*' for title in own.values())})" if own else ""
    parts.append(
        f"Made by `googol reproduce {table.name}`. *Ours* is the mean ± standard deviation over seeds. The gain is "
        f"over the row *{table.row(table.baseline).title}*{others}, in the direction in which the metric gets better."
    )
    for data in table.data:
        runs = [run for run in found if run["data"] == data]
        if runs:
            parts += [f"## {table.titles[data]}", _about_data(runs, published=_is_published(table, data))]
            parts += [*_markdown(table, data, runs), _problems(table, runs)]
            # A training whose time was up before its first epoch was has no curve.
            curved = [run for run in runs if run["curve"]]
            if curved and not any(_is_game(run) for run in runs):
                write_file(folder / f"{data}.png", to_png(_curves(table, data, curved)))
                parts.append(f"![Validation loss of each row over epochs and minutes]({data}.png)")
            parts += pictures_markdown(table, data, _all_rows(table, runs), results)
    for why in dict.fromkeys(stale.values()):
        files = ", ".join(name for name, reason in stale.items() if reason == why)
        parts.append(f"Not shown, since each of them {why}: {files}.")
    if (folder / NOTES).is_file():
        parts.append((folder / NOTES).read_text(encoding="utf-8").strip())
    page = folder / "README.md"
    write_file(page, ("\n\n".join(part.strip() for part in parts if part) + "\n").encode())
    return page


def _is_published(table: Table, data: str) -> bool:
    return any(data in row.published for row in table.rows)


def _about_data(runs: Sequence[Mapping[str, Any]], *, published: bool) -> str:
    # Where no number was published there is nothing that the data could be the same as.
    own_split = runs[0]["remark"]
    exact = ("The published data" if own_split else "The published data and split") if published else ""
    exact = exact if runs[0]["exact_data"] else "**Not the published data**"
    about = ": ".join(text for text in (exact, runs[0]["remark"]) if text)
    evaluation = ", ".join(f"{key} = {value:,}" for key, value in runs[0]["evaluation"].items())
    judged = [run["metrics"]["classifier_accuracy"] for run in runs if "classifier_accuracy" in run["metrics"]]
    judge = (
        f" The classifier that judges is right about {number('accuracy', judged[0])} of real images." if judged else ""
    )
    return f"{about[:1].upper()}{about[1:]}{'. ' if about else ''}Evaluation: {evaluation or 'as by default'}.{judge}"


def _markdown(table: Table, data: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    metrics = table.metrics[data]
    head = ["row"]
    for title in metrics.values():
        head += [f"{title}, published", f"{title}, ours", "gain, published", "gain, ours"]
    lines = [[*head, "parameters", "seeds", "minutes, training + evaluation", "epochs", "device"]]
    for row in _all_rows(table, runs):
        mine = [run for run in runs if run["row"] == row.name]
        if not mine and data not in row.published:
            continue
        line = [f"**{row.title}**" if _is_published(table, data) and data not in row.published else row.title]
        for metric in metrics:
            line += _cells(table, data, metric, row, runs)
        lines.append([*line, *_circumstances(mine)])
    # Where nothing was published, nothing is said of it.
    kept = [number for number, column in enumerate(zip(*lines[1:], strict=True)) if any(column)]
    lines = [[line[number] for number in kept] for line in lines]
    rule = ["---"] + ["---:"] * (len(lines[0]) - 1)
    text = "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])
    return [text, "Rows in bold are not in the published table." if any("**" in line[0] for line in lines) else ""]


def _all_rows(table: Table, runs: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [row for row in table.rows if row.published or any(run["row"] == row.name for run in runs)]


def _cells(table: Table, data: str, metric: str, row: Row, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    baseline = table.row(row.baseline or table.baseline)
    mine, base = (_entry(of, data, metric, [run for run in runs if run["row"] == of.name]) for of in (row, baseline))
    sign = -1 if metric.endswith(SMALLER_IS_BETTER) else 1
    gains = []
    for source in ("published", "ours"):
        known = mine[source] is not None and base[source] is not None and row.name != baseline.name
        gains.append(number(metric, sign * (mine[source] - base[source]), sign=True) if known else "")
    published = row.published.get(data, {}).get(metric)
    return [
        "" if published is None else number(metric, published.value, published.sd),
        "" if mine["ours"] is None else number(metric, mine["ours"], mine["sd"]),
        *gains,
    ]


def number(metric: str, value: float, sd: float | None = None, *, sign: bool = False) -> str:
    """A value of a metric as people read it: shares in per cent.

    Example:
        >>> number("elbo", -90.126, 0.5), number("condition_accuracy", 0.8994), number("fid", 1.5, sign=True)
        ('-90.13 ± 0.50', '89.94 %', '+1.50')
    """
    factor, unit = (100, " %") if metric.endswith(SHARES) else (1, "")
    deviation = "" if sd is None else f" ± {factor * sd:.2f}"
    return f"{factor * value:{'+' if sign else ''}.2f}{deviation}{unit}"


def _circumstances(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    if not runs:
        return [""] * 5
    training = statistics.fmean(run["training"]["seconds"] for run in runs) / 60
    minutes = f"{training:.1f} + {statistics.fmean(run['evaluation_minutes'] for run in runs):.1f}"
    epochs = statistics.fmean(run["training"]["epochs"] for run in runs)
    kept = statistics.fmean(map(_kept_epoch, runs))
    cut = " (budget)" if any(run["training"]["stopped_by"] == "time_budget" for run in runs) else ""
    cut += f", best {kept:.0f}" if kept < epochs - 0.5 else ""
    parameters = runs[0]["metrics"].get("parameters", 0)
    devices = sorted({run["device"] for run in runs})
    return [f"{parameters:,}", str(len(runs)), minutes, f"{epochs:.0f}{cut}", "; ".join(devices)]


def _kept_epoch(run: Mapping[str, Any]) -> float:
    """After how many epochs a model had the weights that were measured."""
    training = run["training"]
    share = training["kept_step"] / max(1, training["steps"]) if "kept_step" in training else 1.0
    return float(training["epochs"] * share)


def _problems(table: Table, runs: Sequence[Mapping[str, Any]]) -> str:
    """What was wrong at the end of the training of games, where something was."""
    lines = []
    for run in runs:
        diagnosis = run["training"].get("diagnosis", "good")
        if diagnosis != "good":
            kept = f"measured are the weights of step {run['training']['kept_step']:,}"
            lines.append(f"- *{table.row(run['row']).title}*, seed {run['seed']}: {diagnosis}; {kept}.")
    return "\n\n".join(["At the end of training:", "\n".join(lines)]) if lines else ""


def _is_game(run: Mapping[str, Any]) -> bool:
    """Whether the model has a critic: then the losses do not tell how good it is."""
    return "critic_steps" in run["experiment"]["model"]


def _curves(table: Table, data: str, runs: Sequence[Mapping[str, Any]]) -> Figure:
    """The validation losses over epochs and, at the pace of the fastest run of a row, over minutes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for number, row in enumerate(_all_rows(table, runs)):
        own = [run for run in runs if run["row"] == row.name]
        # The other runs were held up by what else the machine had to do.
        pace = min((run["training"]["seconds"] / 60 / run["training"]["epochs"] for run in own), default=0.0)
        for seed, run in enumerate(own):
            epochs, losses = zip(*run["curve"], strict=True)
            style = {"color": f"C{number % 10}", "linewidth": 1, "alpha": 0.9}
            axes[0].plot(epochs, losses, label=row.title if seed == 0 else None, **style)
            axes[1].plot([epoch * pace for epoch in epochs], losses, **style)
    finals = sorted(run["curve"][-1][1] for run in runs)
    spread = max(finals[-1] - finals[0], abs(finals[0]) * 0.02)
    rebuilt = "" if runs[0]["exact_data"] else f" ({NOT_PUBLISHED})"
    figure.suptitle(f"{table.title}: {table.titles[data]}{rebuilt}", fontsize="medium")
    axes[0].set(xlabel="epoch", ylabel="validation loss, nats")
    axes[1].set(xlabel="minute of the training, at the pace of a row's fastest run")
    axes[0].set_ylim(min(min(loss for _, loss in run["curve"]) for run in runs) - 0.2 * spread, finals[-1] + 3 * spread)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize="small")
    return figure
