"""The Python API: an experiment's steps as functions, and its models in this process.

The commands call the same functions. Nothing is imported before it is asked for, so a client of a
server needs no TensorFlow::

    from domain_kernels import Experiment, Ranker
    from domain_kernels import evaluate, export, finetune, preprocess, pretrain, simulate

    experiment = Experiment.load("quickstart.yaml", ["pretrain.epochs=2"])
    simulate(experiment, "logs")                   # or logs of your own
    preprocess(experiment, "data", "logs/*.parquet")
    pretrain(experiment, "data", "job")
    finetune(experiment, "data", "job")
    result = evaluate(experiment, "data", "job")
    export("job", "models")
    with Ranker("models") as ranker:
        ranking = ranker.rank({"user_id": "u1"}, [{"shop_id": "s1"}, {"shop_id": "s2"}], "auto")
"""

from typing import TYPE_CHECKING, Any

from domain_kernels import version as _version
from domain_kernels.places import find as _find
from domain_kernels.places import with_words_of_python as _with_words_of_python

if TYPE_CHECKING:
    from configs import Experiment, InputError
    from preprocessing.simulate import simulate
    from preprocessing.task import preprocess
    from serving.client import Client
    from serving.export.job_export import export
    from serving.in_process.model import LocalRanker as Ranker
    from trainer.steps import evaluate, finetune, pretrain

__version__ = _version.VERSION

__all__ = [
    "Client",
    "Experiment",
    "InputError",
    "Ranker",
    "__version__",
    "evaluate",
    "export",
    "finetune",
    "preprocess",
    "pretrain",
    "simulate",
]

_PLACES = {
    "Client": "serving.client.client:Client",
    "Experiment": "configs.schema:Experiment",
    "InputError": "configs.errors:InputError",
    "Ranker": "serving.in_process.model:LocalRanker",
    "evaluate": "trainer.steps:evaluate",
    "export": "serving.export.job_export:export",
    "finetune": "trainer.steps:finetune",
    "preprocess": "preprocessing.task:preprocess",
    "pretrain": "trainer.steps:pretrain",
    "simulate": "preprocessing.simulate:simulate",
}
"""Name -> the module that has it, and what it is called there."""

_FLAGS = {
    "evaluate": {},
    "export": {"--output": "models"},
    "finetune": {},
    "preprocess": {"--input": "logs"},
    "pretrain": {"--from": "older"},
    "simulate": {},
}
"""Step -> flags of its command that are not called as the argument is."""


def __getattr__(name: str) -> Any:
    found = _find(__name__, name, _PLACES)
    if name in _FLAGS:
        found = _with_words_of_python(found, _FLAGS[name])
        globals()[name] = found  # the same one when it is asked for again
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
