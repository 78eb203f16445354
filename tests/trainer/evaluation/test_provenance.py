"""What is known of a kernel's past."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import Split
from tests.trainer.conftest import MANIFEST, variant
from trainer.evaluation.provenance import last_decision, seen_by_backbone, seen_by_kernel
from trainer.registry.decision import Decision
from trainer.registry.kernel_manifest import KernelManifest

EXPERIMENT = variant()
START = datetime(2025, 3, 1, tzinfo=UTC)


def manifest(**changes: Any) -> KernelManifest:
    own = {"domain": "scene=home", "version": 2, "backbone": "f" * 64}
    return KernelManifest.model_validate(MANIFEST | own | changes)


def days(first: int, last: int) -> Split:
    return Split(start=START + timedelta(first), end=START + timedelta(last))


spans = st.tuples(st.integers(0, 20), st.integers(1, 10)).map(lambda s: (s[0], s[0] + s[1]))


@given(spans, spans, spans)
def test_rows_are_seen_where_a_day_is_shared(
    train: tuple[int, int], validation: tuple[int, int], judged: tuple[int, int]
) -> None:
    windows = {
        part: (days(*span).start.isoformat(), days(*span).end.isoformat())
        for part, span in (("train", train), ("validation", validation))
    }
    seen = seen_by_kernel(manifest(windows=windows), EXPERIMENT, days(*judged))
    for part, span in (("train", train), ("validation", validation)):
        assert (part in seen) is bool(set(range(*span)) & set(range(*judged)))


@pytest.mark.parametrize(
    ("split", "seen"),
    [("pretrain", ()), ("finetune", ("train",)), ("validation", ("validation",)), ("test", ())],
)
def test_a_kernel_older_than_windows_has_the_splits_of_the_backbones_experiment(
    split: str, seen: tuple[str, ...]
) -> None:
    assert seen_by_kernel(manifest(), EXPERIMENT, EXPERIMENT.splits[split]) == seen
    other = MANIFEST["finetune"] | {"split": "lost"}  # type: ignore[operator]
    assert "train" not in seen_by_kernel(
        manifest(finetune=other), EXPERIMENT, EXPERIMENT.splits[split]
    )


def test_a_progressive_backbone_has_learned_the_window_of_its_kernels() -> None:
    window = EXPERIMENT.splits["finetune"]
    assert seen_by_backbone(EXPERIMENT, window) == ()
    assert seen_by_backbone(variant("pretrain.progressive=true"), window) == ("train",)


def test_the_newest_decision_goes_before_the_judged_kernels_own() -> None:
    own = Decision(outcome="activate", reason="own", against="all", version=2, active=2)
    newest = Decision(outcome="keep", reason="newest", against="version 2", version=3, active=2)
    for decision, stored in ((newest, manifest(decision=own)), (newest, None)):
        found = last_decision(decision, stored)
        assert found is not None
        assert found.model_dump() == newest.model_dump(include=found.model_fields_set)
    found = last_decision(None, manifest(decision=own))
    assert found is not None
    assert found.reason == "own"


def test_a_kernel_older_than_decisions_tells_the_rule_of_its_day() -> None:
    passed = last_decision(None, manifest())
    failed = last_decision(None, manifest(activated=False))
    assert passed is not None
    assert failed is not None
    assert (passed.outcome, passed.reason, passed.active) == ("activate", "CTR-AUC higher", 2)
    assert (failed.outcome, failed.version, failed.active) == ("keep", 2, None)
    assert passed.against == failed.against == "backbone"
    assert last_decision(None, None) is None
