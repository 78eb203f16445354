"""The table at the end of fine-tuning."""

from tests.trainer.conftest import MANIFEST, auc_figures
from trainer.registry.kernel_manifest import KernelRecord
from trainer.training.outcome import Outcome, render_outcomes


def test_a_line_a_domain_says_what_was_decided_and_why() -> None:
    helped = KernelRecord.model_validate(MANIFEST)
    refused = KernelRecord.model_validate(
        {
            **MANIFEST,
            "rows": {"train": 12_345, "validation": 5},
            "validation": auc_figures([-0.02, -0.01], [-0.01, 0.01]),
            "activated": False,
        }
    )
    table = render_outcomes(
        [Outcome("all", 1, helped), Outcome("scene=home", 12, refused), Outcome("region=r9")]
    )
    assert table.splitlines() == [
        "domain      version    rows  CTR-AUC gain          CTCVR-AUC gain        decision",
        "all               1      10  +0.00 [+1.00, +2.00]  +0.00 [undefined]     activated:"
        " CTR-AUC higher",
        "scene=home       12  12,345  +0.00 [-2.00, -1.00]  +0.00 [-1.00, +1.00]  not activated:"
        " CTR-AUC lower",
        "region=r9         -       0  -                     -                     no kernel: no"
        " rows in the window",
    ]
