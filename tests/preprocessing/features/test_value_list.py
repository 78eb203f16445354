"""Strings in Arrow's memory: a sequence like a tuple of them, and its lines of text."""

import pickle

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.features import value_list as module
from preprocessing.features.value_list import ValueList, as_lines

LINES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n")))


@given(values=LINES, start=st.integers(-3, 9), stop=st.integers(-3, 9))
def test_it_is_the_tuple_of_its_strings(values: list[str], start: int, stop: int) -> None:
    text = "".join(f"{value}\n" for value in values).encode()
    found = ValueList.of_lines(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", 2)
        assert list(found) == values
    assert len(found) == len(values)
    assert found == values and found == tuple(values)
    assert found != [*values, "more"] and found != (*values[:-1], "other")
    assert [found[place] for place in range(-len(values), len(values))] == values * 2
    part = found[start:stop]
    assert part == values[start:stop] and part == ValueList(pa.array(part, pa.large_string()))
    assert as_lines(part) == as_lines(values[start:stop])
    assert as_lines(found) == text == as_lines(pickle.loads(pickle.dumps(found)))  # noqa: S301
    chunked = pa.chunked_array([pa.array(values, pa.large_string())] * 2)
    assert as_lines(chunked[1:]) == as_lines((values * 2)[1:])


def test_what_is_no_text_or_no_whole_line_is_no_value() -> None:
    assert ValueList.of_lines(b"a\nb") == ("a",)
    assert ValueList.of_lines(b"") == ()
    with pytest.raises(ValueError, match="UTF8"):
        ValueList.of_lines(b"a\xff\n")
    assert ValueList.of_lines(b"1\n") != 1
