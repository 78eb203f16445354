"""What a search prints, and its page."""

import shlex
from pathlib import Path

import pytest
import yaml

from configs import load_experiment
from tests.browser import Page, assert_loads_nothing
from tests.conftest import QUICKSTART, SMALL
from tests.trainer.tuning.made_search import BODY, CROSSES, RATE, search, trial
from trainer.tuning.page import write_tune_page
from trainer.tuning.summary import (
    best_settings,
    describe_optimism,
    describe_unfinished,
    render_summary,
    short_names,
    show_flags,
    show_yaml,
)

BETTER = {BODY: "shared_bottom", CROSSES: 1, RATE: 0.02}
FOUND = search(
    trial(0, 0.6, 0.62),
    trial(1, 0.5, 0.5, state="pruned", **{RATE: 0.003}),
    trial(2, 0.61, 0.6312, **BETTER),
    trial(3, state="failed").model_copy(update={"reason": "the loss is no number <1>"}),
)


def test_the_table_says_what_tuning_brought_beside_the_config() -> None:
    text = render_summary(FOUND, Path("a place"))
    assert "4 trials, judged by mean AUC on the 1,234 rows of split 'validation'" in text
    assert "best: trial 2, mean AUC 0.6312, +1.12 points over the config as it is" in text
    first, *_ = [line for line in text.splitlines() if line.strip().startswith("0 ")]
    assert first.split()[1:6] == ["0.6200", "+0.00", "2", "2", "complete"]
    assert "trial 3 failed: the loss is no number <1>" in text
    assert "--data 'a place/data' --job-dir 'a place/trials/2'" in text


def test_the_best_settings_can_be_pasted() -> None:
    settings = best_settings(FOUND)
    assert settings == BETTER
    flags = shlex.split(show_flags(settings))
    expected = load_experiment(QUICKSTART, [*SMALL, *flags[1::2]])
    assert set(flags[::2]) == {"--set"}
    assert (expected.backbone.body, expected.backbone.crosses) == ("shared_bottom", 1)
    assert expected.pretrain.learning_rate == 0.02
    pasted = yaml.safe_load(show_yaml(settings))
    assert pasted == {
        "backbone": {"body": "shared_bottom", "crosses": 1},
        "pretrain": {"learning_rate": 0.02},
    }


def test_nothing_is_recommended_where_the_config_was_best() -> None:
    worse = search(trial(0, 0.7), trial(1, 0.6, **BETTER))
    text = render_summary(worse, Path("place"))
    assert "no trial was better than the config as it is" in text
    assert "--set pretrain" not in text
    assert "no trial is complete" in render_summary(search(trial(0, state="failed")), Path("place"))


@pytest.mark.parametrize(("count", "above"), [(2, "0.6"), (20, "1.9"), (100, "2.5")])
def test_it_says_how_optimistic_the_best_of_so_many_is(count: int, above: str) -> None:
    """Expected largest of n normal draws (tables of order statistics): 0.56, 1.87, 2.51."""
    note = describe_optimism(search(*(trial(number, 0.6) for number in range(count))))
    assert f"chose among {count} trials" in note
    assert f"about {above} standard deviations" in note
    assert not describe_optimism(search(trial(0, 0.6), trial(1, 0.6, state="pruned")))


def test_trials_that_were_cut_off_by_their_epochs_are_said() -> None:
    """Two epochs are the most; one trial may have one alone."""
    found = search(
        trial(0, 0.6, 0.6),
        trial(1, 0.6, 0.7),
        trial(2, 0.6),
        trial(3, 0.5, **{"pretrain.epochs": 1}),
    )
    assert describe_unfinished(found).startswith("1 of 4 complete trials still got better")
    assert not describe_unfinished(search(trial(0, 0.6, 0.6)))


def test_a_loss_is_shown_as_a_loss() -> None:
    loss = search(trial(0, -0.5), trial(1, -0.45, **BETTER), settings=("pretrain.monitor=loss",))
    text = render_summary(loss, Path("place"))
    assert "best: trial 1, loss 0.4500, +0.0500 over the config as it is" in text
    assert "points" not in text


def test_columns_have_short_names_that_tell_them_apart() -> None:
    keys = ["features.a.dropout", "features.b.dropout", "backbone.crosses"]
    assert list(short_names(keys).values()) == [*keys[:2], "crosses"]


@pytest.mark.parametrize("settings", [(), ("pretrain.monitor=loss",)])
def test_the_page_needs_nothing_else(settings: tuple[str, ...], tmp_path: Path) -> None:
    found = search(*FOUND.trials, settings=settings)
    text = write_tune_page(found, tmp_path).read_text()
    assert_loads_nothing(text)
    assert len(Page(text).drawings()) == 1 + len(found.ranges)
    assert "the loss is no number &lt;1&gt;" in text
    assert "--set pretrain.learning_rate=0.02" in text
    assert not [drawing for drawing in Page(text).drawings() if "mathdefault" in drawing]


def test_the_page_of_a_search_without_a_complete_trial(tmp_path: Path) -> None:
    text = write_tune_page(search(trial(0, state="failed")), tmp_path).read_text()
    assert "no trial is complete" in text
