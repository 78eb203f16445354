"""What a client loads: nothing of TensorFlow, and nothing that only some runs need."""

import subprocess
import sys

import pytest

HEAVY = (
    "tensorflow",
    "tensorflow_serving",
    "keras",
    "apache_beam",
    "pyarrow",
    "pydantic",
    "yaml",
    "scipy",
    "matplotlib",
    "tqdm",
    "trainer",
    "preprocessing",
)
PRINT_LOADED = "import sys, {}; print(*sys.modules)"


def loaded(module: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", PRINT_LOADED.format(module)],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "serving.client",
        "serving.client.__main__",
        "serving.compare.__main__",
        "serving.load_test.__main__",
        "serving.wire.tf_examples",
        "configs.cli",
    ],
)
def test_clients_load_neither_tensorflow_nor_model_code(module: str) -> None:
    found = loaded(module)
    assert module in found
    assert not {name.partition(".")[0] for name in found} & set(HEAVY)


def test_what_scores_archives_on_a_beam_worker_is_light() -> None:
    """Workers elsewhere have what the extra ``preprocess`` names."""
    found = {name.partition(".")[0] for name in loaded("serving.score.score_batches")}
    assert "tensorflow" in found
    assert not found & {"tensorflow_serving", "prometheus_client", "trainer"}


def test_an_export_loads_neither_the_client_nor_the_load_test() -> None:
    found = loaded("serving.export.version_writer")
    assert "serving.export.warmup_requests" in found
    assert not [name for name in found if name.startswith(("serving.client", "serving.load_test"))]
