"""The section of kernels: that it runs on small sizes, and says what refreshing a domain costs."""

from pathlib import Path

from benchmarks.speed import kernels
from benchmarks.speed.options import Options


def test_tuning_and_refreshing_are_measured(tmp_path: Path) -> None:
    figures = kernels.measure(Options(tmp_path / "no-logs", tmp_path, quick=True))
    epoch = float(figures["backbone_epoch_seconds"])
    sizes = [f"refreshing_{size}_domain" for size in ("smallest", "median", "largest")]
    for name in sizes:
        seconds = float(figures[f"{name}_seconds"])
        assert seconds > 0
        assert figures[f"{name}_to_backbone_epoch_ratio"] == seconds / epoch
    rows = [int(figures[f"{name}_rows"]) for name in sizes]
    assert rows == sorted(rows)
    assert 0 < rows[-1] <= int(figures["window_rows"])
    assert figures["tuning_to_backbone_epoch_ratio"] == (
        float(figures["tuning_every_domain_seconds"]) / epoch
    )
