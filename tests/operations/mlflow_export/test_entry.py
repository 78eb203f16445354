"""Names and values as MLflow takes them: nothing is mixed up, and nothing secret gets there."""

import posixpath
import re

from hypothesis import assume, given
from hypothesis import strategies as st

from configs.domain_names import folder_name
from operations.mlflow_export.entry import (
    params_of,
    points_of,
    spelled,
    value_of,
    without_credentials,
)

ALLOWED = re.compile(r"[/\w.\- :]*", re.ASCII)
"""MLflow's rule for names of figures and parameters."""
DOMAINS = st.text(st.sampled_from('ab=,:/ %~._-é"'), min_size=1, max_size=8)


def name_of(domain: str) -> str:
    try:
        folder_name(domain)
    except ValueError:
        assume(False)
    return f"domains/{spelled(domain)}/click/auc"


@given(DOMAINS, DOMAINS)
def test_every_domain_has_a_name_of_its_own_that_is_taken(one: str, other: str) -> None:
    first, second = name_of(one), name_of(other)
    assert ALLOWED.fullmatch(first)
    assert posixpath.normpath(first) == first
    assert (first == second) == (one == other)


def test_usual_names_can_be_read() -> None:
    assert spelled("region=r1,scene=home") == "region:r1 scene:home"


@given(st.text(st.characters(exclude_characters="/", exclude_categories=("Z", "C")), min_size=1))
def test_no_password_of_an_address_is_kept(password: str) -> None:
    text = f"read postgresql://user:{password}@host/db and s3://bucket/x"
    assert without_credentials(text) == "read postgresql://host/db and s3://bucket/x"
    assert params_of({"a": {"b": text}}) == {"a.b": without_credentials(text)}


def test_a_long_value_is_cut_and_says_so() -> None:
    assert value_of("a" * 5_000) == "a" * 5_000
    assert value_of("a" * 5_001) == "a" * 4_996 + " ..."


def test_figures_have_the_names_of_their_keys_and_what_is_undefined_has_none() -> None:
    content = {"auc": {"delta": 0.5, "ci95": [0.25, 0.75]}, "gauc": "undefined", "on": True}
    assert {point.name: point.value for point in points_of(content, "click", 3)} == {
        "click/auc/delta": 0.5,
        "click/auc/ci95_low": 0.25,
        "click/auc/ci95_high": 0.75,
    }
