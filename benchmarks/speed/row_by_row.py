"""The peer of ``preprocessing``: the pipeline that Beam's tutorials show, a row an element and a
``tf.train.Example`` a row.

``python -m benchmarks.speed.row_by_row LOG PREFIX`` prints its seconds, imports not included. It
neither checks rows nor fits or applies a transform, nor cuts splits: what it leaves out favours it.
"""

import sys
import time
from typing import Any

import apache_beam as beam

from configs.tensorflow_import import tf


def encode(row: dict[str, Any]) -> bytes:
    """A row of a Parquet file as one serialised example: text as bytes, numbers as floats,
    everything else by its text.
    """
    example = tf.train.Example()
    for name, value in row.items():
        feature = example.features.feature[name]
        if isinstance(value, int | float):
            feature.float_list.value.append(value)
        else:
            values = value if isinstance(value, list) else [value]
            feature.bytes_list.value.extend(
                str(item).encode() for item in values if item is not None
            )
    serialised: bytes = example.SerializeToString()
    return serialised


def main(log: str, prefix: str) -> None:
    """Runs the pipeline in this process, in one thread."""
    start = time.perf_counter()
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.io.ReadFromParquet(log)
            | beam.Map(encode).with_output_types(bytes)
            | beam.io.WriteToTFRecord(prefix, file_name_suffix=".tfrecord")
        )
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main(*sys.argv[1:])
