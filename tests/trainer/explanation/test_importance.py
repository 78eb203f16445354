"""Permutation importance of a model whose reading is known."""

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import roc_auc_score

from configs.random_streams import Purpose, random_stream
from tests.tasks import RANKING
from tests.trainer.explanation.conftest import UNREAD, made_input
from trainer.explanation.importance import PermutedInputs
from trainer.explanation.inputs import Input, InputRows
from trainer.explanation.scorer import Scorer
from trainer.metrics.explanation_results import SliceImportance
from trainer.metrics.task_metrics import UNDEFINED

SIDES = ("backbone", "kernel")
LABELS = {"ctr": "label/click", "ctcvr": "label/conversion"}
PERMUTATIONS = 3

Found = tuple[SliceImportance, dict[str, SliceImportance]]


@pytest.fixture(scope="module")
def found(made_scorer: Scorer, made_rows: InputRows, made_inputs: list[Input]) -> Found:
    whole = made_scorer.scored(made_rows)
    permuted = PermutedInputs(made_scorer, whole, made_inputs, PERMUTATIONS)
    return permuted.losses(made_scorer.kernels.domains)


def test_what_decides_loses_most_and_noise_holds_zero(found: Found) -> None:
    for task in RANKING:
        lost = {name: cell.kernel for name, cell in found[0].lost[task].items()}
        assert max(lost, key=lambda name: float(lost[name].lost)) == "decides"
        low, _ = lost["helps"].ci95
        assert float(low) > 0
        low, high = lost["noise"].ci95
        assert float(low) < 0 < float(high)


def test_what_moves_nothing_loses_exactly_nothing(found: Found) -> None:
    """An input of weight 0 is scored again, one that nobody reads is not."""
    for part in (found[0], found[1]["scene=home"]):
        for name in ("ignored", UNREAD):
            for task in RANKING:
                cell = part.lost[task][name]
                for side in SIDES:
                    assert getattr(cell, side).lost == 0.0
                    assert getattr(cell, side).ci95 == (0.0, 0.0)


def weighted_auc(
    rows: InputRows, inside: npt.NDArray[np.bool_], task: str, logits: npt.NDArray[np.float32]
) -> float:
    chosen = [of[inside] for of in (rows.columns[LABELS[task]], logits, rows.columns["row/weight"])]
    return float(roc_auc_score(chosen[0], chosen[1], sample_weight=chosen[2]))


@pytest.mark.parametrize("place", ["all", "scene=home"])
def test_a_loss_is_the_difference_of_two_reckonings_by_hand(
    found: Found, made_rows: InputRows, made_scorer: Scorer, place: str
) -> None:
    part = found[0] if place == "all" else found[1][place]
    inside = np.ones(len(made_rows), bool)
    if place != "all":
        inside = made_rows.columns["topic/scene"] == 1
    assert part.rows == inside.sum()
    numbers = {name: made_rows.parts[f"feature/{name}"] for name in ("decides", "helps", "noise")}

    def logits(**changed: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        now = numbers | changed
        return 2.0 * now["decides"] + 0.5 * now["helps"] + 0.3 * now["noise"]

    for task in RANKING:
        whole = weighted_auc(made_rows, inside, task, logits())
        assert part.auc[task].backbone == pytest.approx(whole, abs=1e-6)
        for name in numbers:
            left = []
            for number in range(PERMUTATIONS):
                seed = made_scorer.experiment.seed
                stream = random_stream(seed, Purpose.PERMUTED_INPUT, name, number)
                order = stream.permutation(len(made_rows))
                permuted = logits(**{name: numbers[name][order]})
                left.append(weighted_auc(made_rows, inside, task, permuted))
            loss = part.lost[task][name].backbone
            assert loss.lost == pytest.approx(whole - np.mean(left), abs=1e-6)
            low, high = loss.ci95
            assert float(low) < float(loss.lost) < float(high)


def test_intervals_speak_of_other_permutations_too(
    made_scorer: Scorer, made_rows: InputRows, made_inputs: list[Input]
) -> None:
    """A permutation that loses nothing and one that loses all: the interval reaches both."""
    whole, one = made_scorer.scored(made_rows), made_inputs[:1]
    permuted = PermutedInputs(made_scorer, whole, one, 2)
    after = permuted._after["kernel"]
    after[1]["ctr"] = permuted._before["kernel"]["ctr"]
    overall, _ = permuted.losses({})
    loss = overall.lost["ctr"]["decides"].kernel
    low, high = loss.ci95
    assert float(low) == 0.0  # the second permutation alone
    assert float(high) > 1.8 * float(loss.lost)  # the first alone


def test_a_domain_without_rows_is_undecidable(found: Found) -> None:
    empty = found[1]["region=r9"]
    assert empty.rows == 0
    assert set(empty.undecided) == set(RANKING)
    assert empty.auc == empty.lost == {}


def test_one_user_has_no_interval(
    made_scorer: Scorer, made_rows: InputRows, made_inputs: list[Input]
) -> None:
    users = np.zeros_like(made_rows.columns["row/user"])
    alone = InputRows(made_rows.parts, made_rows.columns | {"row/user": users})
    permuted = PermutedInputs(made_scorer, made_scorer.scored(alone), made_inputs[:1], 1)
    overall, _ = permuted.losses({})
    loss = overall.lost["ctr"]["decides"].kernel
    assert (loss.lost, loss.ci95) == (UNDEFINED, UNDEFINED)


def test_the_parts_of_an_input_move_together_and_a_list_as_a_whole() -> None:
    hours = np.arange(6, dtype=np.int32)
    lists = np.stack([hours * 10, hours * 10 + 1], axis=1)
    topic = {"topic/period": hours}
    rows = InputRows({"feature/a": hours, "feature/b": lists, "topic/period": hours}, topic)
    one = made_input("a", "feature/a", "feature/b", "topic/period")
    order = np.array([3, 1, 2, 5, 4, 0])
    permuted = one.permuted(rows, order)
    np.testing.assert_array_equal(permuted.parts["feature/a"], order)
    np.testing.assert_array_equal(permuted.parts["feature/b"], lists[order])
    np.testing.assert_array_equal(permuted.parts["topic/period"], order)
    # What the body reads is permuted, and what rows are routed and judged by is not.
    np.testing.assert_array_equal(permuted.columns["topic/period"], hours)
    np.testing.assert_array_equal(rows.parts["feature/a"], hours)
