"""What may be tried, and what is refused before anything is trained."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import InputError, load_experiment
from configs.errors import ConfigError
from tests.conftest import QUICKSTART, SMALL
from tests.trainer.conftest import one_line
from tests.trainer.tuning.made_search import BODY, CROSSES, RATE, space
from trainer.tuning.search_space import SearchSpace, flags_of


def test_the_config_s_own_values_and_kinds_of_numbers() -> None:
    found = space()
    assert found.own == {BODY: "mmoe", CROSSES: 0, RATE: 0.01}
    assert list(found.own) == list(found.ranges) == [BODY, CROSSES, RATE]
    assert found.is_whole(CROSSES)
    assert not found.is_whole(RATE)


def test_a_trial_is_the_config_with_its_flags_and_nothing_to_try() -> None:
    settings = {BODY: "shared_bottom", CROSSES: 1, RATE: 3e-05}
    flags = flags_of(settings)
    assert flags == [f'{BODY}="shared_bottom"', f"{CROSSES}=1", f"{RATE}=3e-05"]
    assert space().experiment(settings) == load_experiment(QUICKSTART, [*SMALL, *flags])


SPACE = space()


@given(number=st.floats(0.003, 0.03))
def test_a_number_is_tried_with_four_digits_inside_its_range(number: float) -> None:
    rounded = SPACE.rounded(RATE, number)
    assert 0.003 <= rounded <= 0.03
    assert math.isclose(rounded, number, rel_tol=1e-3)
    assert float(f"{rounded:.4g}") == rounded


def test_rounding_leaves_no_range_and_whole_numbers_alone() -> None:
    key, size = "backbone.dropout", "pretrain.batch_size"
    found = space(f"tune={{{key}: {{low: 0.12344, high: 0.5}}, {size}: {{low: 256, high: 65536}}}}")
    assert found.rounded(key, 0.123445) == 0.12344
    assert found.rounded(key, 0.23456) == 0.2346
    assert found.rounded(size, 12_345) == 12_345


def test_the_most_epochs_that_a_trial_may_have() -> None:
    assert space().check(has_logs=False) == 2
    assert space("tune={pretrain.epochs: {low: 1, high: 7}}").check(has_logs=False) == 7


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        (
            "pretrain.learning_rat: {low: 0.1, high: 1}",
            r"^tune\.pretrain\.learning_rat: 0\.1 gives no config: .*did you mean 'learning_rate'",
        ),
        ("backbone.experts: {low: 0, high: 2}", r"^tune\.backbone\.experts: 0 gives no config: "),
        ("backbone.experts: {low: 1.5, high: 2}", r"^tune\.backbone\.experts: 1\.5 gives no"),
        (
            "backbone.body: {choices: [mmoe, star]}",
            r'^tune\.backbone\.body: "star" gives no config: .*reads exactly one topic',
        ),
        (
            "features.user_id.vocabulary.min_count: {low: 1, high: 2}",
            r"min_count: 2 needs a dataset of its own; give the logs \(--input\)",
        ),
        (
            "pretrain.monitor: {choices: [auc, loss]}",
            r'^tune\.pretrain\.monitor: "loss" changes by which rows, labels or figure trials are',
        ),
        ("pretrain.teacher.weight: {low: 0.1, high: 1}", r"^tune\.pretrain\.teacher\.weight: 0\.1"),
        ("tasks.cvr.entire: {choices: [{name: both}, {name: ctcvr}]}", "changes by which rows"),
    ],
)
def test_what_cannot_be_tried_is_one_line(ranges: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        space(f"tune={{{ranges}}}").check(has_logs=False)
    one_line(error)


def test_with_logs_settings_may_want_datasets_of_their_own() -> None:
    space("tune={features.user_id.vocabulary.min_count: {low: 1, high: 2}}").check(has_logs=True)


def test_a_loss_s_weight_may_be_tried_where_the_loss_does_not_judge() -> None:
    weight = "tune={tasks.ctr.loss_weight: {low: 0.5, high: 2}}"
    space(weight).check(has_logs=False)
    with pytest.raises(InputError, match="changes by which rows"):
        space(weight, "pretrain.monitor=loss").check(has_logs=False)


@pytest.mark.parametrize(
    ("tune", "said"),
    [
        ("{}", "tune: missing; expected the settings to try"),
        ("{kernel.width: {low: 1, high: 2}}", "'kernel.width' decides nothing of how a backbone"),
        ("{seed: {low: 1, high: 2}}", "'seed' decides nothing of how a backbone is trained"),
        ("{pretrain..epochs: {low: 1, high: 2}}", "is no dotted key"),
        ("{backbone: {choices: [1, 2]}, backbone.crosses: {low: 0, high: 1}}", "'backbone' holds"),
        ("{pretrain.epochs: {low: 1}}", "expected 'low' and 'high', or 'choices'"),
        ("{pretrain.epochs: {low: 2, high: 2}}", "low 2 is not below high 2"),
        ("{pretrain.epochs: {low: 0, high: 2, log: true}}", "log: expected a low above 0"),
        ("{pretrain.epochs: {low: 1, high: 2, choices: [1, 2]}}", "received both"),
        ("{pretrain.epochs: {choices: [1, 1]}}", "repeats itself"),
        ("{pretrain.epochs: {choices: [1]}}", "at least two choices"),
    ],
)
def test_a_section_that_is_none_is_one_line(tune: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        SearchSpace.of_file(str(QUICKSTART), [*SMALL, f"tune={tune}"])
    assert said in one_line(error)
