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
    _hung_up,
)
