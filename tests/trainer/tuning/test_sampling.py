"""Which settings come next, and which trial is stopped."""

import json
from itertools import product

import pytest

from tests.trainer.tuning.made_search import BODY, CROSSES, RATE, space, trial
from trainer.tuning.results import Trial
from trainer.tuning.sampling import Pruner, next_settings
from trainer.tuning.search_space import SearchSpace, Settings


def drawn(found: SearchSpace, trials: int) -> list[Settings]:
    """The settings of a search in which the larger rate is always the better one."""
    ended: list[Trial] = []
    for number in range(trials):
        settings = next_settings(found, ended, number)
        assert settings
        ended.append(trial(number, 10 * settings[RATE], **settings))
    return [one.settings for one in ended]


def test_settings_follow_from_the_seed_and_the_trials_before_alone() -> None:
    """So a search that goes on draws what it would have drawn."""
    found = drawn(space(), 14)
    assert drawn(space(), 14) == found
    assert drawn(space("seed=18"), 3)[0] == found[0]
    assert drawn(space("seed=18"), 3)[1:] != found[1:3]
    assert len({json.dumps(settings) for settings in found}) == len(found)


def test_the_first_trial_is_the_config_also_outside_its_ranges() -> None:
    outside = space("pretrain.learning_rate=0.5", "backbone.body=esmm")
    assert next_settings(outside, [], 0) == {BODY: "esmm", CROSSES: 0, RATE: 0.5}
    first = trial(0, 0.6, **outside.own)
    for number in range(1, 4):
        settings = next_settings(outside, [first], number)
        assert settings
        assert 0.003 <= settings[RATE] <= 0.03
        assert settings[BODY] in ("mmoe", "shared_bottom")
        assert type(settings[CROSSES]) is int


def test_later_trials_go_where_figures_were_better() -> None:
    rates = [settings[RATE] for settings in drawn(space(), 24)]
    middle = (0.003 * 0.03) ** 0.5  # the median of rates that nothing was learned of
    assert sorted(rates[-8:])[4] > 1.3 * middle


def test_it_ends_where_all_settings_were_tried() -> None:
    small = space("tune={backbone.crosses: {low: 0, high: 1}, backbone.experts: {low: 1, high: 2}}")
    ended: list[Trial] = []
    for number in range(5):
        settings = next_settings(small, ended, number)
        assert (settings is None) == (number == 4)
        state = "failed" if number == 2 else "complete"
        one = trial(number, 0.6, state=state)
        ended += [one.model_copy(update={"settings": settings})] if settings else []
    tried = [(one.settings[CROSSES], one.settings["backbone.experts"]) for one in ended]
    assert sorted(tried) == list(product((0, 1), (1, 2)))


FIVE = [trial(number, 0.60, 0.61 + number / 100) for number in range(5)]
"""After their second epoch the median is 0.63."""


@pytest.mark.parametrize(
    ("ended", "curve", "stopped"),
    [
        (FIVE, [0.5, 0.62], 2),
        (FIVE, [0.5, 0.63], None),
        (FIVE, [0.5], None),
        (FIVE[:4], [0.5, 0.5], None),
        ([*FIVE[:4], trial(4, 0.6, 0.9, state="pruned")], [0.5, 0.5], None),
        (FIVE, [0.5, 0.63, 0.63], None),
        # who stopped earlier keeps its best: in the third epoch the median is 0.63, too
        ([*FIVE[:4], trial(4, 0.6, 0.64, 0.7)], [0.5, 0.64, 0.64], None),
        (FIVE, [0.65, 0.65, 0.65], None),
    ],
)
def test_a_trial_below_the_median_is_stopped(
    ended: list[Trial], curve: list[float], stopped: int | None
) -> None:
    assert Pruner(ended, epochs=4).stops(curve) == stopped
    in_turn = Pruner(ended, epochs=4)
    found = [in_turn.stops(curve[:epochs]) for epochs in range(1, len(curve) + 1)]
    assert next(filter(None, found), None) == stopped


def test_who_stopped_earlier_is_compared_with_later_epochs() -> None:
    assert Pruner(FIVE, epochs=4).stops([0.64, 0.64, 0.64, 0.64]) is None
    higher = [trial(number, 0.60, 0.70) for number in range(5)]
    rising = [trial(5, 0.60, 0.60, 0.60)]
    assert Pruner([*higher, *rising], epochs=4).stops([0.70, 0.70, 0.70]) is None
    assert Pruner([*higher, *rising], epochs=4).stops([0.60, 0.69]) == 2
