"""Labels that are known only after a time: rows that are too young teach and judge nothing."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import InputError, load_experiment
from tests.conftest import QUICKSTART, SMALL
from tests.trainer.conftest import variant
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.data.dataset import Dataset
from trainer.data.known_labels import KnownLabels
from trainer.kernels.scoring import entire_space_aucs, task_rows
from trainer.losses import Objectives, learned_scores
from trainer.target_rows import KNOWN
from trainer.training.intercepts import fit_intercepts

FUNNEL = """tasks={
  open: {label: click},
  order: {label: conversion, after: open, loss_weight: 0, matured_after: 12, entire: {name: both}},
  keep: {label: kept, after: order, entire: {name: all_three}}}"""
LATE = variant(FUNNEL, "data.as_of=2025-03-09T03:00:00Z")
NEEDS_ORDER = ("order", "both", "keep", "all_three")


def outputs(seed: int, rows: int = 300) -> BackboneOutputs:
    random = np.random.default_rng(seed)
    click, order, kept = (random.integers(0, 2, rows).astype(np.float32) for _ in range(3))
    return BackboneOutputs(
        random.standard_normal((rows, 3), np.float32),
        np.empty((rows, 3, 0), np.float32),
        {
            "label/click": click,
            "label/conversion": click * order,
            "label/kept": click * order * kept,
            f"{KNOWN}conversion": (random.random(rows) < 0.7).astype(np.float32),
            "row/weight": 0.5 + random.random(rows).astype(np.float32),
        },
    )


def loss(of: BackboneOutputs) -> float:
    found = of.loss_columns(LATE.tasks, np.arange(len(of.logits)))
    columns = {name: tf.constant(values) for name, values in found.items()}
    return float(Objectives(LATE).loss(learned_scores(LATE.tasks, tf.constant(of.logits)), columns))


def test_what_waits_on_a_late_label_waits_as_long() -> None:
    awaited = {name: target.awaited for name, target in LATE.tasks.targets.items()}
    assert awaited == {"open": (), **dict.fromkeys(NEEDS_ORDER, ("conversion",))}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_labels_that_are_not_known_yet_change_nothing(seed: int) -> None:
    of = outputs(seed)
    young = of.columns[f"{KNOWN}conversion"] == 0
    clicked = of.columns["label/click"]
    changed = {
        name: np.where(young, clicked - of.columns[name], of.columns[name])
        for name in ("label/conversion", "label/kept")
    }
    other = replace(of, columns=of.columns | changed)
    assert loss(of) == loss(other)
    assert fit_intercepts(of, LATE) == fit_intercepts(other, LATE)
    every = np.arange(len(of.logits))
    assert entire_space_aucs(LATE, of, every, of.logits) == entire_space_aucs(
        LATE, other, every, of.logits
    )
    for name in LATE.tasks.targets:
        inside, labels = task_rows(LATE, of, every, name)
        assert (name in NEEDS_ORDER) == (not inside[young].any())
        np.testing.assert_array_equal(labels, task_rows(LATE, other, every, name)[1])


def test_where_all_labels_are_known_nothing_changes() -> None:
    of = outputs(5)
    known = replace(of, columns=of.columns | {f"{KNOWN}conversion": np.ones(300, np.float32)})
    plain = variant(FUNNEL.replace(" matured_after: 12,", ""))
    assert not plain.known_before
    columns = {
        name: tf.constant(values)
        for name, values in known.loss_columns(plain.tasks, np.arange(300)).items()
    }
    scores = learned_scores(plain.tasks, tf.constant(of.logits))
    assert loss(known) == float(Objectives(plain).loss(scores, columns))
    assert fit_intercepts(known, LATE) == fit_intercepts(known, plain)


def test_a_row_is_known_when_it_is_old_enough(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    moment = LATE.splits["test"].end - timedelta(hours=12)
    assert LATE.known_before == {"conversion": moment}
    late = replace(dataset, known=KnownLabels(LATE.known_before))
    old: list[npt.NDArray[np.bool_]] = []
    for columns in late.batches("test", 500):
        old.append(columns["row/timestamp"] < moment.timestamp())
        np.testing.assert_array_equal(columns[f"{KNOWN}conversion"], old[-1])
    rows = np.concatenate(old)
    assert 0 < rows.sum() < len(rows)
    late.tell_unknown("pretrain", "test")
    assert capsys.readouterr().err == (
        f"note: {dataset.folder}: {(~rows).sum():,} of {len(rows):,} rows of split 'test' carry no"
        " 'conversion' yet (tasks.*.matured_after)\n"
    )
    nobody = {"conversion": LATE.splits["test"].start}
    with pytest.raises(InputError, match=r"carry no 'conversion' yet .*; expected some"):
        replace(dataset, known=KnownLabels(nobody)).tell_unknown("test", learned=True)


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        (["tasks.cvr.matured_after=96"], "rows carry 'conversion' if they are before 2025-03-05"),
        (
            ["tasks.cvr.matured_after=12", "memory={keys: {shop: [shop_id]}, delay_hours: 6}"],
            "memory.delay_hours: 6, and labels are known after 12 h",
        ),
        (
            ["tasks.cvr.matured_after=24", "data.as_of=0001-01-01T00:00:00Z"],
            "data.as_of: there is no moment so many hours before 0001-01-01",
        ),
        (["tasks={a: {label: click, space: [1]}}"], "a.space: expected text, received [1]"),
        (
            ["tasks={a: {label: click, matured_after: 5}, b: {label: click}}", "score=a"],
            "'click' is read in one way by one task and in another",
        ),
    ],
)
def test_what_nobody_can_know_is_refused(settings_: list[str], words: str) -> None:
    with pytest.raises(InputError) as error:
        load_experiment(QUICKSTART, [*SMALL, *settings_])
    assert words in str(error.value)


def test_logs_that_were_written_later_hold_the_labels_of_every_row() -> None:
    later = variant("tasks.cvr.matured_after=48", "data.as_of=2025-03-12T00:00:00Z")
    assert later.known_before["conversion"] > later.splits["test"].end
    assert later.data_digest != variant().data_digest  # labels missing on young rows are 0 there
