"""Writes a search as one HTML page that needs nothing else, in the style of the report."""

from pathlib import Path

from trainer.reports.html_page import escape, image, render_page, write_page
from trainer.reports.html_tables import TABLE_STYLE, table_of
from trainer.tuning.drawings import plot_setting, plot_trials
from trainer.tuning.results import TuneResult
from trainer.tuning.summary import (
    best_settings,
    describe_best,
    describe_optimism,
    describe_search,
    describe_unfinished,
    show_flags,
    show_yaml,
    trial_cells,
)

PAGE = "tune.html"
_BELOW = "the figures are in the table below"


def write_tune_page(result: TuneResult, folder: Path) -> Path:
    """Writes ``tune.html`` whole or not at all, and gives its path. Raises ``InputError`` where it
    cannot be written.
    """
    drawings = [image(plot_trials(result), f"Figure of every trial in turn; {_BELOW}")]
    for key, limits in result.ranges.items():
        drawing = plot_setting(result, key, limits)
        drawings.append(image(drawing, f"Figure of every trial against {key}; {_BELOW}"))
    failed = [
        f"<p class=note>Trial {trial.number} failed: {escape(trial.reason)}</p>"
        for trial in result.trials
        if trial.reason
    ]
    settings = best_settings(result)
    sections = [
        "<h1>Settings of pre-training</h1>",
        f"<p class=note>{escape(describe_search(result))}.</p>",
        f"<p><strong>{escape(describe_best(result))}.</strong></p>",
        f"<p>{escape(describe_optimism(result))} {escape(describe_unfinished(result))}</p>",
        f"<pre>{escape(show_flags(settings))}\n\n{escape(show_yaml(settings))}</pre>"
        if settings
        else "",
        (
            "<h2>Trials</h2><p class=note>Trial 0 is the config as it is. A pruned trial was"
            " stopped for being worse than half of the others after as many epochs; its figure is"
            " that of its last epoch.</p>"
        ),
        f"<div class=panels>{''.join(drawings)}</div>",
        table_of("All trials", trial_cells(result)),
        *failed,
    ]
    path = folder / PAGE
    write_page(path, render_page("Settings of pre-training", filter(None, sections), TABLE_STYLE))
    return path
