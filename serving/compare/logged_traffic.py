"""The requests that are replayed: rows of JSON lines, or what a server has logged."""

from collections.abc import Iterator
from pathlib import Path

from configs.domain_names import AUTO
from configs.errors import InputError
from serving.client import Client
from serving.client.jsonl import STDIN, LoggedRow, logged_rows, slates
from serving.wire.messages import DataType
from serving.wire.request_log import is_request_log, logged_requests
from serving.wire.request_rows import rows_of_request
from serving.wire.signatures import DEFAULT_SIGNATURE, DOMAIN


def replayed_requests(
    source: str, client: Client, model: str, rows: int, key: str | None
) -> Iterator[list[LoggedRow]]:
    """The rows of each request, and where each row came from.

    A log of requests (``serving.wire.request_log``: a TFRecord file, or a folder of them) says
    itself which rows were a request; those for other models are skipped, and rows that named no
    domain are asked under ``auto``, as they were.

    Args:
      source: file of JSON lines, ``-`` for stdin, or a log of requests.
      client: of the first side, whose signature says which inputs are lists.
      model: whose requests of a log are replayed.
      rows: of a request, of JSON lines without a key.
      key: column of JSON lines whose neighbouring equal values are a request.

    Raises:
      InputError: a row or a record that cannot be read, a log without a request for the model, or a
        key beside a log. StatusError: the server could not be asked for the signature.
    """
    if source == STDIN or not is_request_log(Path(source)):
        yield from slates(logged_rows(source), rows, key)
        return
    if key is not None:
        raise InputError(
            f"--request-key {key}: --requests {source} is a log of requests, which says itself"
            " which rows were a request; leave the key out"
        )
    signature = client.signature(DEFAULT_SIGNATURE)
    lists = {
        name
        for name, info in signature.inputs.items()
        if info.dtype == DataType.DT_STRING and len(info.tensor_shape.dim) == 2
    }
    others: set[str] = set()
    replayed = False
    for place, log in logged_requests(Path(source)):
        request = log.predict_log.request
        if request.model_spec.name != model:
            others.add(request.model_spec.name)
            continue
        try:
            found = rows_of_request(request, signature, lists)
        except ValueError as error:
            raise InputError(f"{place}: {error}") from None
        if found:
            replayed = True
            yield [
                (f"{place}, row {number}", {DOMAIN: AUTO, **row})
                for number, row in enumerate(found, 1)
            ]
    if not replayed:
        there = f"; it has some for {', '.join(sorted(others))}" if others else ""
        raise InputError(f"--requests {source}: no request for model {model}{there}")
