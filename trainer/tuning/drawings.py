"""Draws a search: the figure of every trial in turn, and against each setting."""

import json
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from configs.tuning.ranges import Range
from trainer.metrics.formatting import is_number
from trainer.reports.plots import BLUE, GREEN, GREY, ORANGE, STYLE, legend, panel, svg_text
from trainer.tuning.results import Trial, TuneResult

_COMPLETE: dict[str, Any] = {"marker": "o", "color": BLUE}
_PRUNED: dict[str, Any] = {"marker": "o", "color": GREY, "markerfacecolor": "none"}
_FIRST: dict[str, Any] = {"marker": "D", "color": GREEN}
_BEST: dict[str, Any] = {"marker": "o", "color": ORANGE}
_KINDS = (("complete", _COMPLETE), ("pruned", _PRUNED), ("config", _FIRST), ("best", _BEST))
_LONGEST_LABEL = 16


def plot_trials(result: TuneResult) -> str:
    """The figure of every trial in turn, and the best until then."""
    with mpl.rc_context(STYLE):
        figure, axes = panel(2.4, left=0.65, bottom=0.75)
        best: list[float] = []
        numbers = [trial.number for trial in result.complete]
        for trial in result.complete:
            best.append(max([_height(result, trial), *best[-1:]], key=_rank(result)))
        axes.step(numbers, best, where="post", color=GREY, linewidth=1)
        for trial in result.ended:
            _point(axes, result, trial, trial.number)
        axes.set_title(f"{_title(result)} by trial")
        axes.set_xlabel("trial")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        legend(figure, axes, _KINDS)
        return svg_text(figure)


def plot_setting(result: TuneResult, key: str, limits: Range) -> str:
    """The figure of every trial against a setting; trials whose value is no number, where the
    range is of numbers, are left out.
    """
    trials = [trial for trial in result.ended if trial.value is not None]
    values = [trial.settings[key] for trial in trials]
    texts = [json.dumps(value) for value in (*limits.choices, *values)] if limits.choices else []
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    with mpl.rc_context(STYLE):
        figure, axes = panel(2.4, left=0.65, bottom=0.75)
        for trial, value in zip(trials, values, strict=True):
            place = places[json.dumps(value)] if places else value
            if is_number(place) and not (limits.log and place <= 0):
                _point(axes, result, trial, place)
        if places:
            axes.set_xticks(list(places.values()), [_short(text) for text in places])
            axes.set_xlim(-0.5, len(places) - 0.5)
        elif limits.log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # the usual one is markup
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(f"{_title(result)} by {key}")
        axes.grid(alpha=0.25)
        legend(figure, axes, _KINDS)
        return svg_text(figure)


def _point(axes: Axes, result: TuneResult, trial: Trial, place: float) -> None:
    if trial.value is None:
        return
    style = _COMPLETE if trial.state == "complete" else _PRUNED
    style = _BEST if trial.number == result.best else style if trial.number else _FIRST
    axes.plot([place], [_height(result, trial)], linestyle="", markersize=5, **style)


def _height(result: TuneResult, trial: Trial) -> float:
    value = trial.value or 0.0
    return -value if result.pretrain["monitor"] == "loss" else value


def _rank(result: TuneResult) -> Any:
    return (lambda height: -height) if result.pretrain["monitor"] == "loss" else float


def _title(result: TuneResult) -> str:
    return "Loss" if result.pretrain["monitor"] == "loss" else "Mean AUC"


def _short(text: str) -> str:
    text = text.strip('"')
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
