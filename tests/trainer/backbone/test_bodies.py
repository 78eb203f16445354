"""Bodies and cross layers alone: each against its defining equation."""

from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from configs import InputError
from configs.training import Backbone
from tests.tasks import TOWERS
from tests.trainer.conftest import one_line, variant
from trainer.backbone.bodies.builder import Build, TaskHead
from trainer.backbone.bodies.esmm import esmm
from trainer.backbone.bodies.mmoe import mmoe
from trainer.backbone.bodies.ple import ple
from trainer.backbone.bodies.shared_bottom import shared_bottom
from trainer.backbone.layers.feature_cross import Cross, cross

Floats = npt.NDArray[np.float32]
Weights = dict[str, Floats]

ROWS = 40
X = np.random.default_rng(0).standard_normal((ROWS, 6), np.float32)


def dense(w: Weights, name: str, x: Floats) -> Floats:
    return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]


def mlp(w: Weights, name: str, x: Floats, layers: int) -> Floats:
    for depth in range(layers):
        x = np.maximum(dense(w, f"{name}_{depth}", x), 0)
    return x


def experts(w: Weights, name: str, x: Floats) -> list[Floats]:
    """The output of every expert, each computed as a network of its own."""
    out = []
    for index, bias in enumerate(w[f"{name}/bias_0"]):
        hidden = np.maximum(
            x @ w[f"{name}/kernel_0"][:, index * len(bias) : (index + 1) * len(bias)] + bias, 0
        )
        depth = 1
        while f"{name}/kernel_{depth}" in w:
            hidden = np.maximum(
                hidden @ w[f"{name}/kernel_{depth}"][index] + w[f"{name}/bias_{depth}"][index], 0
            )
            depth += 1
        out.append(hidden)
    return out


def gated(w: Weights, gate: str, x: Floats, read: list[Floats]) -> Floats:
    """sum_i softmax(G x)_i e_i."""
    scores = np.exp(dense(w, gate, x))
    return sum(
        scores[:, [index]] / scores.sum(1, keepdims=True) * one for index, one in enumerate(read)
    )  # type: ignore[return-value]


def expected_shared_bottom(w: Weights, settings: Backbone) -> tuple[Floats, Floats]:
    bottom = mlp(w, "bottom", X, len(settings.expert_layers))
    return bottom, bottom


def expected_esmm(w: Weights, settings: Backbone) -> tuple[Floats, Floats]:
    return mlp(w, "ctr_bottom", X, len(settings.expert_layers)), mlp(
        w, "cvr_bottom", X, len(settings.expert_layers)
    )


def expected_mmoe(w: Weights, settings: Backbone) -> tuple[Floats, Floats]:
    shared = experts(w, "experts", X)
    assert len(shared) == settings.experts
    return gated(w, "ctr_gate", X, shared), gated(w, "cvr_gate", X, shared)


def expected_ple(w: Weights, settings: Backbone) -> tuple[Floats, Floats]:
    ctr = cvr = both = X
    for level in range(settings.levels):
        e_ctr, e_cvr = (
            experts(w, f"ctr_experts_{level}", ctr),
            experts(w, f"cvr_experts_{level}", cvr),
        )
        e_both = experts(w, f"shared_experts_{level}", both)
        assert (len(e_ctr), len(e_cvr), len(e_both)) == (
            settings.experts,
            settings.experts,
            settings.shared_experts,
        )
        if level + 1 < settings.levels:
            both = gated(w, f"shared_gate_{level}", both, e_ctr + e_cvr + e_both)
        ctr, cvr = (
            gated(w, f"ctr_gate_{level}", ctr, e_ctr + e_both),
            gated(w, f"cvr_gate_{level}", cvr, e_cvr + e_both),
        )
    return ctr, cvr


class Case(NamedTuple):
    body: Callable[[Any, Build], list[TaskHead]]
    expected: Callable[[Weights, Backbone], tuple[Floats, Floats]]


CASES = {
    "shared_bottom": Case(shared_bottom, expected_shared_bottom),
    "esmm": Case(esmm, expected_esmm),
    "mmoe": Case(mmoe, expected_mmoe),
    "ple": Case(ple, expected_ple),
}
BODY = pytest.mark.parametrize("name", CASES)
SETTINGS: dict[str, Any] = {
    "experts": 3,
    "shared_experts": 2,
    "levels": 2,
    "expert_layers": (5, 4),
    "tower_layers": (4, 3),
}


def make_loud(model: keras.Model) -> Weights:
    """Large random weights, biases too, so that everything moves the scores; by path."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(random.normal(0.0, 0.7, weight.shape))
    return {weight.path: weight.numpy() for weight in model.weights}


def body_alone(name: str, **settings: Any) -> tuple[keras.Model, Backbone]:
    """A body over an input that is six wide."""
    chosen = Backbone(**{**SETTINGS, **settings})
    x = keras.Input((6,))
    body = CASES[name].body(x, Build(chosen, TOWERS, {}, {}, count(17_000, 5)))
    return keras.Model(x, body), chosen


@BODY
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"expert_layers": (4,), "tower_layers": (3,), "levels": 1},
        {"expert_layers": (5, 5, 4), "levels": 3, "shared_experts": 1},
    ],
    ids=["two deep", "one deep", "three deep"],
)
def test_a_body_follows_its_definition(name: str, settings: dict[str, Any]) -> None:
    model, chosen = body_alone(name, **settings)
    w = make_loud(model)
    for task, head, representation in zip(
        TOWERS, model(X), CASES[name].expected(w, chosen), strict=True
    ):
        tower = mlp(w, f"{task}_tower", representation, len(chosen.tower_layers))
        assert (representation > 0).mean() > 0.2  # else ReLU has emptied what is compared
        for received, expected in zip(
            head, (representation, tower, dense(w, f"{task}_logit", tower)), strict=True
        ):
            np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


@BODY
def test_every_weight_of_a_body_is_used_and_starts_from_a_seed_of_its_own(name: str) -> None:
    model, _ = body_alone(name, levels=3)
    starts = [
        weight.numpy().ravel()[:3].tobytes() for weight in model.weights if "kernel" in weight.path
    ]
    assert len(set(starts)) == len(starts)
    make_loud(model)
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(tf.square(head.logit)) for head in model(X))
    for weight, gradient in zip(
        model.weights, tape.gradient(loss, [weight.value for weight in model.weights]), strict=True
    ):
        assert gradient is not None, weight.path
        assert np.abs(gradient).max() > 0, weight.path


@pytest.mark.parametrize(
    ("name", "levels", "changed", "moves_cvr"),
    [
        ("shared_bottom", 1, "bottom_0", True),
        ("esmm", 1, "ctr_bottom_0", False),
        ("mmoe", 1, "ctr_gate", False),
        ("ple", 1, "ctr_experts_0", False),
        ("ple", 2, "ctr_experts_0", True),  # through the shared gate of the first level
        ("ple", 2, "ctr_experts_1", False),
    ],
)
def test_what_a_task_keeps_to_itself_does_not_move_the_other(
    name: str, levels: int, changed: str, moves_cvr: bool
) -> None:
    model, _ = body_alone(name, levels=levels)
    make_loud(model)
    before = [head.logit.numpy() for head in model(X)]
    for weight in model.get_layer(changed).weights:
        weight.assign(-weight)
    after = [head.logit.numpy() for head in model(X)]
    assert [bool((first != second).any()) for first, second in zip(before, after, strict=True)] == [
        True,
        moves_cvr,
    ]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        *(
            (f"{key}=0", f"{key}: input should be greater than or equal to 1, received 0")
            for key in ("experts", "shared_experts", "levels")
        ),
        ("levels=1.5", "levels: input should be a valid integer, .*received 1.5"),
        ("crosses=-1", "crosses: input should be greater than or equal to 0, received -1"),
        (
            "body=mmoes",
            "body: 'mmoes' is no body; did you mean 'mmoe'",
        ),
    ],
)
def test_bad_settings_are_refused_by_name(setting: str, said: str) -> None:
    with pytest.raises(InputError, match=rf"backbone\.{said}") as error:
        variant(f"backbone.{setting}")
    one_line(error)


def test_a_cross_layer_by_hand() -> None:
    # W x + b = [1 * 1 + 2 * -1 + 0.5, 3 * 1 + 4 * -1 - 1] = [-0.5, -2];  [2, 3] * [-0.5, -2] + [1,
    # -1] = [0, -7]
    layer = Cross()
    layer(tf.ones([1, 2]), tf.ones([1, 2]))
    layer.set_weights([np.array([[1.0, 3.0], [2.0, 4.0]]), np.array([0.5, -1.0])])  # W transposed
    np.testing.assert_allclose(
        layer(tf.constant([[2.0, 3.0]]), tf.constant([[1.0, -1.0]])), [[0.0, -7.0]], rtol=1e-6
    )


def crossed_by_hand(w: Weights, x0: Floats, layers: int) -> Floats:
    x = x0
    for depth in range(layers):
        x = x0 * dense(w, f"cross_{depth}/dense", x) + x
    return x


def test_crosses_are_interactions_with_the_first_input() -> None:
    x = keras.Input((6,))
    model = keras.Model(x, cross(x, Build(Backbone(crosses=3), TOWERS, {}, {}, count(17_000, 5))))
    w = make_loud(model)
    np.testing.assert_allclose(model(X), crossed_by_hand(w, X, 3), rtol=1e-4, atol=1e-4)


def test_no_cross_layer_leaves_input_and_seeds_alone() -> None:
    x, seeds = keras.Input((6,)), count(17_000, 5)
    assert cross(x, Build(Backbone(), TOWERS, {}, {}, seeds)) is x
    assert next(seeds) == 17_000
