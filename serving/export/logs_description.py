"""Writes down how the logs were read that a version's model was trained on
(``serving.wire.training_logs``).
"""

import json
from collections.abc import Iterable
from pathlib import Path

from configs import Experiment
from configs.digests.sealed_json import sealed
from configs.domains import Domain
from configs.files import write_unsynced
from serving.wire.training_logs import LOGS, TrainingLogs


def write_logs_description(
    version: Path, experiment: Experiment, domains: Iterable[Domain]
) -> None:
    """Writes it into a version's folder.

    Args:
      version: the folder.
      experiment: the one that the backbone was trained with.
      domains: those that the graph knows.
    """
    data = experiment.data
    logs = TrainingLogs(
        request=data.request,
        row_key=data.row_key,
        null_values=data.null_values,
        max_rejected=data.max_rejected,
        domains=tuple(domain.name for domain in domains),
        learned_until=max(experiment.splits[name].end for name in experiment.fitted_on),
    )
    content = json.dumps(sealed(logs.model_dump(mode="json")), indent=1)
    write_unsynced(version / LOGS, content.encode())
