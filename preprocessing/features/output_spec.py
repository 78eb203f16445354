"""What the feature transform gives: known from the config and the fitted constants, without
TensorFlow.
"""

from configs import Experiment
from preprocessing.features.feature_kind import Output as Output
from preprocessing.features.fitted import Fitted
from preprocessing.features.kinds.registry import features_of


def transform_outputs(experiment: Experiment, fitted: Fitted) -> dict[str, Output]:
    """Every output of the transform by name, in the config's order of features."""
    return {
        output.name: output
        for feature in features_of(experiment).values()
        for output in feature.outputs(fitted)
    }


def vocabulary_sizes(outputs: dict[str, Output]) -> dict[str, int]:
    """Number of ids of every output that has ids."""
    return {name: output.size for name, output in outputs.items() if output.size}
