"""The job directory: where everything a training run leaves is, and how it gets there whole."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from configs import Experiment, InputError
from configs.files import read_json, read_object
from preprocessing.dataset.manifest import GOLDEN_FILE

if TYPE_CHECKING:
    from preprocessing.features.fitted import Fitted


@dataclass(frozen=True)
class Job:
    """Paths of a job directory."""

    folder: Path

    @property
    def backbone(self) -> Path:
        """Folder of the backbone; it is finished once ``fingerprint.json``, written last, is
        there.
        """
        return self.folder / "backbone"

    @property
    def checkpoints(self) -> Path:
        """What an interrupted pre-training run resumes from."""
        return self.backbone / "checkpoints"

    @property
    def kernels(self) -> Path:
        """Folder of the kernels."""
        return self.folder / "kernels"

    @property
    def reports(self) -> Path:
        """Folder of metrics and reports."""
        return self.folder / "reports"

    @property
    def logs(self) -> Path:
        """Folder of TensorBoard logs."""
        return self.folder / "tensorboard"

    @property
    def finished(self) -> bool:
        """Whether a finished backbone is here."""
        return (self.backbone / "fingerprint.json").exists()

    def check_finished(self) -> None:
        """Raises ``InputError``, which names the missing step, where there is no finished
        backbone.
        """
        if not self.finished:
            found = "holds no finished backbone" if self.folder.is_dir() else "no such job"
            raise InputError(f"{self.folder}: {found}; run python -m trainer.task pretrain first")

    def experiment(self) -> Experiment:
        """The experiment that the backbone was trained with. Raises ``InputError`` where there
        is no finished backbone.
        """
        path = self.backbone / "experiment.json"
        try:
            return Experiment.model_validate(read_json(path))
        except ValidationError as error:
            raise InputError(f"{path}: not an experiment: {error.errors()[0]['msg']}") from None

    def fitted(self) -> "Fitted":
        """The transform that the backbone was trained on."""
        from preprocessing.features.fitted import Fitted  # Beam's file systems: not for a path

        return Fitted.load(str(self.backbone / "transform"))

    @property
    def golden(self) -> Path:
        """The golden requests: rows that every version of a kernel, an export and a server are
        scored on.
        """
        return self.backbone / GOLDEN_FILE

    def golden_requests(self, experiment: Experiment | None = None) -> list[dict[str, Any]]:
        """The golden requests as a client sends them: raw features by name.

        Args:
          experiment: names the columns; the job's where None. One that has more topics than the
            job's may read columns that are not in the file: these are missing in every request.

        Raises:
          InputError: the job has none.
        """
        from preprocessing.logs.schema import served_columns  # Arrow: not for a path

        names = [column.name for column in served_columns(self.experiment())]
        more = [c.name for c in served_columns(experiment)] if experiment else names
        try:
            rows = [
                json.loads(line) for line in self.golden.read_text(encoding="utf-8").splitlines()
            ]
            return [
                {name: row[name] for name in names}
                | {name: row.get(name) for name in more if name not in names}
                for row in rows
            ]
        except FileNotFoundError:
            raise InputError(
                f"{self.golden}: not found; trainer.task finetune copies it from a dataset; older"
                " datasets need preprocessing.task again"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self.golden}: damaged: expected a JSON object with {', '.join(names)} on every"
                f" line: {error!r}"
            ) from None

    def fingerprint(self) -> dict[str, Any]:
        """The backbone's fingerprint: ``fingerprint``, ``transform`` and ``tensors`` (sha256 of
        each by path).
        """
        return read_object(
            self.backbone / "fingerprint.json", "fingerprint", "transform", "tensors"
        )
