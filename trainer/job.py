"""The job directory: where everything a training run leaves is, and how it gets there whole."""

import errno
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
from preprocessing.dataset.golden_requests import GOLDEN_FILE
from preprocessing.features.fitted import Fitted
from preprocessing.logs.schema import served_columns
from trainer.backbone.layers.chunked_tables import uncopied


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

    def experiment(self) -> Experiment:
        """The experiment that the backbone was trained with. Raises ``InputError`` where there
        is no finished backbone.
        """
        path = self.backbone / "experiment.json"
        try:
            return Experiment.model_validate(read_json(path))
        except ValidationError as error:
            raise InputError(f"{path}: not an experiment: {error.errors()[0]['msg']}") from None

    def fitted(self) -> Fitted:
        """The transform that the backbone was trained on."""
        return Fitted.load(str(self.backbone / "transform"))

    @property
    def golden(self) -> Path:
        """The golden requests: rows that every version of a kernel, an export and a server are
        scored on.
        """
        return self.backbone / GOLDEN_FILE

    def golden_requests(self) -> list[dict[str, Any]]:
        """The golden requests as a client sends them: raw features by name. Raises
        ``InputError`` where the job has none.
        """
        names = [column.name for column in served_columns(self.experiment())]
        try:
            rows = [
                json.loads(line) for line in self.golden.read_text(encoding="utf-8").splitlines()
            ]
            return [{name: row[name] for name in names} for row in rows]
        except FileNotFoundError:
            raise InputError(
                f"{self.golden}: not found; trainer.task finetune copies it from a dataset; older"
                " datasets need preprocessing.task again"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
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


def model_fingerprint(model: keras.Model, transform_digest: str) -> dict[str, Any]:
    """sha256 over every weight (path, dtype, shape, bytes) of a backbone and over its
    transform's vocabularies and constants.
    """
    digests = {}
    for variable in model.weights:
        tensor = np.ascontiguousarray(uncopied(variable.value))
        digest = hashlib.sha256(f"{tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(tensor.data)
        digests[variable.path] = digest.hexdigest()
    whole = hashlib.sha256(
        json.dumps([transform_digest, digests], sort_keys=True).encode()
    ).hexdigest()
    return {"fingerprint": whole, "transform": transform_digest, "tensors": digests}


def check_transform(expected: dict[str, Any], digest: str, where: str) -> None:
    """Raises ``InputError`` where a transform is not the one of a backbone's fingerprint."""
    if expected["transform"] != digest:
        raise InputError(
            f"{where}: its transform (sha256 {digest[:12]}) is not the one the backbone was trained"
            f" on ({expected['transform'][:12]})"
        )


def check_fingerprint(expected: dict[str, Any], received: dict[str, Any], where: str) -> None:
    """Raises ``InputError`` naming the first difference of two fingerprints."""
    if expected["fingerprint"] == received["fingerprint"]:
        return
    check_transform(expected, received["transform"], where)
    raise InputError(
        f"{where}: {fingerprint_difference(expected, received)} differs from the backbone's"
        " fingerprint"
    )


def fingerprint_difference(expected: dict[str, Any], received: dict[str, Any]) -> str | None:
    """What differs first between two fingerprints: the transform, or a tensor by name; None
    where neither does.
    """
    if expected["transform"] != received["transform"]:
        return "the transform (vocabularies and constants)"
    names = sorted(expected["tensors"].keys() | received["tensors"].keys())
    return next(
        (
            f"tensor '{name}'"
            for name in names
            if expected["tensors"].get(name) != received["tensors"].get(name)
        ),
        None,
    )


def read_json(path: Path) -> Any:
    """Reads JSON. Raises ``InputError`` where the file is missing or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run the step that writes it first") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON: {error}") from None


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """Reads a JSON object that has the given keys. Raises ``InputError`` where the file is
    missing or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise InputError(
            f"{path}: expected a JSON object" + (f" with {', '.join(keys)}" if keys else "")
        )
    return content


def write_json(path: Path, content: Any) -> None:
    """Writes JSON aside and renames it into place."""
    write_bytes(path, json.dumps(content, indent=1, allow_nan=False).encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file aside and renames it into place; it is on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}-", delete=False
    ) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    sync(path.parent)


def sync(folder: Path) -> None:
    """Makes what was created, renamed or deleted in a folder survive the loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill; it becomes ``target`` (which must not exist) when the block ends well, and
    is removed when it does not.

    Raises:
      InputError: somebody else has written ``target`` meanwhile; theirs stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        yield aside
        aside.chmod(0o755)
        try:
            aside.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise InputError(
                f"{target}: another run has written it meanwhile; run this again"
            ) from None
        sync(target.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
