"""Who trains what: every domain has one shard, those that start from each other the same one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import InputError
from configs.domains import ALL
from tests.trainer.conftest import one_line
from trainer.fleet.plan import Shard, parse_shard, shares

NAMES = ("scene=home", "scene=search", "region=r1", "scene=home,region=r1", "scene=home,region=r2")


def first_topic(name: str) -> str:
    """What a domain starts from under ``parent``."""
    return name.partition(",")[0] if "," in name else ALL


@given(st.lists(st.integers(1, 9_000), min_size=5, max_size=5), st.integers(1, 9))
def test_every_domain_is_one_shards_and_families_stay_together(rows: list[int], of: int) -> None:
    size = dict(zip(NAMES, rows, strict=True))
    found = shares(NAMES, size, first_topic, of)
    assert len(found) == of
    assert sorted(name for share in found for name in share) == sorted(NAMES)
    home = next(share for share in found if "scene=home" in share)
    assert {"scene=home,region=r1", "scene=home,region=r2"} <= set(home)
    assert all(list(share) == [name for name in NAMES if name in share] for share in found)


@given(st.lists(st.integers(1, 9_000), min_size=1, max_size=30), st.integers(1, 9))
def test_no_shard_has_much_more_than_its_part(rows: list[int], of: int) -> None:
    """Than the mean, and the largest domain that cannot be cut."""
    size = {f"region=r{number}": count for number, count in enumerate(rows)}
    found = shares(list(size), size, lambda _: ALL, of)
    loads = [sum(size[name] for name in share) for share in found]
    assert max(loads) <= sum(rows) / of + max(rows)


def test_shares_by_hand() -> None:
    """5 goes to the first, 4 and 3 to the second (4 < 5), 2 to the first (5 < 7)."""
    size = {"a=1": 3, "a=2": 5, "a=3": 2, "a=4": 4}
    assert shares(list(size), size, lambda _: ALL, 2) == (("a=2", "a=3"), ("a=1", "a=4"))
    assert shares(["a=1"], size, lambda _: ALL, 3) == (("a=1",), (), ())


def test_a_shard_is_a_number_of_a_number() -> None:
    assert parse_shard("3/16") == Shard(3, 16)
    assert str(parse_shard("1/1")) == "1/1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0/4", "1/4 to 4/4"),
        ("5/4", "1/4 to 4/4"),
        ("3", "1/N to N/N"),
        ("a/4", "1/N to N/N"),
        ("-1/4", "1/N to N/N"),
        ("1/0", "1/N to N/N"),
        ("1/2/3", "1/N to N/N"),
        ("", "1/N to N/N"),
    ],
)
def test_what_is_no_shard_is_refused(text: str, expected: str) -> None:
    with pytest.raises(InputError) as error:
        parse_shard(text)
    assert one_line(error) == f"--shard: expected {expected}, received '{text}'"
