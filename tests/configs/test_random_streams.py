"""Random streams: the same for the same arguments, and nothing in common otherwise."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.random_streams import STREAMS, Purpose, integer_seed, random_stream

SEEDS = st.integers(0, 2**64)
PARTS = st.one_of(st.integers(0, 2**32 - 1), st.text(max_size=12))
PATHS = st.lists(PARTS, max_size=3).map(tuple)
WORDS = 8  # of 64 bits: two streams that share one by chance are never seen


def words(seed: int, purpose: Purpose, *path: int | str) -> list[int]:
    return random_stream(seed, purpose, *path).integers(0, 2**63, WORDS).tolist()


def test_the_numbers_of_the_purposes_are_part_of_the_contract() -> None:
    """A renumbered purpose draws what another drew, and a run cannot be repeated."""
    assert {purpose.name: purpose.value for purpose in Purpose} == {
        "FRAMEWORK": 1,
        "BACKBONE_LAYERS": 2,
        "FILE_ORDER": 3,
        "BLOCK_ORDER": 4,
        "ROW_ORDER": 5,
        "WINDOW_ORDER": 6,
        "KERNEL_WEIGHTS": 7,
        "KERNEL_ORDER": 8,
        "KERNEL_NOISE": 9,
        "MIXED_ROWS": 10,
        "GRADIENT_ROWS": 11,
        "BOOTSTRAP": 12,
        "CODE_NOISE": 13,
        "BENCHMARK_USERS": 14,
        "BENCHMARK_ROWS": 15,
        "EXPLAINED_ROWS": 16,
        "PERMUTED_INPUT": 17,
        "TRIED_SETTINGS": 18,
    }
    assert STREAMS == 1


def test_a_stream_is_that_of_its_seed_sequence() -> None:
    """The encoding, spelt out: the family, the purpose, four words of the name's sha256, the
    epoch.
    """
    sha256 = "5ef5ef03 64b6939c 4ca61f34 b393f7b3"  # of "all", its first 16 bytes
    name = [int.from_bytes(bytes.fromhex(word), "little") for word in sha256.split()]
    key = (0x72656373, 8, *name, 2)
    expected = np.random.default_rng(np.random.SeedSequence(17, spawn_key=key))
    assert words(17, Purpose.KERNEL_ORDER, "all", 2) == expected.integers(0, 2**63, WORDS).tolist()


@given(SEEDS, st.sampled_from(Purpose), PATHS)
def test_the_same_arguments_give_the_same_stream_whatever_was_drawn_before(
    seed: int, purpose: Purpose, path: tuple[int | str, ...]
) -> None:
    first = words(seed, purpose, *path)
    random_stream(seed, purpose, *path, "another").random(100)
    assert words(seed, purpose, *path) == first
    assert integer_seed(seed, purpose, *path) == integer_seed(seed, purpose, *path)


@given(SEEDS, st.sets(st.tuples(st.sampled_from(Purpose), PATHS), min_size=2, max_size=6))
def test_streams_of_other_purposes_and_paths_share_no_draw(
    seed: int, arguments: set[tuple[Purpose, tuple[int | str, ...]]]
) -> None:
    """Not the first, and none of one at another place of the other."""
    drawn = [set(words(seed, purpose, *path)) for purpose, path in arguments]
    for one, other in combinations(drawn, 2):
        assert not one & other


@given(st.sets(SEEDS, min_size=2, max_size=5), st.sampled_from(Purpose), PATHS)
def test_streams_of_other_seeds_share_no_draw(
    seeds: set[int], purpose: Purpose, path: tuple[int | str, ...]
) -> None:
    for one, other in combinations([set(words(seed, purpose, *path)) for seed in seeds], 2):
        assert not one & other


def test_domains_epochs_and_purposes_of_one_run_are_all_apart() -> None:
    """Also the initial weights and epoch 0 of a domain, and neighbours' epochs."""
    streams = [
        (purpose, domain, *epoch)
        for purpose in Purpose
        for domain in ("all", "scene=home", "scene=search", "region=r1,scene=home")
        for epoch in ((), (0,), (1,), (2,))
    ]
    drawn = [word for stream in streams for word in words(17, *stream)]
    assert len(set(drawn)) == len(streams) * WORDS
    ones = np.unpackbits(np.array(drawn, "<u8").view(np.uint8)).mean()
    assert ones == pytest.approx(63 / 128, abs=0.01)  # the highest of 64 bits is always 0


def test_they_are_not_what_a_plain_seed_or_its_spawned_children_give() -> None:
    """A simulation draws from the same seed by ``SeedSequence.spawn``."""
    ours = {word for purpose in Purpose for word in words(17, purpose)}
    others = [np.random.SeedSequence(17), *np.random.SeedSequence(17).spawn(64)]
    for sequence in others:
        generator = np.random.default_rng(sequence)
        assert not ours & set(generator.integers(0, 2**63, WORDS).tolist())


@given(SEEDS, st.sampled_from(Purpose), PATHS)
def test_integer_seeds_leave_room_below_an_int32(
    seed: int, purpose: Purpose, path: tuple[int | str, ...]
) -> None:
    assert 0 <= integer_seed(seed, purpose, *path) < 2**30


def test_integer_seeds_spread_over_their_range() -> None:
    found = np.array([integer_seed(17, Purpose.ROW_ORDER, epoch) for epoch in range(1_000)])
    assert len(np.unique(found)) > 990
    assert found.mean() == pytest.approx(2**29, rel=0.1)


@pytest.mark.parametrize("part", [-1, 2**32])
def test_a_part_that_is_no_word_is_refused(part: int) -> None:
    with pytest.raises(ValueError, match=f"from 0 to 2\\^32 - 1: {part}"):
        random_stream(17, Purpose.KERNEL_ORDER, part)
