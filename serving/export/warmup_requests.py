"""Writes the warm-up requests of a version: what TensorFlow Serving runs before the version becomes
available, so that no client pays for it.
"""

from collections.abc import Iterator
from pathlib import Path

from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from configs.domains import AUTO
from configs.tensorflow_import import tf
from serving.export.golden_cases import Row
from serving.wire.request_encoding import encoded
from serving.wire.signatures import DOMAIN, DOMAINS, EXAMPLES, RANK_SIGNATURE
from serving.wire.tf_examples import example


def write_warmup(
    path: Path, meta_graph: meta_graph_pb2.MetaGraphDef, model: str, rows: list[Row], domain: str
) -> None:
    """Writes a TFRecord of ``PredictionLog``: for each signature one row and all of them, under one
    domain and under ``auto``.

    The stock server runs them as it runs requests, and does not load the version where it refuses
    one. Request batching refuses inputs of different first dimensions and outputs that have no row
    for each row, so ``rank`` is asked for one item alone, and ``all_domains`` for its scores.

    Args:
      path: of the file.
      meta_graph: of the version; its signatures are what is asked.
      model: name of the model in the requests.
      rows: raw rows.
      domain: that has a kernel, if one has.
    """
    with tf.io.TFRecordWriter(str(path)) as file:
        for request in _requests(meta_graph, model, rows, domain):
            log = prediction_log_pb2.PredictLog(request=request)
            file.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def _requests(
    meta_graph: meta_graph_pb2.MetaGraphDef, model: str, rows: list[Row], domain: str
) -> Iterator[predict_pb2.PredictRequest]:
    for name, signature in sorted(meta_graph.signature_def.items()):
        if name.startswith("__"):
            continue
        for asked in (domain, AUTO) if DOMAIN in signature.inputs else (None,):
            for some in (rows[:1], rows) if name != RANK_SIGNATURE else (rows[:1],):
                sent = [{EXAMPLES: example(row)} for row in some] if name == EXAMPLES else some
                request = predict_pb2.PredictRequest.FromString(
                    encoded(signature, model, name, sent, asked)
                )
                if DOMAINS in signature.outputs:
                    request.output_filter.extend(sorted(signature.outputs.keys() - {DOMAINS}))
                yield request
