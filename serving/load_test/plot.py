"""Draws a sweep: latency and throughput against what was offered."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.files import atomic_file
from serving.load_test.measured import PERCENTILES


def check_plot(path: Path) -> None:
    """Raises ``InputError`` where no picture could be written there, before the load is sent and
    not after.
    """
    try:
        import matplotlib  # noqa: F401 - only who wants a picture needs it
    except ImportError:
        raise InputError("--plot needs matplotlib: pip install matplotlib") from None
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"--plot {path}: must end in .png, .svg or .pdf")
    if not path.parent.is_dir():
        raise InputError(f"--plot {path}: no such directory")


def plot(runs: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Draws what ``Offered.figures`` says of each rate: latency percentiles above (log scale),
    throughput and errors below.
    """
    from matplotlib.figure import Figure

    runs = sorted(runs, key=lambda run: run["offered_per_s"])
    offered = [run["offered_per_s"] for run in runs]
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    latency, throughput = figure.subplots(2, 1, sharex=True)
    for name, colour in zip(PERCENTILES, ("#0072B2", "#56B4E9", "#E69F00", "#D55E00"), strict=True):
        label = name.removesuffix("_ms").replace("_", ".")
        latency.plot(
            offered,
            [float("nan") if run[name] is None else run[name] for run in runs],
            "o-",
            color=colour,
            label=label,
        )
    latency.set(yscale="log", ylabel="ms from when a request was due", title=title)
    latency.yaxis.set_major_formatter("{x:g}")
    throughput.plot(offered, offered, "--", color="#8A8A8A", label="all of them")
    throughput.plot(
        offered, [run["requests_per_s"] for run in runs], "o-", color="#0072B2", label="answered"
    )
    for run in runs:
        if errors := sum(run["errors"].values()):
            said = f"{errors / (errors + run['requests']):.1%} refused"
            place = (run["offered_per_s"], run["requests_per_s"])
            throughput.annotate(
                said,
                place,
                xytext=(0, -9),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=8,
            )
    throughput.set(
        xlabel="requests offered per second", ylabel="requests per second", ylim=(0, None)
    )
    for axes in (latency, throughput):
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    with atomic_file(path) as new:
        figure.savefig(new, dpi=144)
