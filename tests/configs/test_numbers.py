"""What a config that says little of its numbers says."""

import pytest

from configs import ConfigError, parse_experiment
from tests.configs import TASKS_AND_SPLITS

START = (
    "name: x\ndata: {timestamp: time, request: request, user: user}\n"
    + TASKS_AND_SPLITS
    + "features:\n"
)


def encoding(feature: str = "", numbers: str = "") -> tuple[str, int, int | None]:
    experiment = parse_experiment(
        f"{START}  price: {{kind: numeric, side: item{feature}}}\n{numbers}"
    )
    price = experiment.features["price"].model_dump()
    return price["encoding"], price["bins"], price["quantile_buckets"]


@pytest.mark.parametrize(
    ("feature", "numbers", "expected"),
    [
        ("", "", ("value", 32, None)),
        ("", "numbers: {}", ("value", 32, None)),
        ("", "numbers: {encoding: soft_buckets}", ("soft_buckets", 32, None)),
        ("", "numbers: {encoding: soft_buckets, bins: 5}", ("soft_buckets", 5, None)),
        ("", "numbers: {quantile_buckets: 7}", ("value", 32, 7)),
        (", bins: 6", "numbers: {encoding: periodic}", ("periodic", 6, None)),
        (", encoding: value", "", ("value", 32, None)),
        (", encoding: periodic", "numbers: {quantile_buckets: 7}", ("periodic", 32, None)),
        (", quantile_buckets: 3", "", ("value", 32, 3)),
        (", quantile_buckets: 3", "numbers: {encoding: periodic}", ("value", 32, 3)),
    ],
)
def test_a_feature_has_its_own_settings_or_those_of_all(
    feature: str, numbers: str, expected: tuple[str, int, int | None]
) -> None:
    assert encoding(feature, numbers) == expected


@pytest.mark.parametrize("where", ["feature", "numbers"])
def test_two_ways_at_once_are_refused(where: str) -> None:
    text = "quantile_buckets: 7, encoding: soft_buckets"
    with pytest.raises(ConfigError, match="both 'quantile_buckets' and 'encoding: soft_buckets'"):
        encoding(**{where: f", {text}" if where == "feature" else f"numbers: {{{text}}}"})


def test_how_a_number_enters_the_backbone_decides_no_dataset() -> None:
    """Quantiles of buckets and pieces do: the transform counts them."""
    parsed = [
        parse_experiment(f"{START}  price: {{kind: numeric, side: item}}\nnumbers: {{{numbers}}}")
        for numbers in ("", "encoding: value", "encoding: periodic", "encoding: soft_buckets")
    ]
    assert len({experiment.data_digest for experiment in parsed}) == 1
    for other in ("encoding: piecewise_linear", "quantile_buckets: 4"):
        text = f"{START}  price: {{kind: numeric, side: item}}\nnumbers: {{{other}}}"
        assert parse_experiment(text).data_digest != parsed[0].data_digest
