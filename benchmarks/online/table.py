"""The result of the online test as plain text."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.online.compare import FIGURES, Figure, View
from configs.terminal.plain_text import fit, wrap
from trainer.metrics.formatting import POINTS

_TITLES = {
    "click_rate": "clicks / impression",
    "order_rate": "orders / request",
    "gmv": "money / request",
}
_VIEWS = {
    "split_users": "A/B test: a user belongs to one arm",
    "paired": "paired: every user under both arms, with the same luck",
    "expected": "expected: the same rankings, true probabilities in place of draws",
}
_NAMES = {"random": "random order", "true": "true probabilities"}

Show = Callable[[float], str]


WIDEST = 160
"""Characters of a line that a page of docs has."""


def render(result: Mapping[str, Any], width: int | None = None) -> str:
    """The table that the command prints.

    Args:
      result: as ``--json`` has it.
      width: characters of a line; the terminal's where None.
    """
    days, offline, served = result["days"], result["offline"], result["served"]
    lines = [
        *wrap(
            f"{result['requests']:,} live requests of {result['users']:,} users on {days[0]} .."
            f" {days[-1]} (split '{result['split']}'); {result['candidates']} candidates,"
            f" {result['shown']} shown, ranked by {result['rank_by']}; 95% intervals",
            width=width,
        ),
        "",
    ]
    names = {**_NAMES, **{role: f"{role} {result[role]}" for role in ("control", "treatment")}}
    for name, title in _VIEWS.items():
        rows = _view_rows(result["views"][name], names)
        lines += [title, *fit(rows, right=rows[0][1:], width=width), ""]
    for role in ("control", "treatment"):
        counts = served[role]
        share = 1.0 - counts.get("backbone", 0) / sum(counts.values())
        lines.append(
            f"{role} {result[role]}: {share:.1%} of the candidates were scored by a kernel"
        )
    return "\n".join(line.rstrip() for line in [*lines, *_offline_lines(offline)]) + "\n"


def _view_rows(view: View, names: Mapping[str, str]) -> list[list[str]]:
    rows = [
        ["", *(_TITLES[figure] for figure in FIGURES)],
        *(
            _row(f"{names[name]} ({arm['requests']:,})", arm["figures"], _rate)
            for name, arm in view["arms"].items()
        ),
        _row("lift of treatment", view["lift"], _percent),
    ]
    for role, figures in view.get("reach", {}).items():
        rows.append(_row(f"{role} between random and true", figures, _share))
    return rows


def _row(name: str, figures: Mapping[str, Figure], show: Show) -> list[str]:
    return [f"  {name}", *(_cell(figures[figure], show) for figure in FIGURES)]


def _cell(figure: Figure, show: Show) -> str:
    if figure["value"] is None:
        return "undefined"
    ends = figure["ci95"]
    return show(figure["value"]) + (
        f" [{show(ends[0])}, {show(ends[1])}]" if ends else " [unknown]"
    )


def _rate(value: float) -> str:
    return f"{value:.4f}" if value < 1 else f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{value:+.2%}"


def _share(value: float) -> str:
    return f"{value:.1%}"


def _offline_lines(offline: Mapping[str, Any] | None) -> list[str]:
    if offline is None:
        return ["offline: not evaluated (python -m trainer.task evaluate)"]
    lines = [f"offline, split '{offline['split']}': backbone -> active kernels (best reachable)"]
    for task in (name for name in offline if name != "split"):
        for metric in ("auc", "gauc"):
            figure = offline[task][metric]
            before, after, best = figure["backbone"], figure["kernel"], figure["best"]
            if any(isinstance(value, str) for value in (before, after)):
                continue
            gain = POINTS * (after - before)
            lines.append(
                f"  {task.upper():<5} {metric.upper():<4} {before:.4f} -> {after:.4f} ({gain:+.2f}"
                " points)" + (f", best {best:.4f}" if isinstance(best, float) else "")
            )
    return lines
