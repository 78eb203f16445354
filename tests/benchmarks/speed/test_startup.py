"""The section of start-up: what it runs, that it tells processes apart, and that a command which
fails is no figure.
"""

from pathlib import Path

import pytest

from benchmarks.speed import startup
from benchmarks.speed.options import Options
from configs import InputError
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore


def test_every_command_has_seconds_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ("kernels_list", "unknown_key", "serving_server_help")
    every = startup.commands
    monkeypatch.setattr(
        startup, "commands", lambda place: {name: every(place)[name] for name in chosen}
    )
    figures = startup.measure(Options(tmp_path / "no-logs", tmp_path, quick=True))
    names = ("numpy_and_grpc", *chosen, "client_of_200_rows")
    assert list(figures) == [
        f"{name}_{figure}" for name in names for figure in ("cpu_seconds", "peak_mib")
    ]
    assert all(float(figures[f"{name}_cpu_seconds"]) > 0 for name in names)
    assert all(float(figures[f"{name}_peak_mib"]) > 5 for name in names)
    lines = (tmp_path / "client_of_200_rows.log").read_text().splitlines()
    assert len(lines) == startup.ROWS


def test_cpu_and_memory_are_the_command_s_own(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    large = "b = bytearray(100 << 20)\nb[::4096] = b'x' * len(b[::4096])\nraise SystemExit(3)"
    idle, spun, filled = (
        startup.run_measured(("-c", text), tmp_path / "log") for text in ("pass", busy, large)
    )
    assert (idle.code, spun.code, filled.code) == (0, 0, 3)
    assert idle.cpu_seconds < spun.cpu_seconds
    assert spun.cpu_seconds >= 0.5
    assert filled.peak_mib > idle.peak_mib + 90
    assert idle.peak_mib < 50  # not that of this process, which holds far more


def test_a_command_that_ends_otherwise_is_an_error(tmp_path: Path) -> None:
    command = startup.Command(("-c", "print('why'); raise SystemExit(1)"))
    with pytest.raises(InputError, match=r"odd: exit code 1, expected 0; .* ends with: why"):
        startup._figures("odd", command, tmp_path, 1)


def test_the_job_is_one_of_two_domains_with_two_versions_each(tmp_path: Path) -> None:
    startup.prepare(tmp_path / "place")
    store = KernelStore(Job(tmp_path / "place" / "job"))
    assert store.active() == {startup.DOMAIN: 2, startup.OTHER: 2}
    assert [store.versions(domain) for domain in store.domains()] == [[1, 2], [1, 2]]
