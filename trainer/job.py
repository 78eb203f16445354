"""The job directory: where everything a training run leaves is, and how it gets there whole."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from pydantic import ValidationError

from configs import Experiment, InputError
from preprocessing.fitted import Fitted
from trainer.pieces import uncopied


@dataclass(frozen=True)
class Job:
    """Paths of a job directory."""

    folder: Path

    @property
    def backbone(self) -> Path:
        """Folder of the backbone; it is finished once ``fingerprint.json``, written last, is there."""
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

    def experiment(self) -> Experiment:
        """The experiment that the backbone was trained with. Raises ``InputError`` where there is no finished backbone."""
        path = self.backbone / "experiment.json"
        try:
            return Experiment.model_validate(read_json(path))
        except ValidationError as error:
            raise InputError(f"{path}: not an experiment: {error.errors()[0]['msg']}") from None

    def fitted(self) -> Fitted:
        """The transform that the backbone was trained on."""
        return Fitted.load(str(self.backbone / "transform"))

    def fingerprint(self) -> dict[str, Any]:
        """The backbone's fingerprint: ``fingerprint``, ``transform`` and ``tensors`` (sha256 of each by path)."""
        return read_object(self.backbone / "fingerprint.json", "fingerprint", "transform", "tensors")


def model_fingerprint(model: keras.Model, transform_digest: str) -> dict[str, Any]:
    """sha256 over every weight (path, dtype, shape, bytes) of a backbone and over its transform's vocabularies and constants."""
    digests = {}
    for variable in model.weights:
        tensor = np.ascontiguousarray(uncopied(variable.value))
        digest = hashlib.sha256(f"{tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(tensor.data)
        digests[variable.path] = digest.hexdigest()
    whole = hashlib.sha256(json.dumps([transform_digest, digests], sort_keys=True).encode()).hexdigest()
    return {"fingerprint": whole, "transform": transform_digest, "tensors": digests}


def check_transform(expected: dict[str, Any], digest: str, where: str) -> None:
    """Raises ``InputError`` where a transform is not the one of a backbone's fingerprint."""
    if expected["transform"] != digest:
        raise InputError(
            f"{where}: its transform (sha256 {digest[:12]}) is not the one the backbone was trained on ({expected['transform'][:12]})"
        )


def check_fingerprint(expected: dict[str, Any], received: dict[str, Any], where: str) -> None:
    """Raises ``InputError`` naming the first difference of two fingerprints."""
    if expected["fingerprint"] == received["fingerprint"]:
        return
    check_transform(expected, received["transform"], where)
    names = sorted(expected["tensors"].keys() | received["tensors"].keys())
    first = next(name for name in names if expected["tensors"].get(name) != received["tensors"].get(name))
    raise InputError(f"{where}: tensor '{first}' differs from the backbone's fingerprint")


def read_json(path: Path) -> Any:
    """Reads JSON. Raises ``InputError`` where the file is missing or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run the step that writes it first") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON: {error}") from None


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """Reads a JSON object that has the given keys. Raises ``InputError`` where the file is missing or holds something else."""
    content = read_json(path)
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise InputError(f"{path}: expected a JSON object" + (f" with {', '.join(keys)}" if keys else ""))
    return content


def write_json(path: Path, content: Any) -> None:
    """Writes JSON aside and renames it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False, encoding="utf-8") as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill; it becomes ``target`` (which must not exist) when the block ends well, and is removed when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        yield aside
        aside.chmod(0o755)
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
