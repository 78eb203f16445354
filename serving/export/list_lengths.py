"""States in a version's signatures how many elements of each list the model reads, and which lists
have as many as one another.
"""

from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils

from configs import Experiment
from configs.files import write_unsynced
from serving.wire.signatures import ALONG, LIST_LENGTH


def list_lengths(experiment: Experiment) -> dict[str, int]:
    """Column -> the largest ``max_length`` of the features that read it as a list, or as what
    belongs to one.
    """
    lengths: dict[str, int] = {}
    for name, feature in experiment.features.items():
        if feature.list_length:
            for column in experiment.columns_of(name):
                lengths[column] = max(lengths.get(column, 1), feature.list_length)
    return lengths


def lists_alike(experiment: Experiment) -> dict[str, str]:
    """Column -> the first of the columns whose lists have as many elements as its own in every row;
    only those that are not alone.
    """
    first: dict[str, str] = {}
    for one, other in experiment.lists_alike:
        kept, gone = first.setdefault(one, one), first.setdefault(other, other)
        first = {name: kept if head == gone else head for name, head in first.items()}
    return first


def state_lists(version: Path, experiment: Experiment) -> None:
    """Writes them into the names of the inputs' dimensions (``ALONG``, ``LIST_LENGTH``), where a
    client finds them.

    A server that joins requests pads the shorter lists, and the stock one pads with the list's own
    first value; where all lists have this length it has nothing to pad.
    """
    path = version / "saved_model.pb"
    lengths, alike = list_lengths(experiment), lists_alike(experiment)
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in model.meta_graphs:
        for signature in meta_graph.signature_def.values():
            for name in lengths.keys() & signature.inputs.keys():
                rows, elements = signature.inputs[name].tensor_shape.dim
                elements.name = f"{LIST_LENGTH}{lengths[name]}"
                if name in alike:
                    rows.name = f"{ALONG}{alike[name]}"
    write_unsynced(path, model.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(version))
