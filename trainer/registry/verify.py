"""Does every stored kernel still give the scores that it was stored with?"""

from dataclasses import dataclass

import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
from configs import InputError
from configs.prediction.score import largest_difference
from trainer.backbone.saving import load_frozen
from trainer.job import Job
from trainer.registry.golden_scores import TOLERANCE, GoldenRows
from trainer.registry.kernel_registry import KernelStore, StoredKernel


@dataclass(frozen=True)
class Verdict:
    """On one version: whether it is sound, and what was found."""

    domain: str
    version: int
    sound: bool
    found: str


def verify(job: Job, domain: str | None = None) -> list[Verdict]:
    """Reads every version of a domain (of all domains where None), and scores the golden requests
    anew under each.

    Raises:
      InputError: an unknown domain; a backbone, golden requests or ``active.json`` that are missing
        or damaged.
    """
    store = KernelStore(job)
    if domain is not None:
        store.check_known(domain)
    domains = store.domains() if domain is None else [domain]
    active = store.named_active()
    golden = GoldenRows.open(job, load_frozen(job, job.experiment()))
    verdicts = []
    for name in sorted({*domains, *(active if domain is None else ())}):
        for version in sorted({*store.versions(name), *([active[name]] if name in active else [])}):
            verdicts.append(_verdict(store, golden, name, version))
    return verdicts


def _verdict(store: KernelStore, golden: GoldenRows, domain: str, version: int) -> Verdict:
    try:
        return Verdict(domain, version, *_compared(golden, store.load(domain, version)))
    except InputError as error:
        return Verdict(domain, version, False, str(error))


def _compared(golden: GoldenRows, kernel: StoredKernel) -> tuple[bool, str]:
    if kernel.golden is None:
        return True, "files sound; stored without golden scores"
    if kernel.golden["requests"] != golden.requests:
        return (
            False,
            (
                f"scored on other golden requests (sha256 {kernel.golden['requests'][:12]}) than"
                f" the job's ({golden.requests[:12]})"
            ),
        )
    scores, stored = (
        golden.scores_for(kernel.shape, kernel.weights)["scores"],
        kernel.golden["scores"],
    )
    largest = max(largest_difference(scores[task], stored[task]) for task in scores)
    said = (
        "golden scores identical"
        if not largest
        else f"golden scores differ by at most {largest:.1e}"
    )
    return largest <= TOLERANCE, said
