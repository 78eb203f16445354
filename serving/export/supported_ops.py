"""Refuses a SavedModel with operations that a stock TensorFlow Serving does not have, though
Python loads them happily.
"""

from collections.abc import Iterator
from pathlib import Path

from tensorflow.core.framework import node_def_pb2, op_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow.python.framework import op_def_registry

from configs import InputError

_ELSEWHERE = {
    "PyFunc": "runs Python",
    "EagerPyFunc": "runs Python",
    "Xla": "needs the XLA compiler",
    "Stablehlo": "needs the XLA compiler",
    "TPU": "needs a TPU",
    "Collective": "needs other workers",
    "Nccl": "needs GPUs",
    "TfLite": "needs TensorFlow Lite",
    "Flex": "needs TensorFlow Lite",
    "CustomCall": "needs code of its own",
}
"""Words in an operation's name, and why the stock server cannot run it."""


def read_meta_graph(version: Path) -> meta_graph_pb2.MetaGraphDef:
    """The one graph of a SavedModel."""
    (meta_graph,) = saved_model_pb2.SavedModel.FromString(
        (version / "saved_model.pb").read_bytes()
    ).meta_graphs
    return meta_graph


def check_stock(meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
    """Looks at every node of the graph and of all functions in its library.

    Raises:
      InputError: names the first operation that the stock server cannot run, its node and the
        reason.
    """
    library = meta_graph.graph_def.library.function
    functions = {function.signature.name for function in library}
    for where, node in _nodes(meta_graph):
        problem = "" if node.op in functions else refused(node.op)
        if problem:
            raise InputError(
                f"operation {node.op} (node '{node.name}' of {where}) {problem}; TensorFlow Serving"
                " could not run this model"
            )


def refused(op: str) -> str:
    """Why a stock TensorFlow Serving cannot run an operation; empty where it can."""
    reason = next((reason for word, reason in _ELSEWHERE.items() if word.lower() in op.lower()), "")
    return reason or (
        ""
        if isinstance(op_def_registry.get(op), op_def_pb2.OpDef)
        else "is none of TensorFlow's own"
    )


def _nodes(meta_graph: meta_graph_pb2.MetaGraphDef) -> Iterator[tuple[str, node_def_pb2.NodeDef]]:
    yield from (("the graph", node) for node in meta_graph.graph_def.node)
    for function in meta_graph.graph_def.library.function:
        yield from ((f"function '{function.signature.name}'", node) for node in function.node_def)
