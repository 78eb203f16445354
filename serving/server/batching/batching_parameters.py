"""Reads how requests are batched: TensorFlow Serving's ``--batching_parameters_file``."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import InputError
from serving.server.settings_protos import BatchingParameters, read_text


@dataclass(frozen=True)
class Parameters:
    """TensorFlow Serving's batching parameters and their defaults.

    Attributes:
      max_batch_size: rows of a batch; a larger request is refused.
      batch_timeout_micros: how long a request waits at most for others, once a thread is free.
      max_enqueued_batches: batches that wait for a thread, for each kind of request; what comes on
        top is refused with UNAVAILABLE.
      num_batch_threads: batches that are run at once.
      allowed_batch_sizes: a batch is filled up to the next of these sizes; empty: any size.
      pad_variable_length_inputs: whether inner dimensions may differ; shorter inputs are padded
        with zeros or empty strings.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False


def read_parameters(path: Path) -> Parameters:
    """What a ``BatchingParameters`` file says; defaults for the rest.

    Raises:
      InputError: the file cannot be read, a number is below its least value, or the allowed sizes
        do not grow up to ``max_batch_size``.
    """
    message = read_text(path, BatchingParameters)
    given: dict[str, Any] = {}
    for name, least in (
        ("max_batch_size", 1),
        ("batch_timeout_micros", 0),
        ("max_enqueued_batches", 1),
        ("num_batch_threads", 1),
    ):
        if message.HasField(name):
            given[name] = getattr(message, name).value
            if given[name] < least:
                raise InputError(f"{path}: {name} must be at least {least}, received {given[name]}")
    sizes = tuple(message.allowed_batch_sizes)
    parameters = Parameters(
        **given,
        allowed_batch_sizes=sizes,
        pad_variable_length_inputs=message.pad_variable_length_inputs,
    )
    if sizes and sizes[-1] != parameters.max_batch_size:
        words = (
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was"
            f" {sizes[-1]}"
        )
        raise InputError(f"{path}: {words}; expected {parameters.max_batch_size}")
    if any(later <= former for former, later in zip((0, *sizes), sizes, strict=False)):
        raise InputError(
            f"{path}: allowed_batch_sizes entries must be positive and increasing, received"
            f" {list(sizes)}"
        )
    return parameters
