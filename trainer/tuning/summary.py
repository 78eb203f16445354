"""A search as plain text for a terminal, and the texts that the page shows, too."""

import json
import shlex
import textwrap
from pathlib import Path
from statistics import NormalDist
from typing import Any

import yaml

from configs.terminal.plain_text import fit_page, wrap_page
from trainer.metrics.formatting import POINTS
from trainer.tuning.results import Trial, TuneResult
from trainer.tuning.search_space import flags_of

_LONGEST = 40
"""Letters of a setting in the table."""
_POINTS = " points"
_COUNTS = ("trial", "epochs", "seconds")


def render_summary(result: TuneResult, folder: Path) -> str:
    """The table of trials, which was best, what that is worth, and its settings as flags and as
    YAML.
    """
    lines = [*wrap_page(describe_search(result)), "", *fit_page(trial_cells(result), _COUNTS)]
    lines += ["", *wrap_page(describe_best(result))]
    for trial in result.trials:
        if trial.reason:
            lines += wrap_page(f"trial {trial.number} failed: {trial.reason}")
    for note in filter(None, (describe_optimism(result), describe_unfinished(result))):
        lines += ["", *wrap_page(note)]
    if settings := best_settings(result):
        lines += [
            "",
            "its settings as flags, beside those of this command",
            f"  {show_flags(settings)}",
        ]
        lines += ["", "and for the config", textwrap.indent(show_yaml(settings), "  ").rstrip()]
    if result.job and result.best is not None:
        data = shlex.quote(str(result.trials[result.best].data))
        place = f"--data {data} --job-dir {shlex.quote(str(folder / result.job))}"
        lines += ["", "its backbone, for trainer.task finetune", f"  {place}"]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def describe_search(result: TuneResult) -> str:
    """``12 trials, judged by mean AUC on the 3,367 rows of split 'validation': 9 complete, 3
    pruned``.
    """
    states = [trial.state for trial in result.trials]
    kinds = [f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states))]
    split = result.pretrain["validation"]
    return (
        f"{len(states)} trial{'' if len(states) == 1 else 's'}, judged by {_figure(result)} on the"
        f" {result.validation_rows:,} rows of split '{split}': {', '.join(kinds) or 'none yet'}"
    )


def describe_best(result: TuneResult) -> str:
    """Which trial was best, and by how much."""
    if result.best is None:
        return "no trial is complete"
    best = result.trials[result.best]
    if not best.number:
        return "no trial was better than the config as it is"
    gain = "" if result.gain is None else f", {show_gain(result, best)} over the config as it is"
    return f"best: trial {best.number}, {_figure(result)} {show_value(result, best)}{gain}"


def describe_optimism(result: TuneResult) -> str:
    """What the figure of the best trial does not say; empty where nothing was chosen.

    The expected largest of n normal draws is that of Blom (1958), ``(n - 3/8) / (n + 1/4)``.
    """
    count = len(result.complete)
    if count < 2:
        return ""
    above = NormalDist().inv_cdf((count - 0.375) / (count + 0.25))
    return (
        f"The same rows gave the figures and chose among {count} trials, so the best figure is"
        f" optimistic: of {count} settings of equal worth, whose figures differ by chance, the best"
        f" stands about {above:.1f} standard deviations of that chance above their mean. Other"
        " seeds (--set seed=18) show how large it is, and trainer.task evaluate, once and on rows"
        " that chose nothing, what the best settings are worth."
    )


def describe_unfinished(result: TuneResult) -> str:
    """How many trials still got better in the last epoch that they could have; empty where none
    did.
    """
    own = result.pretrain["epochs"]
    rising = sum(
        trial.epochs == trial.settings.get("pretrain.epochs", own)
        and trial.curve[-1] > max(trial.curve[:-1], default=trial.curve[-1])
        for trial in result.complete
    )
    if not rising:
        return ""
    return (
        f"{rising} of {len(result.complete)} complete trials still got better in their last epoch:"
        " settings that learn faster look better than they are; give pretrain.epochs more."
    )


def best_settings(result: TuneResult) -> dict[str, Any]:
    """The settings of the best trial; empty where it is the config as it is."""
    return dict(result.trials[result.best].settings) if result.best else {}


def show_flags(settings: dict[str, Any]) -> str:
    """Settings for a shell: ``--set key.path=value`` and so on."""
    return " ".join(f"--set {shlex.quote(flag)}" for flag in flags_of(settings))


def show_yaml(settings: dict[str, Any]) -> str:
    """Settings as the sections of a config, which is JSON where it is no mapping."""
    content: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None)


def trial_cells(result: TuneResult) -> list[list[str]]:
    """The table of trials, titles first."""
    names = short_names(list(result.ranges))
    title = "loss" if result.pretrain["monitor"] == "loss" else "AUC"
    gain = "gain" if title == "loss" else "gain (points)"
    cells = [["trial", title, gain, "epochs", "seconds", "state", *names.values()]]
    for trial in result.trials:
        values = [_short(json.dumps(trial.settings[key])) for key in names]
        cells.append(
            [
                str(trial.number),
                show_value(result, trial),
                show_gain(result, trial).removesuffix(_POINTS),
                str(trial.epochs or ""),
                f"{trial.seconds:.0f}" if trial.epochs else "",
                trial.state,
                *values,
            ]
        )
    return cells


def short_names(keys: list[str]) -> dict[str, str]:
    """Key -> its last part, or all of it where another key ends alike."""
    last = {key: key.rpartition(".")[2] for key in keys}
    ends = list(last.values())
    return {key: key if ends.count(end) > 1 else end for key, end in last.items()}


def show_value(result: TuneResult, trial: Trial) -> str:
    """``0.6301``: a mean AUC or a loss; empty where there is none."""
    if trial.value is None:
        return ""
    return f"{-trial.value if result.pretrain['monitor'] == 'loss' else trial.value:.4f}"


def show_gain(result: TuneResult, trial: Trial) -> str:
    """``+0.52 points`` of AUC over the config as it is, or how much less the loss is; empty where
    one of both has no figure.
    """
    first = result.trials[0].value
    if trial.value is None or first is None:
        return ""
    if result.pretrain["monitor"] == "loss":
        return f"{trial.value - first:+.4f}"
    return f"{POINTS * (trial.value - first):+.2f}{_POINTS}"


def _figure(result: TuneResult) -> str:
    return "loss" if result.pretrain["monitor"] == "loss" else "mean AUC"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
