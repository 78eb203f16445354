"""Rows of random values, sent to a server in every way that a row can take: one score each, or a
refusal. See ``benchmarks.reliability.read_values``.
"""

import json
import math
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa

from benchmarks.reliability.read_values import ODD_COLUMNS, Row
from configs import Experiment, InputError
from configs.prediction.score import SCORE
from configs.values import READERS, UnreadableValueError
from preprocessing.beam.progress import say
from preprocessing.logs.schema import ARROW_TYPES, raw_columns, served_columns
from serving.client import Client
from serving.selfcheck import TOLERANCE
from serving.wire.errors import StatusError
from serving.wire.signatures import EXAMPLES
from serving.wire.tf_examples import example

Scores = tuple[float, ...]
"""Of the model's outputs: every target, then what a page is ranked by."""
SERVED_COLUMNS = {
    kind: name for kind, name in ODD_COLUMNS.items() if kind not in ("label", "weight")
}
"""Kind of column -> the one whose values are odd, of those that a request carries."""
_DOMAIN = "auto"
_MISSING: Row = {"string": "", "strings": [""], "number": math.nan, "numbers": [math.nan]}
_UNKNOWN = "a text that no log has"
_NOWHERE = 0
"""A moment that no log may hold: over the wire it is missing."""


class ScoredRows:
    """Sends rows to a server, and counts what is scored otherwise.

    Args:
      client: of the server.
      port: of its HTTP.
      model: its name.
      experiment: of the model.
    """

    def __init__(self, client: Client, port: int, model: str, experiment: Experiment) -> None:
        self._client, self._experiment = client, experiment
        self._url = f"http://127.0.0.1:{port}/v1/models/{model}:predict"
        self._columns = served_columns(experiment)
        self._outputs = (*experiment.tasks.targets, SCORE)
        self._lists = [column.name for column in self._columns if column.kind == "strings"]
        self.found: Counter[str] = Counter()
        self.sound: list[tuple[Row, Scores]] = []
        """Canonical rows, and what the server says of them."""

    def send(self, row: Row, name: str) -> None:
        """Sends a row in every way.

        Args:
          row: raw; more columns than are served do no harm.
          name: the column whose value is odd.
        """
        self.found["sent_values"] += 1
        raw = {column.name: row[column.name] for column in self._columns}
        try:
            canonical = self._canonical(raw)
        except UnreadableValueError:
            self._refused(raw, name)
            return
        right = self._asked(lambda: self._scores([canonical]))
        if not isinstance(right, tuple):
            self._wrong("other_scores", "a sound row", name, row, right)
            return
        self.sound.append((canonical, right))
        ways: list[tuple[str, Callable[[], Scores], bool]] = [
            ("a raw row", lambda: self._scores([raw]), False),
            ("NumPy's types", lambda: self._scores([_in_numpy(raw)]), False),
            ("an example", lambda: self._scores([_examples(canonical)], EXAMPLES), False),
            ("an example of the raw row", lambda: self._scores([_examples(raw)], EXAMPLES), True),
            ("HTTP", lambda: self._over_http(canonical), False),
            ("HTTP, the raw row", lambda: self._over_http(raw), True),
            ("HTTP in columns", lambda: self._over_http(canonical, by_row=False), False),
        ]
        for way, ask, may_refuse in ways:
            received = self._asked(ask)
            if received != right and not (may_refuse and isinstance(received, str)):
                self._wrong("other_scores", way, name, row, f"{received}, expected {right}")

    def compare(self, scores: Callable[[pa.RecordBatch], dict[str, Any]]) -> None:
        """Compares every sound row with the trainer's own path: output -> values ``[N]``."""
        columns = raw_columns(self._experiment)
        filler: Row = {"string": "x", "number": 0.0, "timestamp": 0, "label": 0.0}
        filler |= {"strings": [], "numbers": []}
        table = {
            name: pa.array(
                [row.get(name, filler[column.kind]) for row, _ in self.sound],
                ARROW_TYPES[column.kind],
            )
            for name, column in columns.items()
        }
        expected = scores(pa.RecordBatch.from_pydict(table))
        for number, (row, received) in enumerate(self.sound):
            right = tuple(float(expected[name][number]) for name in self._outputs)
            worst = max(abs(one - other) for one, other in zip(received, right, strict=True))
            if not worst <= TOLERANCE:
                self._wrong("other_scores", "the trainer's path", "any", row, f"{received} {right}")

    def _canonical(self, raw: Row) -> Row:
        """The row as a log's is read; a frame's NaN is a missing number. Raises
        ``UnreadableValueError``.
        """
        read: Row = {}
        for column in self._columns:
            value = raw[column.name]
            if column.kind == "number" and isinstance(value, float) and math.isnan(value):
                value = None
            read[column.name] = READERS[column.kind](value)
            if column.kind == "timestamp" and read[column.name] is None:
                raise UnreadableValueError("expected a moment", value)
        return read

    def _refused(self, raw: Row, name: str) -> None:
        """A client refuses the row. On the wire, where there is no client, the value is refused,
        or it is missing or unknown, and no other.
        """
        received = self._asked(lambda: self._scores([raw]))
        if not isinstance(received, str) or "\n" in received:
            self._wrong("other_readings", "a raw row is not refused", name, raw, received)
        others = []
        for value in (None, _UNKNOWN, _NOWHERE, [], [_UNKNOWN]):
            other = self._asked(lambda value=value: self._over_http(raw | {name: value}))  # type: ignore[misc]
            others += [other] if isinstance(other, tuple) else []
        for way, ask in (
            ("HTTP", lambda: self._over_http(raw)),
            ("an example", lambda: self._scores([_examples(raw)], EXAMPLES)),
        ):
            received = self._asked(ask)
            if isinstance(received, tuple) and received not in others:
                self._wrong("other_scores", f"{way}, refused by clients", name, raw, received)

    def _asked(self, ask: Callable[[], Scores]) -> Scores | str:
        """Scores, or why there are none."""
        try:
            return ask()
        except (InputError, UnreadableValueError) as error:
            return str(error)
        except StatusError as error:
            if error.code is not grpc.StatusCode.INVALID_ARGUMENT:
                self._wrong("wrong_codes", "gRPC", "any", {}, error)
            return error.message
        except Exception as error:  # what no reader may raise
            self._wrong("tracebacks", "", "any", {}, f"{type(error).__name__}: {error}")
            return "traceback"

    def _scores(self, rows: list[Row], signature: str = "serving_default") -> Scores:
        (answer,) = self._client.ask(rows, _DOMAIN, signature).rows
        return tuple(answer[name] for name in self._outputs)

    def _over_http(self, row: Row, *, by_row: bool = True) -> Scores:
        sent = row | {"domain": _DOMAIN}
        for column in self._columns:
            if sent[column.name] is None:
                sent[column.name] = _MISSING.get(column.kind, _NOWHERE)
            elif column.kind == "strings" and sent[column.name] == []:
                sent[column.name] = [""]
        document: Any = (
            {"instances": [sent]}
            if by_row
            else {"inputs": {name: [value] for name, value in sent.items()}}
        )
        try:
            body = json.dumps(document).encode()
        except TypeError:
            raise InputError("JSON has no moments") from None
        try:
            with urllib.request.urlopen(self._url, body, timeout=10) as answer:  # noqa: S310
                found = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            message = json.loads(error.read())["error"]
            if error.code != 400:
                self._wrong("wrong_codes", "HTTP", "any", row, f"{error.code} {message}")
            raise InputError(message) from None
        if by_row:
            return _single(found["predictions"][0][name] for name in self._outputs)
        return _single(found["outputs"][name][0] for name in self._outputs)

    def _wrong(self, kind: str, way: str, name: str, row: Row, received: object) -> None:
        self.found[kind] += 1
        say(f"{kind}: {way}, {name}={row.get(name)!r:.100}: received {str(received)[:300]}")


def _single(scores: Iterable[float]) -> Scores:
    """Every bit of the server's floats, which JSON writes as short as it can."""
    return tuple(float(np.float32(score)) for score in scores)


def trainer_scores(job: Path, experiment: Experiment) -> Callable[[pa.RecordBatch], dict[str, Any]]:
    """The trainer's own path under ``auto``."""
    from serving.export.reference_scores import stored_scores
    from trainer.job import Job

    return lambda rows: dict(stored_scores(Job(job), experiment, rows).scores_for(_DOMAIN)[0])


def _examples(row: Row) -> Row:
    return {EXAMPLES: example(row)}


def _in_numpy(row: Row) -> Row:
    """As a data frame has it."""
    return {name: _numpy(value) for name, value in row.items()}


def _numpy(value: Any) -> Any:
    if isinstance(value, list):
        return np.array(value, np.object_) if value else value
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        return np.int64(value) if -(1 << 63) <= value < 1 << 63 else value
    if isinstance(value, float):
        return np.float64(value)
    if isinstance(value, str) and "\0" not in value:
        try:
            value.encode()
        except UnicodeEncodeError:
            return value
        return np.str_(value)
    return value
