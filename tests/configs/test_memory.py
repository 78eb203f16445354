"""The memory section: what is accepted can be used, what cannot is one line."""

import pytest

from configs import InputError, load_experiment
from configs.memory import Memory, defined_memory, memory_definition
from tests.conftest import QUICKSTART


def refused(memory: str) -> str:
    with pytest.raises(InputError) as caught:
        load_experiment(QUICKSTART, [f"memory={memory}"])
    return str(caught.value)


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        ("{}", "memory.keys: "),
        ("{keys: {}}", "memory.keys: "),
        ("{keys: {user: []}}", "memory: keys.user: expected 1 to 8 different columns"),
        ("{keys: {user: [user_id, user_id]}}", "expected 1 to 8 different columns"),
        ("{keys: {a-b: [user_id]}}", "memory.keys.a-b"),
        ("{keys: {user: [user_id]}, half_life: 3}", "did you mean 'half_life_hours'?"),
        ("{keys: {user: [user_id]}, half_life_hours: 0}", "memory.half_life_hours"),
        ("{keys: {user: [user_id]}, refresh_hours: 0}", "memory.refresh_hours"),
        (
            "{keys: {user: [user_id]}, refresh_hours: 2, refresh_offset_hours: 2}",
            "expected less than refresh_hours 2, received 2",
        ),
        ("{keys: {past: [click]}}", "memory.keys.past: 'click' is a label"),
        ("{keys: {price: [rating]}}", "column 'rating' is read as categorical here and as numeric"),
        ("{keys: {past: [history]}}", "column 'history' is read as"),
        ("{keys: {now: [timestamp]}}", "column 'timestamp' is read as"),
        ("{keys: {x: [domain]}}", "cannot name an input of the served model"),
        ("{keys: {x: [Scene]}}", "columns 'scene' and 'Scene' cannot both name inputs"),
    ],
)
def test_what_cannot_be_used_is_refused(memory: str, message: str) -> None:
    assert message in refused(memory)


def test_a_definition_is_what_decides_the_numbers() -> None:
    memory = Memory.model_validate({"keys": {"b": ["x"], "a": ["x", "y"]}})
    assert defined_memory(memory.definition) == memory
    assert memory_definition(memory.model_dump(mode="json")) == memory.definition
    bounded = memory.model_copy(update={"most_keys": 3})
    assert bounded.definition == memory.definition
    for change in ({"half_life_hours": 3.0}, {"prior_rows": 1.0}, {"refresh_hours": 7}):
        assert memory.model_copy(update=change).definition != memory.definition
    turned = Memory.model_validate({"keys": {"a": ["x", "y"], "b": ["x"]}})
    assert turned.definition != memory.definition, "the order of keys is that of the numbers"
    assert memory.columns == ("x", "y")
    assert memory.width(2) == 6


def test_memory_is_no_part_of_a_dataset_s_identity() -> None:
    """Kernels of an older backbone may remember, too."""
    plain = load_experiment(QUICKSTART)
    with_memory = load_experiment(QUICKSTART, ["memory={keys: {user: [user_id]}}"])
    assert with_memory.data_digest == plain.data_digest
