"""A kernel's card: a page for people that says what it is, what it learned from, and whether it
helps.
"""

from collections.abc import Mapping

from trainer.registry.kernel_manifest import KernelManifest
from trainer.reports.text_table import count_outcomes


def card(manifest: KernelManifest) -> str:
    """The page, in Markdown.

    Args:
      manifest: of the version.
    """
    shape, rows, settings = manifest.shape, manifest.rows, manifest.finetune
    windows = manifest.windows or {}
    beta = "code_beta" if settings["regulariser"] == "coding_rate" else "beta"
    golden = (manifest.files or {}).get("golden.json")
    lines = [
        f"# Kernel of `{manifest.domain}`, version {manifest.version}",
        "",
        f"- Backbone: `{manifest.backbone}`",
        *(f"- Rows of {condition.words}" for condition in manifest.definition or ()),
        (
            f"- Tap: {shape.tap}; widths {' - '.join(map(str, shape.widths))};"
            f" {'residual' if shape.residual else 'replacing'}"
            f"{f'; memory of {shape.remembers.words}' if shape.remembers else ''}"
        ),
        (
            f"- Trained on {rows.train:,} rows of split"
            f" `{settings['split']}`{_window(windows, 'train')}"
        ),
        f"- Regulariser {settings['regulariser']}, {beta} {settings[beta]}",
        *(
            [f"- Gate by the user's rows (0, 1-4, 5-50, more), task by task: {gate}"]
            if (gate := [list(alphas) for alphas in manifest.gate or ()])
            else []
        ),
        (
            f"- Validated on {_validated(manifest)} of split"
            f" `{settings['validation']}`{_window(windows, 'validation')}"
        ),
        f"- {'Activated' if manifest.activated else 'Not activated'}: {manifest.reason}",
        *_tests(manifest),
        f"- Golden scores: sha256 `{golden}`" if golden else "- Golden scores: none",
        "",
        "| task | metric | backbone | kernel | difference | 95% interval |",
        "|---|---|---|---|---|---|",
    ]
    for task, metrics in manifest.validation.items():
        for metric, figure in metrics.items():
            interval = (
                figure.ci95
                if isinstance(figure.ci95, str)
                else f"{figure.ci95[0]:+.5f} to {figure.ci95[1]:+.5f}"
            )
            shown = [
                value if isinstance(value, str) else f"{value:.5f}"
                for value in (figure.backbone, figure.kernel, figure.delta)
            ]
            lines.append(f"| {task} | {metric} | {' | '.join(shown)} | {interval} |")
    return "\n".join(lines) + "\n"


def _validated(manifest: KernelManifest) -> str:
    positives = manifest.decision.positives if manifest.decision else {}
    return count_outcomes(manifest.rows.validation, positives, tuple(positives))


def _tests(manifest: KernelManifest) -> list[str]:
    """What the decision stands on; nothing in manifests that are older than decisions."""
    if manifest.decision is None:
        return []
    shown = [
        f"{task.upper()} "
        + (
            f"{test.delta:+.5f} (standard error {test.standard_error:.5f})"
            if test
            else "not tested"
        )
        for task, test in manifest.decision.tests.items()
    ]
    return [f"- Compared with `{manifest.decision.against}`: {', '.join(shown)}"] if shown else []


def _window(windows: Mapping[str, tuple[str, str]], part: str) -> str:
    return f", {' to '.join(windows[part])}" if part in windows else ""
