"""Kernels that train on the rows of further splits beside the window."""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

from pathlib import Path

import numpy as np
import pytest

from benchmarks.method.bench import Bench
from benchmarks.method.methods.tuned import kernels, with_taps
from configs import Experiment, InputError
from configs.domains import ALL
from tests.trainer.conftest import one_line, random_rows, variant
from trainer.backbone.stored_taps import taps_folder
from trainer.training import kernel_training

CROSSED = (
    "splits.pretrain.end=2025-03-05T03:00:00Z",
    "splits.finetune={start: 2025-03-05T03:00:00Z, end: 2025-03-06T03:00:00Z}",
    "splits.recent={start: 2025-03-06T03:00:00Z, end: 2025-03-07T03:00:00Z}",
    "pretrain.progressive=true",
)


def test_rows_of_splits_stand_one_after_the_other_with_their_taps() -> None:
    first, second = random_rows(4, seed=1), random_rows(3, seed=2)
    joined = with_taps([first, second])
    np.testing.assert_array_equal(joined.taps, np.concatenate([first.taps, second.taps]))
    np.testing.assert_array_equal(joined.logits[4:], second.logits)
    assert joined.columns.keys() == first.columns.keys()
    for name, values in joined.columns.items():
        np.testing.assert_array_equal(values[:4], first.columns[name], err_msg=name)
        np.testing.assert_array_equal(values[4:], second.columns[name], err_msg=name)
    assert joined.memory is None
    assert with_taps([first]) is first


def test_kernels_read_the_taps_that_a_progressive_backbone_left_of_earlier_days(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_training, "mean_auc", lambda *_: None)  # the last weights are kept
    bench = Bench(variant(*CROSSED), str(logs / "*.parquet"), tmp_path)
    experiment = variant(*CROSSED, "finetune.split=recent", "finetune.epochs=1")
    recent, both = (
        kernels(bench, experiment, ["test"], {"also": also, "domains": []})["all"]
        for also in ([], ["finetune"])
    )
    earlier = bench.rows("finetune", experiment.kernel.tap)
    np.testing.assert_array_equal(
        earlier.logits, np.load(taps_folder(bench.job) / "logits.npy"), err_msg="not the stored"
    )
    assert len(earlier.logits) > 0
    assert both.rows == recent.rows + len(earlier.logits)
    changed = both.logits["test"][ALL] - recent.logits["test"][ALL]
    assert np.abs(changed).max() > 1e-3


@pytest.mark.parametrize(
    ("also", "said"),
    [
        (["yesterday"], "options.splits: 'yesterday' is no split"),
        (["validation"], "options.splits: rows of 'validation' judge"),
        (["test"], "options.splits: rows of 'test' judge"),
        (["finetune"], "options.also: 'finetune' is finetune.split; name others"),
    ],
)
def test_splits_are_checked(
    also: list[str],
    said: str,
    experiment: Experiment,
    logs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    bench = Bench(experiment, str(logs / "*.parquet"), tmp_path_factory.getbasetemp() / "checked")
    with pytest.raises(InputError, match=said) as error:
        kernels(bench, experiment, ["test"], {"also": also})
    one_line(error)
