"""What changed between two versions of a domain's kernel."""

import numpy as np

from trainer.store import KernelStore, StoredKernel
from trainer.table import show_figure


def kernel_diff(store: KernelStore, domain: str, first: int, second: int) -> str:
    """Two versions side by side, as text: the size of every weight tensor and of its change, rows, and figures on validation.

    Args:
      store: of the job directory.
      domain: exact name.
      first: a version.
      second: the version it is compared with.

    Raises:
      InputError: one of them is not there or is damaged.
    """
    one, other = store.load(domain, first), store.load(domain, second)
    lines = [f"{domain}: version {first} -> version {second}", "", *_weights(one, other), "", *_figures(one, other)]
    return "\n".join(lines)


def _weights(one: StoredKernel, other: StoredKernel) -> list[str]:
    lines = [f"{'weights (Euclidean norm)':<28}{'first':>10}{'second':>10}{'change':>10}"]
    for name in sorted(one.weights.keys() | other.weights.keys()):
        pair = [kernel.weights.get(name) for kernel in (one, other)]
        norms = ["-" if array is None else f"{np.linalg.norm(array):.4f}" for array in pair]
        a, b = pair
        change = f"{np.linalg.norm(b.astype(np.float32) - a):.4f}" if a is not None and b is not None and a.shape == b.shape else "shape"
        lines.append(f"{name:<28}{norms[0]:>10}{norms[1]:>10}{change:>10}")
    return lines


def _figures(one: StoredKernel, other: StoredKernel) -> list[str]:
    lines = [f"{'validation (kernel)':<28}{'first':>10}{'second':>10}"]
    for split, rows in one.manifest["rows"].items():
        lines.append(f"{'rows, ' + split:<28}{rows:>10,}{other.manifest['rows'][split]:>10,}")
    for task, metrics in one.manifest["validation"].items():
        for metric, cell in metrics.items():
            second = other.manifest["validation"][task][metric]["kernel"]
            lines.append(f"{task + ' ' + metric:<28}{show_figure(cell['kernel']):>10}{show_figure(second):>10}")
    return lines
