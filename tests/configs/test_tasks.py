"""Tasks: any number, side by side or one after another, in the older form, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.prediction.tasks import TAKEN_NAMES, Tasks
from tests.configs import accept, refusal
from trainer.metrics.results import DomainResult

FUNNEL = """tasks={view: {label: click},
       cart: {label: in_cart, after: view, entire: {name: cart_all}},
       buy: {label: order, after: cart, loss_weight: 0, entire: {name: buy_all, loss_weight: 2}},
       like: {label: liked}}
"""


def test_a_funnel_beside_another_task() -> None:
    tasks = accept(FUNNEL, "score=view * buy_all").tasks
    assert tasks.towers == ("view", "cart", "buy", "like")
    assert {name: target.towers for name, target in tasks.targets.items()} == {
        "view": (0,),
        "cart": (1,),
        "cart_all": (0, 1),
        "buy": (2,),
        "buy_all": (0, 1, 2),
        "like": (3,),
    }
    assert [target.given for target in tasks.targets.values()] == [
        None,
        "click",
        None,
        "in_cart",
        None,
        None,
    ]
    assert tasks.ranking == ("view", "cart_all", "buy_all", "like")
    assert tasks.steps == (("click", "in_cart"), ("in_cart", "order"))
    assert tasks.labels == ("click", "in_cart", "order", "liked")
    assert [tasks.before(name) for name in tasks.towers] == [(), (0,), (0, 1), ()]
    weights = [target.loss_weight for target in tasks.targets.values()]
    assert weights == [1.0, 1.0, 1.0, 0.0, 2.0, 1.0]


def test_one_task_alone() -> None:
    tasks = accept("tasks={view: {label: click}}", "evaluation.page=~").tasks
    assert (tasks.towers, tuple(tasks.targets), tasks.ranking) == (("view",),) * 3
    assert (tasks.ranked_by, tasks.steps) == ("view", ())


def test_a_page_is_ranked_by_the_end_of_a_funnel_or_by_what_the_config_says() -> None:
    assert accept().tasks.ranked_by == "ctcvr"
    assert accept("tasks={a: {label: order}, b: {label: y, after: a}}").tasks.ranked_by == "a"
    said = "score: missing; it says how a page is ranked where tasks stand side by side"
    assert said in refusal(FUNNEL)
    assert said in refusal("tasks={a: {label: order}, b: {label: liked}}")
    assert accept("tasks={a: {label: order}, b: {label: liked}}", "score=a * b").score == "a * b"


OLDER = (
    "tasks={%s: {label: click}, %s: {label: order, space: click, loss_weight: 0},"
    " %s: {label: order}}"
)


@pytest.mark.parametrize("names", [("ctr", "cvr", "ctcvr"), ("a", "b", "c")])
def test_the_older_form_says_the_same(names: tuple[str, str, str]) -> None:
    first, second, both = names
    newer = accept(
        f"tasks={{{first}: {{label: click}}, {second}: {{label: order, after: {first},"
        f" loss_weight: 0, entire: {{name: {both}}}}}}}"
    )
    older = accept(OLDER % names)
    assert older.tasks == newer.tasks
    assert older.data_digest == newer.data_digest
    assert Tasks.model_validate(newer.tasks.model_dump(mode="json")) == newer.tasks


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ("{}", "tasks: expected at least one task"),
        ("{a: {label: x, after: b}, b: {label: y}}", "a.after: 'b' is no task above it"),
        ("{a: {label: x, after: a}}", "a.after: 'a' is no task above it"),
        ("{a: {label: x, entire: {name: b}}}", "a.entire: the task waits on no other"),
        ("{a: {label: x}, b: {label: x, after: a}}", "b.label: 'x' is the label of 'a'"),
        (
            "{a: {label: x}, b: {label: y, after: a, entire: {name: a}}}",
            "'a' names two tasks or entire products",
        ),
        ("{rows: {label: x}}", "'rows' cannot name a task"),
        ("{log: {label: x}}", "'log' cannot name a task"),
        ("{not: {label: x}}", "'not' cannot name a task"),
        ("{a-b: {label: x}}", "tasks.a-b"),
        ("{a: {label: x, loss_weight: 0}}", "every loss_weight is 0"),
        (
            "{a: {label: x}, b: {label: y, loss_weight: 0}}",
            "b: every loss_weight of it and of what is a product of it is 0",
        ),
        ("{a: {label: x}, b: {label: y, space: z}}", "b.space: 'z' is the label of no task"),
        ("{a: {label: x, kinds: binary}}", "unknown key 'kinds'"),
        ("{a: {label: x, positive_weight: 0}}", "tasks.a.positive_weight: "),
        (
            "{a: {label: x, kind: regression, typical: 2, positive_weight: 5}}",
            "a.positive_weight: is of labels of 0 and 1, received 5 beside 'kind: regression'",
        ),
        (
            "{a: {label: x}, b: {label: y, after: a, entire: {name: c}, loss_weight: 0,"
            " positive_weight: 5}}",
            "b.positive_weight: weighs the task's own loss, whose loss_weight is 0",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(tasks: str, said: str) -> None:
    assert said in refusal(f"tasks={tasks}")


def test_no_task_is_called_as_what_stands_beside_it_in_results() -> None:
    assert set(DomainResult.model_fields) <= TAKEN_NAMES


@given(st.integers(1, 6), st.data())
def test_every_funnel_has_its_products(count: int, data: st.DataObject) -> None:
    """Of random trees of tasks: a target over all rows multiplies the way from the root, each
    step once and in order, and a task's own target is its tower alone.
    """
    names = [f"t{place}" for place in range(count)]
    parents = [None] + [
        data.draw(st.one_of(st.none(), st.integers(0, place - 1))) for place in range(1, count)
    ]
    tasks = Tasks.model_validate(
        {
            name: {
                "label": f"label_{name}",
                **(
                    {"after": names[parent], "entire": {"name": f"{name}_all"}}
                    if parent is not None
                    else {}
                ),
            }
            for name, parent in zip(names, parents, strict=True)
        }
    )
    for place, (name, parent) in enumerate(zip(names, parents, strict=True)):
        way, step = [place], parent
        while step is not None:
            way.append(step)
            step = parents[step]
        assert tasks.targets[name].towers == (place,)
        whole = name if parent is None else f"{name}_all"
        assert tasks.targets[whole].towers == tuple(reversed(way))
        assert whole in tasks.ranking
