"""What the feature transform gives: known from the config and the fitted constants, without
TensorFlow.
"""

from dataclasses import dataclass
from typing import Literal

from configs import Experiment
from configs.features import CategoricalFeature, CrossFeature, ListFeature, TimestampFeature
from preprocessing.features.fitted import Fitted

_PARTS = {"hour": 24, "weekday": 7}


@dataclass(frozen=True)
class Output:
    """One output of the transform.

    Attributes:
      name: the feature's name, with ``_hour`` or ``_weekday`` for parts of a timestamp.
      feature: the feature it comes from.
      kind: ``id`` int32 ``[N]``, ``ids`` int32 ``[N, length]``, ``number`` float32 ``[N]``.
      table: the output whose embedding table it uses (its own name unless it shares one); numbers
        have none.
      size: number of ids, padding included; 0 for numbers.
      length: of each row's list.
    """

    name: str
    feature: str
    kind: Literal["id", "ids", "number"]
    table: str
    size: int = 0
    length: int = 0


def transform_outputs(experiment: Experiment, fitted: Fitted) -> dict[str, Output]:
    """Every output of the transform by name, in the config's order of features."""
    outputs: list[Output] = []
    for name, spec in experiment.features.items():
        if isinstance(spec, CategoricalFeature):
            outputs.append(Output(name, name, "id", name, _id_count(spec, fitted, name)))
        elif isinstance(spec, CrossFeature):
            outputs.append(Output(name, name, "id", name, 1 + spec.hash_buckets))
        elif isinstance(spec, ListFeature):
            owner = spec.shares or name
            owner_spec = experiment.features[owner]
            assert isinstance(owner_spec, CategoricalFeature | ListFeature)  # noqa: S101 - the config was validated
            outputs.append(
                Output(
                    name, name, "ids", owner, _id_count(owner_spec, fitted, owner), spec.max_length
                )
            )
        elif isinstance(spec, TimestampFeature):
            outputs += [
                Output(f"{name}_{part}", name, "id", f"{name}_{part}", 1 + _PARTS[part])
                for part in spec.parts
            ]
        elif spec.quantile_buckets:
            outputs.append(Output(name, name, "id", name, 2 + len(fitted.boundaries[name])))
        else:
            outputs.append(Output(name, name, "number", name))
    return {output.name: output for output in outputs}


def vocabulary_sizes(outputs: dict[str, Output]) -> dict[str, int]:
    """Number of ids of every output that has ids."""
    return {name: output.size for name, output in outputs.items() if output.kind != "number"}


def _id_count(spec: CategoricalFeature | ListFeature, fitted: Fitted, owner: str) -> int:
    return 1 + (spec.hash_buckets or spec.oov_buckets + len(fitted.vocabularies[owner]))
