"""The table at the end of fine-tuning."""

from typing import Any

from tests.tasks import RANKING
from tests.trainer.conftest import MANIFEST, auc_figures
from trainer.registry.decision import Decision
from trainer.registry.kernel_manifest import KernelRecord
from trainer.training.outcome import Outcome, render_outcomes


def decision(outcome: str, reason: str, against: str, **more: Any) -> Decision:
    given = {"outcome": outcome, "reason": reason, "against": against}
    return Decision.model_validate(given | more)


def test_a_line_a_domain_says_what_was_decided_and_why_and_what_answers() -> None:
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
        [
            Outcome("all", 10, helped, decision("activate", "better", "backbone", version=1)),
            Outcome(
                "scene=home",
                12_345,
                refused,
                decision("keep", "not better", "version 3", version=12, active=3),
            ),
            Outcome("scene=search", 7, refused, decision("keep", "not better", "all", version=2)),
            Outcome("region=r1", 7, None, decision("deactivate", "below", "all")),
            Outcome("region=r9", 0, None, decision("keep", "no rows", "all")),
            Outcome.pinned("region=r2", 4),
            Outcome.pinned("region=r3", None),
        ],
        RANKING,
    )
    assert table.splitlines() == [
        "domain        version    rows  CTR-AUC gain          CTCVR-AUC gain        decision",
        "all                 1      10  +0.00 [+1.00, +2.00]  +0.00 [undefined]     activated:"
        " better",
        "scene=home         12  12,345  +0.00 [-2.00, -1.00]  +0.00 [-1.00, +1.00]  kept: not"
        " better; version 3 answers",
        "scene=search        2       7  +0.00 [-2.00, -1.00]  +0.00 [-1.00, +1.00]  not activated:"
        " not better; all answers",
        "region=r1           -       7  -                     -                     deactivated:"
        " below; all answers",
        "region=r9           -       0  -                     -                     not activated:"
        " no rows; all answers",
        "region=r2           -       -  -                     -                     pinned: version"
        " 4 stays active; kernels unpin lets it be tuned",
        "region=r3           -       -  -                     -                     pinned: it"
        " stays off; kernels unpin lets it be tuned",
    ]


def test_a_gain_that_was_not_tested_beside_one_that_was_is_not_shown() -> None:
    record = KernelRecord.model_validate(MANIFEST)
    tested = {"delta": 0.02, "standard_error": 0.005, "better": 0.01, "worse": 0.99}
    of_one = decision("keep", "not better", "all", tests={RANKING[0]: tested, RANKING[1]: None})
    (_, line) = render_outcomes([Outcome("all", 10, record, of_one)], RANKING).splitlines()
    assert "+0.00 [+1.00, +2.00]  undecidable" in line
