"""Arguments of other types are one line, whichever function of the API they are for."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import domain_kernels
from configs import Experiment, InputError
from configs.calls.argument_types import check_arguments, checks_arguments
from domain_kernels import Client, Ranker
from serving.client import Ranker as RemoteRanker
from tests.conftest import QUICKSTART, SMALL

PUBLIC: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(domain_kernels, name)
        for name in domain_kernels.__all__
        if inspect.isfunction(getattr(domain_kernels, name))
    },
    "Experiment.load": Experiment.load,
    "Ranker": Ranker,
    "Client": Client,
    "serving.client.Ranker": RemoteRanker,
}
UNMADE = RemoteRanker.__new__(RemoteRanker)
PUBLIC |= {
    "Ranker.rank": UNMADE.rank,
    "Ranker.score": UNMADE.score,
    "Client.predict": Client.__new__(Client).predict,
    "Client.rank": Client.__new__(Client).rank,
}

GOOD: dict[str, object] = {
    "experiment": Experiment.load(QUICKSTART, SMALL),
    "rows": [],
    "items": [],
    "user": {},
    "shared": {},
    "scratch": None,
}


class Odd:
    """What nothing takes."""


def arguments(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(function).parameters
    return {name: one for name, one in found.items() if one.kind in named}


CASES = [(name, argument) for name, public in PUBLIC.items() for argument in arguments(public)]


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_every_argument_of_every_public_function(name: str, argument: str) -> None:
    function, others = PUBLIC[name], arguments(PUBLIC[name])
    given = {
        other: GOOD.get(other, "none")
        for other, parameter in others.items()
        if parameter.default is parameter.empty
    }
    annotation = str(others[argument].annotation)
    wrong: list[object] = [Odd()] if "Callable" in annotation else [Odd(), Odd]
    wrong += [] if "None" in annotation else [None]
    wrong += [] if "int" in annotation or "float" in annotation else [5]
    wrong += [] if "str" in annotation or "Folder" in annotation else ["text"]
    for value in wrong:
        with pytest.raises(InputError) as error:
            function(**{**given, argument: value})
        said = str(error.value)
        assert said.startswith(f"{argument}: expected ")
        assert "\n" not in said
        assert "received " in said


def of_all(
    text: str = "",
    path: str | PathLike[str] = "",
    number: int | None = None,
    share: float = 0.0,
    names: Sequence[str] = (),
    rows: Sequence[Mapping[str, object]] = (),
    one_or_many: str | Iterable[str] = (),
    called: Callable[[int], str] | None = None,
    later: "Undefined | None" = None,  # type: ignore[name-defined]
    *,
    flag: bool = False,
) -> None:
    """Every type that there is."""


class Undefined:
    """Known to the signature by its name alone."""


class Below(Undefined):
    """One of them."""


@pytest.mark.parametrize(
    "right",
    [
        {"path": Path("x"), "number": np.int64(3), "share": np.float32(1), "flag": True},
        {"share": 1, "names": ["a"], "rows": [{}], "one_or_many": "a"},
        {"names": {"a"}, "rows": ({"a": 1},), "one_or_many": (name for name in "ab")},
        {"names": np.array(["a", "b"]), "called": str, "later": Below()},
        {},
    ],
)
def test_what_fits(right: dict[str, object]) -> None:
    check_arguments(of_all, (), right)
    assert checks_arguments(of_all)(**right) is None  # type: ignore[arg-type,func-returns-value]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"text": b"x"}, "text: expected text, received bytes b'x'"),
        ({"path": 5}, "path: expected text or a path, received int 5"),
        ({"number": True}, "number: expected a whole number or None, received bool True"),
        ({"number": 1.5}, "number: expected a whole number or None, received float 1.5"),
        ({"share": None}, "share: expected a number, received None"),
        ({"names": "abc"}, "names: expected a list of texts, received str 'abc'"),
        ({"names": ["a", 5]}, "names: expected a list of texts, received int 5 in it"),
        ({"rows": {}}, "rows: expected a list, received dict"),
        ({"one_or_many": 5}, "one_or_many: expected text or a list of texts, received int 5"),
        ({"called": 5}, "called: expected a function or None, received int 5"),
        ({"later": 5}, "later: expected Undefined or None, received int 5"),
        ({"flag": 2}, "flag: expected True or False, received int 2"),
        ({"text": Odd}, f"text: expected text, received {Odd!r}"),
    ],
)
def test_what_does_not_fit(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as error:
        check_arguments(of_all, (), wrong)
    assert str(error.value) == said


def test_a_call_that_no_signature_has_is_python_s() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        checks_arguments(of_all)(other=1)  # type: ignore[call-arg]


def test_truths_are_what_python_takes_for_them() -> None:
    @checks_arguments
    def take(alone: bool) -> bool:
        return bool(alone)

    for value in (True, np.bool_(1), 1, 0, np.int64(1)):
        assert take(value) == bool(value)  # type: ignore[arg-type]
    for other in (2, "yes", None, 0.5):
        with pytest.raises(InputError, match=r"^alone: expected True or False, received"):
            take(other)  # type: ignore[arg-type]
