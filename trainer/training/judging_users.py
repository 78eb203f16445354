"""Halves the validation rows by user: one half decides when a kernel stops, the other judges it,
so that what is decided on it is honest. Which half a user is in changes from run to run, so that
tuning again and again does not adapt to the same judges.
"""

import hashlib
import json
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.domains import Domain
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.data.dataset import Dataset
from trainer.kernels.kernel import Rows

_JUDGES = "row/judges"


def run_key(experiment: Experiment, dataset: Dataset) -> str:
    """What tells runs of fine-tuning apart: the settings that kernels depend on, and the rows. The
    same command on the same data is the same run, also after it was interrupted.

    Args:
      experiment: seed, ``kernel``, ``finetune`` and ``memory`` count.
      dataset: the files of the fine-tuning and the validation split count.
    """
    settings = experiment.model_dump(mode="json", include={"seed", "kernel", "finetune"})
    if experiment.memory:
        settings["memory"] = experiment.memory.definition
    splits = (experiment.finetune.split, experiment.finetune.validation)
    files = [[file.sha256 for file in dataset.manifest.splits[split].files] for split in splits]
    return hashlib.sha256(json.dumps([settings, files], sort_keys=True).encode()).hexdigest()


def with_judges(validation: BackboneOutputs, key: str) -> BackboneOutputs:
    """The validation rows, with the users drawn who judge in a run: each with probability 1/2, as a
    function of the user and the run's key (our choice).
    """
    users = validation.columns["row/user"].astype(np.int64, copy=False).view(np.uint64)
    drawn = (_mixed(users ^ np.uint64(int(key[:16], 16))) >> np.uint64(63)).astype(bool)
    return replace(validation, columns={**validation.columns, _JUDGES: drawn})


def stopping_rows(validation: BackboneOutputs, domain: Domain) -> Rows:
    """A domain's validation rows of the users that decide when its kernel stops."""
    rows = validation.domain_rows(domain)
    return rows[~judges(validation, rows)]


def judging_rows(validation: BackboneOutputs, domain: Domain) -> Rows:
    """A domain's validation rows of the other users, who judge the kernel."""
    rows = validation.domain_rows(domain)
    return rows[judges(validation, rows)]


def judges(validation: BackboneOutputs, rows: Rows) -> npt.NDArray[np.bool_]:
    """Which of the rows are of users who judge kernels; the others stop their training. Rows for
    which no judges were drawn go by the parity of the user.
    """
    if _JUDGES in validation.columns:
        drawn: npt.NDArray[np.bool_] = validation.columns[_JUDGES][rows].astype(bool, copy=False)
        return drawn
    users: npt.NDArray[np.int64] = validation.columns["row/user"][rows].astype(np.int64, copy=False)
    return (users & 1).astype(bool)


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Every bit of the result depends on every bit of the value (SplitMix64's finaliser, Steele et
    al. 2014, section 4).
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
