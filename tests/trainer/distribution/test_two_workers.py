"""Two processes train what one trains; where one is killed the other ends, and both go on."""

import signal
from pathlib import Path

import numpy as np

from configs import load_experiment
from tests.conftest import QUICKSTART
from tests.trainer.distribution.two_workers import SETTINGS, pretrain_together
from trainer.backbone.saving import load_frozen
from trainer.job import Job
from trainer.training.pretrain import pretrain


def test_two_train_what_one_trains_also_when_one_is_killed(
    dataset_dir: Path, tmp_path: Path
) -> None:
    together, one = tmp_path / "together", tmp_path / "one"
    killed, left = pretrain_together(dataset_dir, together, dies=0, after=6)
    assert killed.returncode == -signal.SIGKILL
    assert left.returncode == 2
    said = left.stderr.splitlines()[-1]
    assert said.startswith("error: worker 1 of 2 ")
    assert "another worker has ended" in said
    assert not Job(together).finished

    again = pretrain_together(dataset_dir, together)
    assert [process.returncode for process in again] == [0, 0], again
    assert "resuming after step 6" in again[1].stderr
    digests = {process.stdout for process in again}
    assert len(digests) == 1
    assert digests != {""}
    moved = [process.stderr.rpartition("sent ")[2] for process in again]
    assert moved[0] == moved[1]
    assert "to be summed, 0 of rows" not in moved[0]
    assert not (tmp_path / "nobodys").exists()  # rank 1 needs none, and writes none

    experiment = load_experiment(QUICKSTART, SETTINGS)
    pretrain(experiment, dataset_dir, Job(one))
    ours, theirs = (load_frozen(Job(job), experiment) for job in (one, together))
    for weight, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), other.numpy(), rtol=0, atol=1e-6)
