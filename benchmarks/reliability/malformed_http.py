"""HTTP requests that nobody should send, drawn from a seed: bytes for a connection, and the
statuses that may answer them.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.reliability.malformed import Malformed, damaged
from benchmarks.reliability.versioned import NAME

HTTP = "HTTP"
"""The method of these requests: all go to one port."""
GONE = "closed"
"""What is received where the server has closed the connection without an answer."""
PREDICT_PATH = f"/v1/models/{NAME}:predict"

_BAD = frozenset({"400"})
_ANY = frozenset({"200", "400", "404", "411", "413", "414", "431", "501", "505", GONE})
"""What may answer a good request with some bytes changed."""
_Drawn = tuple[bytes, frozenset[str]]


def malformed_http(seed: int, count: int) -> Iterator[Malformed]:
    """So many requests, the kinds in turns."""
    draw = random.Random(seed)  # noqa: S311 - a seed, so that a failure can be repeated
    for number in range(count):
        kind = _KINDS[number % len(_KINDS)]
        yield Malformed(f"http{kind.__name__}", HTTP, *kind(draw))


def good_body() -> dict[str, Any]:
    """JSON that is answered."""
    row = {"user": "u", "history": ["a", "b"], "item": 3, "price": 0.5}
    return {"instances": [row, row | {"user": "v"}]}


def sent(path: str, body: bytes, *headers: str) -> bytes:
    """A POST as it goes over the line."""
    lines = [f"POST {path} HTTP/1.1", *(headers or [f"Content-Length: {len(body)}"]), "", ""]
    return "\r\n".join(lines).encode() + body


def asked(path: str) -> bytes:
    """A GET as it goes over the line."""
    return f"GET {path} HTTP/1.1\r\n\r\n".encode()


def _random_bytes(draw: random.Random) -> _Drawn:
    return draw.randbytes(draw.choice([1, 10, 1_000, 100_000])) + b"\r\n\r\n", _ANY


def _damaged_request(draw: random.Random) -> _Drawn:
    return damaged(draw, sent(PREDICT_PATH, json.dumps(good_body()).encode())), _ANY


def _damaged_body(draw: random.Random) -> _Drawn:
    body = damaged(draw, json.dumps(good_body()).encode())
    return sent(PREDICT_PATH, body), frozenset({"200", "400"})


def _wrong_values(draw: random.Random) -> _Drawn:
    """Other types, numbers beyond all bounds, lists of another length, nests without end."""
    body = good_body()
    name = draw.choice(["user", "history", "item", "price"])
    wrong: Any = draw.choice(
        [None, {}, {"b64": "?"}, [[]], [[[1]]], True, 10**400, "\ud800", [1, "a"], {"b64": 1}]
    )
    body["instances"][draw.randrange(2)][name] = wrong
    text = json.dumps(body)
    if draw.random() < 0.3:
        text = text.replace("0.5", draw.choice(["[" * 100_000, "1e999999", "-", "{" * 3_000]))
    return sent(PREDICT_PATH, text.encode()), _BAD


def _wrong_forms(draw: random.Random) -> _Drawn:
    body: Any = draw.choice(
        [
            {}, [], 3, None, {"instances": []}, {"instances": 3}, {"inputs": []}, {"inputs": {}},
            good_body() | {"inputs": {}}, good_body() | {"signature_name": 3},
            good_body() | {"signature_name": "nope"}, {"instances": [good_body()]},
        ]
    )  # fmt: skip
    return sent(PREDICT_PATH, json.dumps(body).encode()), _BAD


def _wrong_paths(draw: random.Random) -> _Drawn:
    path = draw.choice(
        [
            "/v1/models/nope:predict", f"/v1/models/{NAME}/versions/99:predict",
            f"/v1/models/{NAME}/labels/x:predict", f"/v1/models/{NAME}:explain", "/", "/v1/models",
            "/v1/models/%00:predict", "/v1/models/%ff:predict", "/v1/models/..:predict",
            f"/v1/models/{NAME}/versions/{10**30}:predict", f"/v1/models/{NAME}:classify",
        ]
    )  # fmt: skip
    return sent(path, json.dumps(good_body()).encode()), frozenset({"400", "404"})


def _wrong_columns(draw: random.Random) -> _Drawn:
    """Columns of other lengths and types, and without the others."""
    rows = good_body()["instances"]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    name = draw.choice(sorted(columns))
    if draw.random() < 0.2:
        del columns[name]
    else:
        wrong: list[Any] = [None, 7, "text", {}, [[[1]]], [None, None], [[1], [1, 2]], [{}, {}]]
        columns[name] = draw.choice(wrong)
    body = {"inputs": draw.choice([columns, [columns], list(columns.values())])}
    return sent(PREDICT_PATH, json.dumps(body).encode()), _BAD


def _columns(draw: random.Random) -> _Drawn:
    """Whole columns are answered, whoever names the signature."""
    rows = good_body()["instances"]
    body: Any = {"inputs": {name: [row[name] for row in rows] for name in rows[0]}}
    if draw.random() < 0.5:
        body["signature_name"] = "serving_default"
    version = draw.choice(["", "/versions/1"])
    path = f"/v1/models/{NAME}{version}:predict"
    return sent(path, json.dumps(body).encode()), frozenset({"200"})


def _described(draw: random.Random) -> _Drawn:
    """A model's state, signatures and labels, and those of models, versions and labels that there
    are not.
    """
    label = f"/v1/models/{NAME}/labels/{draw.choice(['x', '%00', 'x' * 5_000])}"
    path, code = draw.choice(
        [
            (f"/v1/models/{NAME}", "200"),
            (f"/v1/models/{NAME}/metadata", "200"),
            (f"/v1/models/{NAME}/versions/1", "200"),
            (f"/v1/models/{NAME}/versions/1/metadata", "200"),
            ("/v1/models/nope", "404"),
            ("/v1/models/nope/metadata", "404"),
            (f"/v1/models/{NAME}/versions/99", "404"),
            (f"/v1/models/{NAME}/versions/99/metadata", "404"),
            (label, "200"),  # the stock server does not look at it either
            (f"{label}/metadata", "400"),
            (f"/v1/models/{NAME}/labels/%ff{draw.choice(['', '/metadata'])}", "400"),
            (f"/v1/models/{NAME}/labels/", "400"),
            (f"/v1/models/{NAME}/versions/{draw.choice(['x', '-1', 10**30, '1.0'])}", "400"),
            (f"/v1/models/{NAME}/", "400"),
        ]
    )
    return asked(path), frozenset({code})


def _other_verbs(draw: random.Random) -> _Drawn:
    """A prediction is posted, and a description is got."""
    data = draw.choice(
        [
            asked(PREDICT_PATH),
            sent(f"/v1/models/{NAME}/metadata", b"{}"),
            sent(f"/v1/models/{NAME}", b"{}"),
            asked(f"/v1/models/{NAME}/metadata").replace(b"GET", draw.choice([b"PUT", b"DELETE"])),
        ]
    )
    return data, frozenset({"400", "405", "501"})


def _wrong_lengths(draw: random.Random) -> _Drawn:
    header = draw.choice(
        ["Content-Length: -1", "Content-Length: x", f"Content-Length: {1 << 40}",
         f"Content-Length: {'9' * 5_000}", "Transfer-Encoding: chunked", "A: b"]
    )  # fmt: skip
    return sent(PREDICT_PATH, b"{}", header), frozenset({"411", "413"})


def _hung_up(draw: random.Random) -> _Drawn:
    """Ends in the middle."""
    whole = sent(PREDICT_PATH, json.dumps(good_body()).encode())
    return whole[: draw.randrange(1, len(whole))], frozenset({GONE, "400", "411"})


_KINDS: tuple[Callable[[random.Random], _Drawn], ...] = (
    _random_bytes,
    _damaged_request,
    _damaged_body,
    _wrong_values,
    _wrong_forms,
    _wrong_paths,
    _wrong_lengths,
    _wrong_columns,
    _columns,
    _described,
    _other_verbs,
    _hung_up,
)
