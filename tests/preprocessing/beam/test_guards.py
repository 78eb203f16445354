"""What a job warns of."""

import pytest

from preprocessing.beam.guards import warn_of_fractions
from preprocessing.features.fitted import Fitted


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (("0.25", "-1.5", "1e-7", "3"), True),
        (("0.25", "-1.5", "a", "b"), False),
        (("1.0.2", "2024-01-02", "7", "v0.1"), False),
        ((), False),
    ],
)
def test_a_vocabulary_of_fractions_is_named(
    values: tuple[str, ...], named: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_fractions(Fitted("{}", {"vector": values, "item": ("a", "b")}, {}, {}))
    said = capsys.readouterr().err
    assert ("feature 'vector': 3 of the 4 values" in said) == named
    assert "'item'" not in said
