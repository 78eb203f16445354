"""Names of domains: whatever text the values are, a name is read as it was written, and its folder
is its own.
"""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.domain_names import (
    conditions_of,
    domain_name,
    folder_domain,
    folder_name,
    is_single_topic,
    sorted_conditions,
    spellings,
)
from tests.configs.test_topics import TEXT

AWKWARD = st.sampled_from(
    [
        '"',
        '""',
        '"a',
        'a"',
        ",",
        "a,b",
        '","',
        "=",
        "a=b",
        "all",
        "%2C",
        "%",
        ".",
        "..",
        "/",
        "~",
        " ",
    ]
)
VALUES = TEXT | AWKWARD | st.lists(AWKWARD, min_size=1, max_size=4).map("".join)
TOPICS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
CONDITIONS = st.lists(
    st.tuples(TOPICS, VALUES), min_size=1, max_size=3, unique_by=lambda pair: pair[0]
).map(tuple)


@pytest.mark.parametrize(
    ("conditions", "name"),
    [
        ((), "all"),
        ((("region", "25"),), "region=25"),
        ((("city", "New York"), ("scene", "a=b")), "city=New York,scene=a=b"),
        ((("city", "Springfield, IL"),), 'city="Springfield, IL"'),
        ((("said", '"no"'), ("a", 'x"y')), 'said="""no""",a=x"y'),
    ],
)
def test_a_name_is_written_as_in_csv(conditions: tuple[tuple[str, str], ...], name: str) -> None:
    assert domain_name(conditions) == name
    assert conditions_of(name) == conditions


@given(conditions=CONDITIONS)
def test_a_name_is_read_as_it_was_written(conditions: tuple[tuple[str, str], ...]) -> None:
    name = domain_name(conditions)
    assert conditions_of(name) == conditions
    assert is_single_topic(name) == (len(conditions) == 1)


@given(first=CONDITIONS, second=CONDITIONS)
def test_different_domains_have_different_names(
    first: tuple[tuple[str, str], ...], second: tuple[tuple[str, str], ...]
) -> None:
    assert (domain_name(first) == domain_name(second)) == (first == second)
    assert (sorted_conditions(domain_name(first)) == sorted_conditions(domain_name(second))) == (
        sorted(first) == sorted(second)
    )


@given(text=st.text(max_size=12) | st.lists(AWKWARD | TOPICS, max_size=6).map("".join))
def test_any_text_is_read_as_something(text: str) -> None:
    parts = conditions_of(text)
    assert (parts == ()) == (text == "all")
    if all(topic and value for topic, value in parts) and parts:
        assert conditions_of(domain_name(parts)) == parts


@given(conditions=CONDITIONS)
def test_every_spelling_means_the_domain(conditions: tuple[tuple[str, str], ...]) -> None:
    name = domain_name(conditions)
    ways = spellings(name)
    assert ways[0] == name
    assert len(ways) == len(set(ways))
    assert {domain_name(order) for order in permutations(conditions)} <= set(ways)
    for way in ways:
        assert sorted(conditions_of(way)) == sorted(conditions)
        assert sorted_conditions(way) == sorted_conditions(name)


def test_values_that_need_no_quotes_may_have_them() -> None:
    assert spellings("city=New York") == ["city=New York", 'city="New York"']
    assert spellings("all") == ["all"]


@given(conditions=CONDITIONS)
def test_a_folder_is_its_domains_own(conditions: tuple[tuple[str, str], ...]) -> None:
    name = domain_name(conditions)
    try:
        folder = folder_name(name)
    except ValueError as error:
        assert "bytes as the name of a folder" in str(error)
        return
    assert folder_domain(folder) == name
    assert folder.isascii()
    assert "/" not in folder
    assert not folder.startswith((".", "-"))
    assert len(folder) <= 255


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("all", "all"),
        ("region=r1,scene=home", "region=r1,scene=home"),
        ("city=New York", "city=New%20York"),
        ("city=São Paulo", "city=S%C3%A3o%20Paulo"),
        ('city="x,y"', "city=%22x,y%22"),
        ("path=a/b", "path=a%2Fb"),
    ],
)
def test_folders_are_percent_encoded(name: str, folder: str) -> None:
    assert folder_name(name) == folder
    assert folder_domain(folder) == name


@pytest.mark.parametrize("name", ["", ".hidden", "-x", "x=" + "y" * 254, "x=" + "é" * 50, "\ud800"])
def test_names_that_no_folder_can_have(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected 1 to 255|not text that UTF-8 can hold"):
        folder_name(name)


@given(text=st.text(max_size=20) | st.text("%abc0123456789EF=,", max_size=20))
def test_a_folder_that_no_domain_has_is_none(text: str) -> None:
    found = folder_domain(text)
    assert found is None or folder_name(found) == text
