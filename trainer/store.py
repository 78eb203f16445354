"""Kernels on disk: ``kernels/<domain>/<version>/`` and ``kernels/active.json``. A version appears whole or not at all."""

import io
import json
import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs import InputError
from trainer.job import Job, new_folder, read_object, write_json
from trainer.kernels import KernelShape

_WEIGHTS, _MANIFEST, _CARD = "weights.npz", "manifest.json", "card.md"


@dataclass(frozen=True)
class StoredKernel:
    """One version of a domain's kernel.

    Attributes:
      domain: its exact name.
      version: from 1 on.
      weights: ``weight_j`` and ``bias_j`` arrays; of a gated kernel also ``gate`` and ``support`` (``trainer.gate``).
      manifest: backbone fingerprint, kernel shape, settings, rows used, validation metrics with intervals.
    """

    domain: str
    version: int
    weights: dict[str, npt.NDArray[np.float32]]
    manifest: dict[str, Any]

    @property
    def shape(self) -> KernelShape:
        """What it must share with the others of a bank."""
        return KernelShape.from_json(self.manifest["shape"])


class KernelStore:
    """The kernels of a job directory; domain names are exact, never prefixes."""

    def __init__(self, job: Job) -> None:
        self.folder = job.kernels
        self.fingerprint = job.fingerprint()["fingerprint"]

    def domains(self) -> list[str]:
        """Names of the domains that have a kernel, sorted."""
        if not self.folder.exists():
            return []
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith("."))

    def versions(self, domain: str) -> list[int]:
        """Versions of a domain's kernel, ascending; none for an unknown domain."""
        if domain not in self.domains():
            return []
        return sorted(int(path.name) for path in (self.folder / domain).iterdir() if path.name.isdecimal())

    def active(self) -> dict[str, int]:
        """Domain -> version that is served."""
        path = self.folder / "active.json"
        return read_object(path) if path.exists() else {}

    def add(self, domain: str, weights: dict[str, npt.NDArray[np.float32]], manifest: dict[str, Any]) -> int:
        """Stores a new version, all or nothing, unless the newest one is the same to the byte. Returns its number."""
        newest = max(self.versions(domain), default=0)
        version = newest + 1
        buffer = io.BytesIO()
        np.savez(buffer, **weights)  # type: ignore[arg-type]
        content = {"domain": domain, "version": version, "backbone": self.fingerprint, **manifest}
        former = self.folder / domain / str(newest)
        if (
            all((former / name).exists() for name in (_WEIGHTS, _MANIFEST))
            and (former / _WEIGHTS).read_bytes() == buffer.getvalue()
            and read_object(former / _MANIFEST) == _as_json({**content, "version": newest})
        ):
            return newest  # an interrupted run that is run again stores nothing twice
        with new_folder(self.folder / domain / str(version)) as folder:
            (folder / _WEIGHTS).write_bytes(buffer.getvalue())
            write_json(folder / _MANIFEST, content)
            (folder / _CARD).write_text(_card(content), encoding="utf-8")
        return version

    def load(self, domain: str, version: int) -> StoredKernel:
        """Reads a version. Raises ``InputError`` where it is missing, damaged, or was trained on another backbone."""
        folder = self._existing(domain, version)
        manifest = read_object(folder / _MANIFEST)
        if manifest.get("backbone") != self.fingerprint:
            received = str(manifest.get("backbone"))[:12]
            raise InputError(f"{folder}: trained on another backbone: expected fingerprint {self.fingerprint[:12]}, received {received}")
        try:
            with np.load(folder / _WEIGHTS, allow_pickle=False) as content:
                weights = {name: content[name] for name in content.files}
            kernel = StoredKernel(domain, version, weights, manifest)
            expected = kernel.shape.arrays()
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{folder}: not a kernel: {error}") from None
        received_arrays = {name: (array.shape, array.dtype.name) for name, array in weights.items()}
        if received_arrays != expected:
            raise InputError(f"{folder / _WEIGHTS}: expected arrays {expected}, received {received_arrays}")
        return kernel

    def active_or_newest(self, domain: str) -> StoredKernel | None:
        """The active version of a domain's kernel, else its newest one, else None."""
        version = self.active().get(domain) or max(self.versions(domain), default=None)
        return None if version is None else self.load(domain, version)

    def activate(self, domain: str, version: int) -> None:
        """Makes a version the served one."""
        self.load(domain, version)
        self._write_active({**self.active(), domain: version})

    def deactivate(self, domain: str) -> None:
        """Lets a domain be served by the backbone; its versions stay."""
        self._check_known(domain)
        self._write_active({name: version for name, version in self.active().items() if name != domain})

    def remove(self, domain: str) -> None:
        """Deletes every version of a domain's kernel."""
        self.deactivate(domain)
        aside = self.folder / f".removed-{domain}-{os.getpid()}"
        (self.folder / domain).rename(aside)  # gone at once, whatever happens while its files are deleted
        shutil.rmtree(aside)

    def _check_known(self, domain: str) -> None:
        if domain not in self.domains():
            raise InputError(f"{self.folder}: no kernel of domain '{domain}'; there are: {', '.join(self.domains()) or 'none'}")

    def _existing(self, domain: str, version: int) -> Path:
        if version not in self.versions(domain):
            known = ", ".join(map(str, self.versions(domain))) or "none"
            raise InputError(f"{self.folder}: no version {version} of domain '{domain}'; there are: {known}")
        return self.folder / domain / str(version)

    def _write_active(self, active: dict[str, int]) -> None:
        write_json(self.folder / "active.json", dict(sorted(active.items())))


def common_tap(kernels: list[StoredKernel]) -> str | None:
    """The tap that all kernels read; None where there is no kernel. Raises ``InputError`` where they read different ones."""
    taps = {kernel.shape.tap: kernel.domain for kernel in kernels}
    if len(taps) > 1:
        described = ", ".join(f"'{domain}' reads {tap}" for tap, domain in taps.items())
        raise InputError(f"kernels of different taps cannot be used together: {described}; tune one of them again")
    return next(iter(taps), None)


def _as_json(content: dict[str, Any]) -> Any:
    """What reading the content back from its file would give: tuples become lists."""
    return json.loads(json.dumps(content))


def _card(manifest: dict[str, Any]) -> str:
    """A page for people: what the kernel is, what it learned from, and whether it helps."""
    shape, rows, settings = manifest["shape"], manifest["rows"], manifest["finetune"]
    beta = "code_beta" if settings["regulariser"] == "coding_rate" else "beta"
    lines = [
        f"# Kernel of `{manifest['domain']}`, version {manifest['version']}",
        "",
        f"- Backbone: `{manifest['backbone']}`",
        f"- Tap: {shape['tap']}; widths {' - '.join(map(str, shape['widths']))}; {'residual' if shape['residual'] else 'replacing'}",
        f"- Trained on {rows['train']:,} rows of split `{settings['split']}`",
        f"- Regulariser {settings['regulariser']}, {beta} {settings[beta]}",
        *([f"- Gate by the user's rows (0, 1-4, 5-50, more), CTR and CVR: {manifest['gate']}"] if "gate" in manifest else []),
        f"- Validated on {rows['validation']:,} rows of split `{settings['validation']}`",
        f"- {'Activated' if manifest['activated'] else 'Not activated: not significantly better than the backbone on validation'}",
        "",
        "| task | metric | backbone | kernel | difference | 95% interval |",
        "|---|---|---|---|---|---|",
    ]
    for task, metrics in manifest["validation"].items():
        for metric, figure in metrics.items():
            interval = figure["ci95"] if isinstance(figure["ci95"], str) else f"{figure['ci95'][0]:+.5f} to {figure['ci95'][1]:+.5f}"
            shown = [
                value if isinstance(value, str) else f"{value:.5f}" for value in (figure["backbone"], figure["kernel"], figure["delta"])
            ]
            lines.append(f"| {task} | {metric} | {' | '.join(shown)} | {interval} |")
    return "\n".join(lines) + "\n"
