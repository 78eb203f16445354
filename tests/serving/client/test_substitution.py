"""A client says once that another domain has answered, or refuses it."""

import logging

import pytest

from configs.errors import InputError
from serving.client.substitution import Substitutions


def answers(*served: str) -> list[dict[str, object]]:
    return [{"ctr": 0.1, "served_domain": name} for name in served]


def test_each_substitution_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    substitutions = Substitutions()
    with caplog.at_level(logging.WARNING, "serving.client"):
        for _ in range(2):
            substitutions.check(
                ["scene=home", "scene=hoem", "scene=hoem"], answers("scene=home", "all", "all")
            )
        substitutions.check(["scene=hoem"], answers("backbone"))
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "asked for domain 'scene=hoem', answered by 'all'",
        "asked for domain 'scene=hoem', answered by 'backbone'",
    ]


def test_what_was_asked_for_is_no_substitution(caplog: pytest.LogCaptureFixture) -> None:
    asked = [None, "", "auto", "auto", "scene=home,region=r1", "backbone"]
    served = ["all", "all", "backbone", "scene=home", "region=r1,scene=home", "backbone"]
    Substitutions(strict=True).check(asked, answers(*served))
    Substitutions(strict=True).check(["all"], [{"ctr": 0.1}])  # a model that does not say
    assert not caplog.records


def test_a_strict_client_refuses_it() -> None:
    substitutions = Substitutions(strict=True)
    for _ in range(2):  # every time, not the first alone
        with pytest.raises(InputError, match="asked for domain 'moon', answered by 'all'"):
            substitutions.check(["moon"], answers("all"))
