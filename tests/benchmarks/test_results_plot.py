"""The README's plot shows what ``docs/results.md`` says."""

from html import unescape
from pathlib import Path

import pytest

from benchmarks import results_plot
from benchmarks.results_plot import DOCS, SHOWN, Gain, describe, draw, read_gains
from configs import InputError

TABLE = "| method | CTR gain | by seed | CTCVR gain | by seed | CTR-AUC | CTCVR-AUC | parameters |"
MARKER, END = "<!-- figures: globo/main/test; without rows -->", "<!-- end -->"
RESULTS = (DOCS / "results.md").read_text(encoding="utf-8")


def table(*rows: str) -> str:
    other = ["<!-- figures: other/main/test -->", TABLE, "|---|", row("another table"), END]
    return "\n".join(["before", *other, *marked(f"{TABLE} training |", *rows)])


def marked(header: str, *rows: str) -> list[str]:
    return [MARKER, "", header, "|---|", *rows, "", END, "| after | it |"]


def row(method: str, gain: str = "+1.07 [+1.00, +1.13]", seeds: str = "+0.34 +1.24") -> str:
    return f"| {method} | {gain} | {seeds} | -0.10 [-0.20, +0.00] | -0.10 | 0.67 | 0.73 | 1 | 2 s |"


def test_reads_means_intervals_and_seeds() -> None:
    gains = read_gains(table(*map(row, SHOWN), row("another")))
    assert gains.keys() == SHOWN.keys() | {"another"}
    assert gains["last layer"] == {
        "CTR": Gain(1.07, 1.0, 1.13, (0.34, 1.24)),
        "CTCVR": Gain(-0.1, -0.2, 0.0, (-0.1,)),
    }


@pytest.mark.parametrize("tasks", [["VIEW"], ["A", "TO_CART", "LIKE"]])
def test_a_table_may_have_any_tasks(tasks: list[str]) -> None:
    gain = "+1.07 [+1.00, +1.13] | +0.34 +1.24 |"
    header = "| method |" + "".join(f" {task} gain | by seed |" for task in tasks)
    header += "".join(f" {task}-AUC |" for task in tasks) + " parameters |"
    rows = [f"| {name} | " + " ".join([gain] * len(tasks)) + " 0.6 |" for name in SHOWN]
    gains = read_gains("\n".join(marked(header, *rows)))
    assert all(list(found) == tasks for found in gains.values())
    drawing = draw(gains, results_plot.COLOURS["light"])
    assert all(f">{task}</text>" in drawing for task in tasks)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no table", "expected <!-- figures: globo/main/test -->"),
        (f"{MARKER}\nno table\n{END}", "received: no table"),
        ("\n".join(marked("| method | gain |")), "received: method, gain"),
        (table(row("kernels")), "no row for: .*last layer"),
        (table(row("kernels", gain="+1.07")), "received: kernels"),
        (table(row("kernels", seeds="undefined")), "received: kernels"),
        (table(row("kernels", seeds="")), "received: kernels"),
    ],
)
def test_refuses_what_it_cannot_draw(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_gains(text)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_committed_plot_shows_today_s_figures(colours: str) -> None:
    committed = (DOCS / "images" / f"results-{colours}.svg").read_text(encoding="utf-8")
    assert describe(read_gains(RESULTS)) in unescape(committed)


def test_text_stays_text_and_equal_figures_give_equal_files() -> None:
    gains = read_gains(RESULTS)
    drawing = draw(gains, results_plot.COLOURS["dark"])
    assert all(f">{name}</text>" in drawing for name in SHOWN.values())
    assert drawing == draw(gains, results_plot.COLOURS["dark"])


def test_the_command_writes_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results.md").write_text(RESULTS, encoding="utf-8")
    monkeypatch.setattr(results_plot, "DOCS", tmp_path)
    monkeypatch.setattr("sys.argv", ["results_plot"])
    results_plot.main()
    written = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert written == ["results-dark.svg", "results-light.svg"]
