"""Requests to an exported recommender whose rows do not belong together, or are odd, drawn from a
seed; those that must be answered name the request whose answer they must get, to the bit.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from google.protobuf.message import Message

from benchmarks.reliability.malformed import PREDICT, Malformed, damaged, message_field
from benchmarks.reliability.malformed_http import HTTP
from benchmarks.reliability.malformed_http import sent as http_request
from preprocessing.logs.schema import Column
from serving.wire.messages import Example, PredictRequest
from serving.wire.tensor_protos import decode, encode

Row = dict[str, Any]
NAME = "small"
"""What requests call the model."""
DOMAIN = "auto"
_ROWS = 3
_TYPES = {"string": 7, "strings": 7, "number": 1, "numbers": 1, "timestamp": 9}
_BAD, _OK = frozenset({"INVALID_ARGUMENT"}), frozenset({"OK"})
_PREDICT_PATH = f"/v1/models/{NAME}:predict"
MOST_ROWS = 5_000
"""What the server takes."""
_SIGNATURES = ("serving_default", "rank", "all_domains")
_Drawn = tuple[str, bytes, frozenset[str], bytes | None]


class MalformedRows:
    """Draws requests.

    Args:
      columns: that the model takes.
      rows: sound ones, in canonical form; at least three.
      batched: whether the server batches requests: it then refuses ``rank`` and ``all_domains``.
    """

    def __init__(self, columns: Sequence[Column], rows: Sequence[Row], *, batched: bool) -> None:
        self._answered = _SIGNATURES[:1] if batched else _SIGNATURES
        self._columns = {column.name: column for column in columns}
        self._rows = [{name: row[name] for name in self._columns} for row in rows[:_ROWS]]
        self._shared = [column.name for column in columns if column.side != "item"]
        self._items = [column.name for column in columns if column.side == "item"]
        self._lists = [column.name for column in columns if column.kind == "strings"]
        self._kinds: tuple[Callable[[random.Random], _Drawn], ...] = (
            self._several_users,
            self._several_domains,
            self._another_number_of_domains,
            self._columns_of_other_lengths,
            self._lists_of_any_length,
            self._lists_without_end,
            self._too_many_rows,
            self._huge_claims,
            self._odd_domains,
            self._odd_numbers,
            self._odd_texts,
            self._no_examples,
            self._examples_of_other_types,
            self._inputs_of_other_signatures,
            self._damaged,
            self._http_rows,
            self._http_columns,
            self._http_unequal_columns,
        )

    def draw(self, seed: int, count: int) -> Iterator[Malformed]:
        """So many requests, the kinds in turns."""
        draw = random.Random(seed)  # noqa: S311 - a seed, so that a failure can be repeated
        for number in range(count):
            kind = self._kinds[number % len(self._kinds)]
            yield Malformed(f"rows{kind.__name__}", *kind(draw))

    def good(self) -> bytes:
        """A request that is answered."""
        return _bytes(self._asked(self._rows))

    def good_body(self) -> Row:
        """JSON that is answered."""
        width = max(len(row[name]) for row in self._rows for name in self._lists)
        rows = [{**row, "domain": DOMAIN} for row in self._rows]
        for row in rows:
            for name in self._lists:
                row[name] = row[name] + [""] * (width - len(row[name]))
        return {"instances": rows}

    def _asked(self, rows: Sequence[Row], signature: str = "serving_default") -> Any:
        """A request of rows; under ``rank`` the first row's user and every row's item."""
        asked = PredictRequest(model_spec={"name": NAME, "signature_name": signature})
        once = signature == "rank"
        for name, column in self._columns.items():
            values = [row[name] for row in (rows[:1] if once and name in self._shared else rows)]
            if column.kind == "strings":
                width = max(map(len, values))
                values = [value + [""] * (width - len(value)) for value in values]
            if column.kind in ("string", "strings"):
                values = [_encoded(value) for value in values]
            asked.inputs[name].CopyFrom(encode(values, _TYPES[column.kind]))
        if signature != "all_domains":
            domains = [DOMAIN.encode()] * (1 if once else len(rows))
            asked.inputs["domain"].CopyFrom(encode(domains, _TYPES["string"]))
        return asked

    def _several_users(self, draw: random.Random) -> _Drawn:
        """``rank`` scores one user's items."""
        asked = self._asked(self._rows, "rank")
        for name in draw.sample(self._shared, draw.randrange(1, len(self._shared) + 1)):
            _repeat(asked.inputs[name], draw.choice([0, 2, _ROWS, 50]))
        return PREDICT, _bytes(asked), _BAD, None

    def _several_domains(self, draw: random.Random) -> _Drawn:
        asked = self._asked(self._rows, "rank")
        _repeat(asked.inputs["domain"], draw.choice([0, 2, _ROWS, 50]))
        return PREDICT, _bytes(asked), _BAD, None

    def _another_number_of_domains(self, draw: random.Random) -> _Drawn:
        asked = self._asked(self._rows)
        _repeat(asked.inputs["domain"], draw.choice([0, 1, 2, _ROWS + 1, 1_000]))
        return PREDICT, _bytes(asked), _BAD, None

    def _columns_of_other_lengths(self, draw: random.Random) -> _Drawn:
        signature = draw.choice(_SIGNATURES)
        asked = self._asked(self._rows, signature)
        names = self._items if signature == "rank" else sorted(self._columns)
        _repeat(asked.inputs[draw.choice(names)], draw.choice([0, 1, 2, _ROWS + 1, 1_000]))
        return PREDICT, _bytes(asked), _BAD, None

    def _lists_of_any_length(self, draw: random.Random) -> _Drawn:
        """Empty, padded, longer than the model reads: what it reads is the beginning."""
        name, rows, like = draw.choice(self._lists), [], []
        for row in self._rows:
            whole = row[name] + ["more"] * draw.choice([0, 1, 100])
            whole = [] if draw.random() < 0.3 else whole
            rows.append(row | {name: whole})
            like.append(row | {name: [*whole, *[""] * 40]})
        signature = draw.choice(self._answered)
        right = _bytes(self._asked(like, signature))
        return PREDICT, _bytes(self._asked(rows, signature)), _OK, right

    def _lists_without_end(self, draw: random.Random) -> _Drawn:
        """Thousands of elements, which are cut."""
        name = draw.choice(self._lists)
        first = [f"s{draw.randrange(60)}" for _ in range(40)]
        rows = [row | {name: [*first, *["s1"] * draw.choice([1_000, 5_000])]} for row in self._rows]
        like = [row | {name: first} for row in self._rows]
        return PREDICT, _bytes(self._asked(rows)), _OK, _bytes(self._asked(like))

    def _too_many_rows(self, draw: random.Random) -> _Drawn:
        """Of which every one is there."""
        signature = draw.choice(["serving_default", "all_domains"])
        asked = self._asked(self._rows[:1], signature)
        for message in asked.inputs.values():
            _repeat(message, MOST_ROWS + 1)
        return PREDICT, _bytes(asked), _BAD | {"RESOURCE_EXHAUSTED"}, None

    def _huge_claims(self, draw: random.Random) -> _Drawn:
        """Few bytes that claim great shapes."""
        asked = self._asked(self._rows, draw.choice(_SIGNATURES))
        shape = asked.inputs[draw.choice([*self._lists, *self._items])].tensor_shape
        shape.dim[-1].size = draw.choice([1 << 31, 1 << 40, 1 << 62, (1 << 63) - 1, -1])
        return PREDICT, _bytes(asked), _BAD, None

    def _odd_domains(self, draw: random.Random) -> _Drawn:
        """A name that nobody has is ``auto``."""
        asked = self._asked(self._rows)
        name = draw.choice(
            [b"", b"nope", b"\xff\xfe", b"\0", b"x" * 100_000, b"scene=", b"a=b,c=d", "ä".encode()]
        )
        asked.inputs["domain"].CopyFrom(encode([name] * _ROWS, _TYPES["string"]))
        return PREDICT, _bytes(asked), _OK, self.good()

    def _odd_numbers(self, draw: random.Random) -> _Drawn:
        """Moments that no log may hold are missing, whatever they are."""
        row: Row = {
            name: draw.choice([0.0, -0.0, 1e-45, 3e38, -3e38, float("nan")])
            for name, column in self._columns.items()
            if column.kind == "number"
        }
        moments = [name for name, column in self._columns.items() if column.kind == "timestamp"]
        odd = [0, -1, 1_742_299_200_000, 631_151_999, 4_102_444_801, (1 << 63) - 1, -(1 << 63)]
        rows = [
            {**one, **row, **{name: draw.choice(odd) for name in moments}} for one in self._rows
        ]
        like = [{**one, **dict.fromkeys(moments, 0)} for one in rows]
        return PREDICT, _bytes(self._asked(rows)), _OK, _bytes(self._asked(like))

    def _odd_texts(self, draw: random.Random) -> _Drawn:
        """A text that no log has is unknown, whatever it is."""
        names = [name for name, column in self._columns.items() if column.kind == "string"]
        name = draw.choice(names)
        odd = [b"\xff\xfe", b"\0", b"x" * 50_000, " ", "ä\u202e".encode(), b"NULL", b"nan"]
        rows = [row | {name: draw.choice(odd)} for row in self._rows]
        like = [row | {name: "no log has it"} for row in self._rows]
        return PREDICT, _bytes(self._asked(rows)), _OK, _bytes(self._asked(like))

    def _examples(self, examples: Sequence[bytes], domains: int) -> bytes:
        asked = PredictRequest(model_spec={"name": NAME, "signature_name": "examples"})
        asked.inputs["examples"].CopyFrom(encode(list(examples), _TYPES["string"]))
        asked.inputs["domain"].CopyFrom(encode([DOMAIN.encode()] * domains, _TYPES["string"]))
        return _bytes(asked)

    def _no_examples(self, draw: random.Random) -> _Drawn:
        """Bytes that are none, or another number of domains."""
        if draw.random() < 0.5:
            return PREDICT, self._examples([b""] * 2, draw.choice([0, 1, 3])), _BAD, None
        wrong = draw.choice(
            [b"\xff", b"\x0a\xff\xff", message_field(1, b"\x0a\x05\x0a\x09a"), b"{}"]
        )
        return PREDICT, self._examples([b"", wrong], 2), _BAD, None

    def _examples_of_other_types(self, draw: random.Random) -> _Drawn:
        """Whole numbers for fractions, numbers for text, several values where one belongs."""
        name, column = draw.choice(sorted(self._columns.items()))
        wrong: list[Any] = [
            {"bytes_list": {"value": [b"1"]}} if column.kind in ("number", "timestamp") else None,
            {"int64_list": {"value": [3]}} if column.kind != "timestamp" else None,
            {"float_list": {"value": [3.0]}} if column.kind != "number" else None,
            {"bytes_list": {"value": [b"a", b"b"]}} if column.kind == "string" else None,
            {"float_list": {"value": [1.0, 2.0]}} if column.kind == "number" else None,
        ]
        feature = draw.choice([one for one in wrong if one])
        message = Example(features={"feature": {name: feature}}).SerializeToString()
        return PREDICT, self._examples([message], 1), _BAD, None

    def _inputs_of_other_signatures(self, draw: random.Random) -> _Drawn:
        asked = self._asked(self._rows, draw.choice(_SIGNATURES))
        if asked.model_spec.signature_name == "all_domains" or draw.random() < 0.3:
            asked.inputs["examples"].CopyFrom(encode([b""] * _ROWS, _TYPES["string"]))
        elif draw.random() < 0.5:
            del asked.inputs["domain"]
        else:
            asked.model_spec.signature_name = draw.choice(["all_domains", "examples"])
        return PREDICT, _bytes(asked), _BAD, None

    def _damaged(self, draw: random.Random) -> _Drawn:
        codes = _OK | _BAD | {"INTERNAL", "NOT_FOUND", "FAILED_PRECONDITION"}
        signature = draw.choice(_SIGNATURES)
        return PREDICT, damaged(draw, _bytes(self._asked(self._rows, signature))), codes, None

    def _http_rows(self, draw: random.Random) -> _Drawn:
        """A value of another type, a missing column, lists of other lengths."""
        body = self.good_body()
        row = draw.choice(body["instances"])
        name = draw.choice(sorted(self._columns))
        kind = self._columns[name].kind
        match draw.randrange(4):
            case 0:
                del row[name]
            case 1:
                row[draw.choice(["other", name.upper()])] = 1
            case 2:
                row[draw.choice(self._lists)] = ["a"] * 99
            case _:
                wrong: list[Any] = [None, {}, [[]], True, ["a", 1], {"b64": "?"}]
                wrong += ["7", 10**40] if kind in ("number", "timestamp") else [7, 7.5]
                row[name] = draw.choice(wrong)
        return (
            HTTP,
            http_request(_PREDICT_PATH, json.dumps(body).encode()),
            frozenset({"400"}),
            None,
        )

    def _columns_body(self) -> Row:
        rows = self.good_body()["instances"]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _http_columns(self, draw: random.Random) -> _Drawn:
        """Whole columns are answered, under ``rank`` and ``all_domains`` too."""
        columns = self._columns_body()
        signature = draw.choice(self._answered)
        if signature == "all_domains":
            del columns["domain"]
        if signature == "rank":
            columns |= {name: columns[name][:1] for name in (*self._shared, "domain")}
        body = {"signature_name": signature, "inputs": columns}
        return (
            HTTP,
            http_request(_PREDICT_PATH, json.dumps(body).encode()),
            frozenset({"200"}),
            None,
        )

    def _http_unequal_columns(self, draw: random.Random) -> _Drawn:
        """Columns that do not belong together."""
        columns = self._columns_body()
        name = draw.choice(sorted(columns))
        columns[name] = draw.choice(
            [columns[name][:1], columns[name][:2], columns[name] * 2, [], columns[name][0], None]
        )
        body: Any = {"inputs": columns}
        if draw.random() < 0.2:
            body = {"signature_name": "rank", "inputs": self._columns_body()}
        return (
            HTTP,
            http_request(_PREDICT_PATH, json.dumps(body).encode()),
            frozenset({"400"}),
            None,
        )


def _encoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_encoded(element) for element in value]
    return value.encode() if isinstance(value, str) else value


def _repeat(message: Message, rows: int) -> None:
    """Gives a tensor so many rows of its first."""
    first = decode(message)[:1].tolist()
    message.CopyFrom(encode(first * rows, message.dtype))
    if not rows:
        message.tensor_shape.dim[0].size = 0


def _bytes(message: Message) -> bytes:
    return bytes(message.SerializeToString())
