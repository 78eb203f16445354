"""The expression that ranks a page: what it may say and what it is worth; nothing else runs."""

import math
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.prediction.expressions import FUNCTIONS, LONGEST, OPERATIONS, value_of
from configs.prediction.score import check_score
from tests.configs import accept, refusal

NAMES = ("click", "view", "like")
OPERATORS: dict[str, Any] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,
    "negative": operator.neg,
    "log": math.log,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "minimum": min,
    "maximum": max,
}


def value(text: str, **values: float) -> float:
    check_score(text, NAMES, "score")
    return float(value_of(text, values, OPERATORS))


def test_every_operation_is_known_here() -> None:
    assert set(OPERATORS) == set(OPERATIONS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("click", 0.25),
        ("click ** 0.5 * view * (1 + 20 * like)", 0.5 * 0.5 * 3),
        ("-click + +1", 0.75),
        ("log(click) - log(view)", math.log(0.5)),
        ("maximum(click, like) / minimum(click, like)", 2.5),
        ("2 ** 3 ** click", 2 ** (3**0.25)),
        ("exp(sqrt(click))", math.exp(0.5)),
        ("1 - view - like", 0.4),
    ],
)
def test_values(text: str, expected: float) -> None:
    assert value(text, click=0.25, view=0.5, like=0.1) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "click.real",
        "(lambda: 1)()",
        "[click][0]",
        "click if 1 else view",
        "click < view",
        "not click",
        "True * click",
        "'a' * click",
        "1j * click",
        "log",
        "log(click, view)",
        "maximum(click)",
        "maximum(click, *view)",
        "maximum(click, b=view)",
        "pow(click, 2)",
        "click; view",
        "click :=",
        "",
        "1e31 * click",
        "1e999 * click",
        "click\n+ view",
        "click % 2",
        "click @ view",
        "~click",
        "f'{click}'",
        "(" * 300 + "click" + ")" * 300,
        "click" + " + 1" * 150,
        "click" + " " * LONGEST,
    ],
)
def test_what_is_no_expression_of_tasks_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|is no task|reads no task"):
        check_score(text, NAMES, "score")


def test_names_that_are_no_task() -> None:
    with pytest.raises(
        ValueError, match=r"^score: 'clicks' is no task; expected one of click, view, like"
    ):
        check_score("clicks * 2", NAMES, "score")
    with pytest.raises(ValueError, match="it reads no task"):
        check_score("1 + 2", NAMES, "score")


def test_an_experiment_says_where_its_score_is_wrong() -> None:
    assert accept("score=ctr ** 0.5 * cvr").score == "ctr ** 0.5 * cvr"
    assert refusal("score=ctr * order").startswith("config: score: 'order' is no task")


EXPRESSIONS = st.recursive(
    st.one_of(st.sampled_from(NAMES), st.floats(0.5, 4).map(str)),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda text: f"-{text}"),
        st.tuples(st.sampled_from(sorted(FUNCTIONS)), inner, inner).map(
            lambda t: f"{t[0]}({t[1]}{f', {t[2]}' if FUNCTIONS[t[0]] == 2 else ''})"
        ),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS)
def test_it_means_what_it_means_in_python(text: str) -> None:
    values = {"click": 0.3, "view": 0.6, "like": 0.9}
    functions = {name: OPERATORS[name] for name in FUNCTIONS}
    try:
        expected = eval(text, {"__builtins__": {}}, {**values, **functions})  # noqa: S307 - ours
    except (ArithmeticError, ValueError):
        return
    assert value_of(text, values, OPERATORS) == pytest.approx(expected)


BY_DOMAIN = 'scores={scene=home: ctr * cvr, "scene=home,period=early": ctr}'


def test_scores_by_domain() -> None:
    experiment = accept(BY_DOMAIN)
    own = {"scene=home": "ctr * cvr", "scene=home,period=early": "ctr"}
    assert experiment.scores == own
    assert experiment.ranked_by == {"all": "ctcvr", **own}
    assert accept().ranked_by == {"all": "ctcvr"}
    assert experiment.data_digest == accept().data_digest  # any dataset will do


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ("{scene=hom: ctr}", "'scene=hom' is no domain of this config; did you mean 'scene=home'?"),
        (
            '{"period=early,scene=home": ctr}',
            "did you mean 'scene=home,period=early'?",
        ),
        ("{all: ctr}", "scores.all: 'score' ranks all rows"),
        ("{backbone: ctr}", "'backbone' is no domain of this config"),
        ("{scene=home: ctr * order}", "scores.scene=home: 'order' is no task"),
        ("{scene=home: ctr.real}", "scores.scene=home: 'ctr.real' cannot be computed"),
        ("{scene=home: 2}", "scores.scene=home"),
        ("ctr", "scores: "),
    ],
)
def test_scores_by_domain_that_cannot_be_used(scores: str, said: str) -> None:
    assert said in refusal(f"scores={scores}")
