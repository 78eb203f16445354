"""One version of a kernel on disk: its files, and what is refused when they are read."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs import InputError
from configs.digests.sealed_json import sealed, unsealed
from configs.files import read_object, write_unsynced
from configs.memory import Memory
from trainer.backbone.fingerprint import fingerprint_difference
from trainer.kernels.shape import KernelShape
from trainer.registry.kernel_manifest import (
    KernelManifest,
    KernelRecord,
    manifest_json,
    manifest_of,
    parse_manifest,
)
from trainer.registry.model_card import card

_WEIGHTS, _MANIFEST, _GOLDEN, _BACKBONE, _CARD = (
    "weights.npz",
    "manifest.json",
    "golden.json",
    "backbone.json",
    "card.md",
)

_AGAIN = "remove this version's folder, and run python -m trainer.task finetune again"

Weights = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class StoredKernel:
    """One version of a domain's kernel.

    Attributes:
      domain: its exact name.
      version: from 1 on.
      weights: ``weight_j`` and ``bias_j`` arrays; of a gated kernel also ``gate`` and ``support``
        (``trainer.kernels.gate``).
      manifest: what it is, what it learned from, and how it was judged.
      golden: its scores of the golden requests (``trainer.registry.golden_scores.Golden``); None
        where it was stored without.
    """

    domain: str
    version: int
    weights: Weights
    manifest: KernelManifest
    golden: dict[str, Any] | None = None

    @property
    def shape(self) -> KernelShape:
        """What it must share with the others of a bank."""
        return self.manifest.shape

    @property
    def measured_gain(self) -> float:
        """What it was measured to gain over the backbone (``KernelRecord.measured_gain``)."""
        return self.manifest.measured_gain


def common_tap(kernels: Sequence[StoredKernel]) -> str | None:
    """The tap that all kernels read; None where there is no kernel. Raises ``InputError`` where
    they read different ones.
    """
    taps = {kernel.shape.tap: kernel.domain for kernel in kernels}
    if len(taps) > 1:
        described = ", ".join(f"'{domain}' reads {tap}" for tap, domain in taps.items())
        raise InputError(
            f"kernels of different taps cannot be used together: {described}; tune one of them"
            " again"
        )
    return next(iter(taps), None)


def common_memory(kernels: Sequence[StoredKernel]) -> Memory | None:
    """The memory that those of the kernels read which read any; None where none does. Raises
    ``InputError`` where they read different ones.
    """
    read = {kernel.shape.memory: kernel for kernel in kernels if kernel.shape.memory}
    if len(read) > 1:
        described = "; ".join(f"'{one.domain}' has {one.shape.words}" for one in read.values())
        raise InputError(
            f"kernels of different memories cannot be used together: {described}; tune one of them"
            " again"
        )
    return next((kernel.shape.remembers for kernel in read.values()), None)


@dataclass(frozen=True)
class VersionFiles:
    """The content of a version's files, less what depends on its number.

    Attributes:
      backbone: fingerprint of the backbone it belongs to (``job.Job.fingerprint``), every tensor's
        included.
      record: what fine-tuning says of the kernel.
      contents: by name, of the other files.
    """

    backbone: dict[str, Any]
    record: KernelRecord
    contents: dict[str, bytes]

    @classmethod
    def of(
        cls,
        backbone: dict[str, Any],
        weights: Weights,
        record: KernelRecord,
        golden: dict[str, Any] | None,
    ) -> "VersionFiles":
        """The files of a kernel. Raises ``ValueError`` where the record or the scores hold NaN,
        which JSON has no word for.
        """
        buffer = io.BytesIO()
        np.savez(buffer, **weights)  # type: ignore[arg-type]
        contents = {
            _WEIGHTS: buffer.getvalue(),
            _BACKBONE: _json(backbone),
            **({_GOLDEN: _json(golden)} if golden else {}),
        }
        return cls(backbone, record, contents)

    def write(self, folder: Path, domain: str, version: int) -> None:
        """Writes a version into a folder that is published afterwards."""
        content = self._manifest(domain, version)
        files = {
            **self.contents,
            _MANIFEST: _json(sealed(manifest_json(content))),
            _CARD: card(content).encode(),
        }
        for name, data in files.items():
            write_unsynced(folder / name, data)

    def same_as(self, folder: Path, domain: str, version: int) -> bool:
        """Whether a version's folder holds just this, to the byte."""
        expected = {
            **self.contents,
            _MANIFEST: _json(sealed(manifest_json(self._manifest(domain, version)))),
        }
        return all(
            (folder / name).is_file() and (folder / name).read_bytes() == data
            for name, data in expected.items()
        )

    def _manifest(self, domain: str, version: int) -> KernelManifest:
        files = {name: hashlib.sha256(data).hexdigest() for name, data in self.contents.items()}
        return manifest_of(self.record, domain, version, self.backbone["fingerprint"], files)


def read_manifest(folder: Path) -> KernelManifest:
    """A version's manifest alone; its other files are not looked at. Raises ``InputError`` where it
    is missing or damaged.
    """
    path = folder / _MANIFEST
    return parse_manifest(unsealed(read_object(path), path, _AGAIN), path)


def read_card(folder: Path) -> str:
    """A version's card. Raises ``InputError`` where it is missing."""
    path = folder / _CARD
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def stored_at(folder: Path) -> datetime:
    """When a version was stored: the time of its manifest, which never changes. (A moment inside
    the manifest would make every repeated run another version.)
    """
    return datetime.fromtimestamp((folder / _MANIFEST).stat().st_mtime, UTC)


def read_version(folder: Path, domain: str, version: int, backbone: dict[str, Any]) -> StoredKernel:
    """Reads a version.

    Args:
      folder: of the version.
      domain: its name.
      version: its number.
      backbone: fingerprint of the backbone that it must belong to.

    Raises:
      InputError: a file is missing, damaged or not the one that was stored, or the kernel was
        trained on another backbone.
    """
    manifest = read_manifest(folder)
    _check_backbone(folder, manifest, backbone)
    contents = {
        name: _checked(folder / name, sha256) for name, sha256 in _listed(folder, manifest).items()
    }
    try:
        with np.load(io.BytesIO(contents[_WEIGHTS]), allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
        golden = json.loads(contents[_GOLDEN]) if _GOLDEN in contents else None
        kernel = StoredKernel(domain, version, weights, manifest, golden)
        expected = kernel.shape.arrays()
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{folder}: not a kernel: {error}") from None
    received = {name: (array.shape, array.dtype.name) for name, array in weights.items()}
    if received != expected:
        raise InputError(f"{folder / _WEIGHTS}: expected arrays {expected}, received {received}")
    return kernel


def _listed(folder: Path, manifest: KernelManifest) -> Mapping[str, str | None]:
    """The files that a manifest lists, with their sha256; older ones list none."""
    if manifest.files is None:
        return {_WEIGHTS: None}
    if _WEIGHTS not in manifest.files or not manifest.files.keys() <= {
        _WEIGHTS,
        _GOLDEN,
        _BACKBONE,
    }:
        raise InputError(
            f"{folder / _MANIFEST}: damaged: expected 'files' to list {_WEIGHTS} and its like"
        )
    return manifest.files


def _checked(path: Path, sha256: str | None) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: damaged: cannot be read: {error.strerror}") from None
    if sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise InputError(
            f"{path}: damaged: its sha256 is not the one that {_MANIFEST} beside it lists"
        )
    return content


def _check_backbone(folder: Path, manifest: KernelManifest, backbone: dict[str, Any]) -> None:
    received = manifest.backbone
    if received == backbone["fingerprint"]:
        return
    message = (
        f"{folder}: trained on another backbone: expected fingerprint"
        f" {backbone['fingerprint'][:12]}, received {received[:12]}"
    )
    stored = folder / _BACKBONE
    difference = (
        fingerprint_difference(backbone, read_object(stored, "transform", "tensors"))
        if stored.exists()
        else None
    )
    raise InputError(f"{message}; first difference: {difference}" if difference else message)


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode()
