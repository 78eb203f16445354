"""Rows in, rows out: the client encodes by the server's own signature, and says in one line
which row is wrong and why.
"""

import io
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from configs.cli import run
from configs.errors import InputError
from serving.client import Client
from serving.client import __main__ as command
from serving.client.jsonl import json_line, slates
from serving.wire.errors import StatusError
from serving.wire.row_codec import decode_rows, encode_rows
from serving.wire.tensor_protos import decode, encode
from tests.serving.conftest import NAME, Peer, Slow, good_inputs, good_request, serving

NOW = 1_700_000_000

ROWS: list[dict[str, Any]] = [
    {"user": "u1", "clicks": ["u2"], "price": 0.25, "time": 1700000000},
    {"user": "nobody", "clicks": ["u3", "u1"], "time": 999999989, "domain": "scene=home"},
    {
        "user": "u3",
        "clicks": None,
        "price": -1.5,
        "time": "2001-09-09T02:46:24+01:00",
        "domain": "moon",
    },
]
"""``good_inputs(3)`` as rows, under the domain ``all``."""


@pytest.fixture
def client(peer: Peer) -> Client:
    return Client(peer.target, NAME)


def signature(**inputs: tuple[tf.DType, list[int]]) -> meta_graph_pb2.SignatureDef:
    made = meta_graph_pb2.SignatureDef()
    for name, (dtype, shape) in inputs.items():
        made.inputs[name].dtype = dtype.as_datatype_enum
        made.inputs[name].tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return made


SERVED = signature(
    user=(tf.string, [None]),
    clicks=(tf.string, [None, None]),
    price=(tf.float32, [None]),
    time=(tf.int64, [None]),
    domain=(tf.string, [None]),
)

# ---- the library


def test_rows_become_the_tensors_of_the_signature() -> None:
    encoded = encode_rows(SERVED, ROWS, "all")
    for name, expected in good_inputs(3).items():
        np.testing.assert_array_equal(decode(encoded[name]), decode(expected), strict=True)


def test_lists_that_are_alike_are_held_to_it_row_by_row() -> None:
    """The signature says which; a text that is missing is left out, a number keeps its place."""
    made = signature(
        seen=(tf.string, [None, None]),
        gaps=(tf.float32, [None, None]),
        tags=(tf.string, [None, None]),
    )
    for name in ("seen", "gaps"):
        made.inputs[name].tensor_shape.dim[0].name = "along=seen"
    good = {"seen": ["a", None, "b"], "gaps": [1.0, None], "tags": ["x"]}
    encoded = encode_rows(made, [good, {}])
    assert decode(encoded["seen"]).tolist() == [[b"a", b"b"], [b"", b""]]
    for bad, counts in (
        ({"seen": ["a", None], "gaps": [1.0, 2.0]}, "1, received 2"),
        ({"seen": ["a"]}, "1, received 0"),
        ({"gaps": [1.0]}, "0, received 1"),
    ):
        with pytest.raises(
            InputError, match=f"row 1: gaps must have as many values as seen, {counts}"
        ):
            encode_rows(made, [good, bad])


def test_predictions_are_the_servers_to_the_last_bit(client: Client, peer: Peer) -> None:
    outputs = peer.predict(good_request(3)).outputs
    answers = client.predict(ROWS, "all")
    assert [list(answer) for answer in answers] == [["ctr", "served_domain", "version"]] * 3
    np.testing.assert_array_equal(
        np.array([answer["ctr"] for answer in answers], np.float32),
        decode(outputs["ctr"]),
        strict=True,
    )
    assert [answer["served_domain"] for answer in answers] == ["all", "scene=home", "backbone"]
    assert [answer["version"] for answer in answers] == [10, 10, 10]


def test_batches_change_nothing(client: Client, peer: Peer) -> None:
    with Client(peer.target, NAME, batch_size=2) as small:
        assert small.predict(ROWS, "all") == client.predict(ROWS, "all")
        assert small.predict([]) == []


def test_rank_sends_what_the_items_share_once(client: Client) -> None:
    shared = {"user": "u3", "clicks": ["u2", "u1"], "time": NOW}
    items = [{"price": 0.25}, {}, {"price": -1.5}]
    expected = client.predict([{**shared, **item} for item in items], "scene=home")
    assert client.rank(shared, items, "scene=home") == expected
    assert len({answer["ctr"] for answer in expected}) == 3
    assert client.rank(shared, [], "all") == []
    whole = [{**shared, **item, "label": 1} for item in items]
    assert client.rank(whole[0], whole, "all", ignore_unknown=True) == client.predict(
        [{**shared, **item} for item in items], "all"
    )


@pytest.mark.parametrize(
    ("shared", "items", "said"),
    [
        (
            {"user": "u1", "time": NOW, "price": 1.0},
            [{}],
            "what the items share: unknown key 'price'",
        ),
        ({"user": "u1", "time": NOW}, [{}, {"user": "u2"}], "item 1: unknown key 'user'"),
        ({"user": "u1"}, [{}], "what the items share: time must be"),
        ({"user": "u1", "time": NOW}, [{}, {"price": "dear"}], "item 1: price must be"),
    ],
)
def test_rank_says_which_part_is_wrong(
    client: Client, shared: dict[str, Any], items: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        client.rank(shared, items, "all")
    assert said in str(caught.value)


def test_an_output_of_the_whole_request_is_in_every_row(client: Client) -> None:
    # As many rows as domains: only the signature can tell the two outputs apart.
    answers = client.predict([{"user": "u1"}, {"user": "u2"}], signature="all_domains")
    assert [answer["domains"] for answer in answers] == [["all", "scene=home"]] * 2
    assert answers[1]["ctr"] == pytest.approx([0.2, 0.4])


def test_the_list_of_domains_has_any_length() -> None:
    made = signature()
    for name in ("ctr", "domains"):
        made.outputs[name].tensor_shape.dim.add(size=-1)
    ctr, domains = (
        encode([[0.5, 0.25, 0.1]] * 2, tf.float32.as_datatype_enum),
        encode([b"a", b"b"], tf.string.as_datatype_enum),
    )
    assert [row["domains"] for row in decode_rows(made, {"ctr": ctr, "domains": domains}, 2)] == [
        ["a", "b"]
    ] * 2
    assert (
        decode_rows(
            made, {"ctr": ctr, "domains": encode([b"a"] * 3, tf.string.as_datatype_enum)}, 2
        )[1]["domains"]
        == ["a"] * 3
    )


def test_values_of_data_frames_and_logs() -> None:
    rows = [
        {
            "user": np.int64(3),
            "clicks": np.array(["a", "", "b"], object),
            "price": np.float32(0.1),
            "time": np.int64(NOW),
        },
        {"user": 3.0, "clicks": ["a", None, "5"], "price": True, "time": NOW + 0.5},
        {"user": True, "clicks": (), "price": math.nan, "time": "2024-01-01"},
        {
            "user": np.float32(0.1),
            "clicks": [4, 2.5],
            "price": " 0.5 ",
            "time": np.datetime64("2024-01-01T00:00:00.5", "ns"),
        },
    ]
    encoded = {
        name: decode(message).tolist() for name, message in encode_rows(SERVED, rows, "d").items()
    }
    assert encoded["user"] == [b"3", b"3", b"true", b"0.1"]
    assert encoded["clicks"] == [[b"a", b"b"], [b"a", b"5"], [b"", b""], [b"4", b"2.5"]]
    assert encoded["price"][:2] == [float(np.float32(0.1)), 1.0] and math.isnan(encoded["price"][2])
    assert encoded["price"][3] == 0.5
    assert encoded["time"] == [NOW, NOW, 1_704_067_200, 1_704_067_200]


def test_lists_that_are_all_empty_have_one_column_of_padding() -> None:
    assert decode(encode_rows(SERVED, [{"time": NOW}], "d")["clicks"]).tolist() == [[b""]]


def test_numbers_of_other_types() -> None:
    made = signature(
        flag=(tf.bool, [None]),
        count=(tf.int32, [None]),
        ratio=(tf.float64, [None]),
        many=(tf.float32, [None, None]),
    )
    row = {"flag": True, "count": -3, "ratio": 1e300, "many": [1, 2.5]}
    encoded = {name: decode(message).tolist() for name, message in encode_rows(made, [row]).items()}
    assert encoded == {"flag": [True], "count": [-3], "ratio": [1e300], "many": [[1.0, 2.5]]}


TIME = "time must be a whole number, or ISO 8601 text"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"usr": "u1", "time": NOW}, "row 1: unknown key 'usr' (nearest known key: 'user'; keys"),
        ({"user": ["u1"], "time": NOW}, "row 1: user must be text, received list ['u1']"),
        ({"user": math.nan, "time": NOW}, "row 1: user must be text, received float nan"),
        (
            {"user": "x" * 4097, "time": NOW},
            "row 1: user must be text of at most 4096 bytes, received",
        ),
        ({"user": b"\xff", "time": NOW}, "row 1: user must be text in UTF-8, received bytes"),
        ({"user": "\ud800", "time": NOW}, "row 1: user must be text"),
        (
            {"clicks": "u1", "time": NOW},
            "row 1: clicks must be a list, each text, received str 'u1'",
        ),
        (
            {"clicks": [["u1"]], "time": NOW},
            "row 1: clicks must be a list, each text, received list [['u1']]",
        ),
        (
            {"price": "cheap", "time": NOW},
            "row 1: price must be a finite number (float32), received str 'cheap'",
        ),
        ({"price": 1e300, "time": NOW}, "row 1: price must be a finite number"),
        ({"price": 10**400, "time": NOW}, "row 1: price must be a finite number"),
        ({"price": math.inf, "time": NOW}, "row 1: price must be a finite number"),
        ({}, f"row 1: {TIME} (a time, UTC where it names no zone), received nothing"),
        ({"time": 1.5}, f"row 1: {TIME}"),
        ({"time": True}, f"row 1: {TIME}"),
        ({"time": 2**63}, f"row 1: {TIME}"),
        ({"time": math.nan}, f"row 1: {TIME}"),
        ({"time": math.inf}, f"row 1: {TIME}"),
        ({"time": "yesterday"}, f"row 1: {TIME}"),
        (
            {"time": 1_700_000_000_000},
            f"row 1: {TIME} (a time, UTC where it names no zone), from 1990 to 2100, received int",
        ),
        ({"clicks": ["u1", 5], "time": NOW}, "row 1: clicks must be a list, each text"),
        ({"price": 10**5000, "time": NOW}, "row 1: price must be a finite number"),
    ],
)
def test_wrong_rows(row: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        encode_rows(SERVED, [{"time": NOW}, row], "all")
    assert str(caught.value).startswith(words)


def test_unknown_keys_can_be_ignored(client: Client) -> None:
    with_labels = [{**row, "click": 1} for row in ROWS]
    assert client.predict(with_labels, "all", ignore_unknown=True) == client.predict(ROWS, "all")


def test_the_domain_is_needed_where_the_signature_takes_one_and_only_there(client: Client) -> None:
    with pytest.raises(InputError, match="row 0: no domain"):
        client.predict(ROWS)
    assert client.predict(ROWS[1:]) == client.predict(ROWS[1:], "all")
    with pytest.raises(InputError, match="takes no domain"):
        client.predict([{"user": "u1"}], "all", "all_domains")


def test_signatures_that_rows_cannot_fill(client: Client) -> None:
    with pytest.raises(
        InputError, match="no signature 'order'; it has: all_domains, odd, rank, serving_default"
    ):
        client.predict(ROWS, signature="order")
    with pytest.raises(InputError, match="input half is DT_HALF of rank 1"):
        client.predict([{"pair": [1, 2]}], signature="odd")
    with pytest.raises(InputError, match="input x is DT_FLOAT of rank 3"):
        encode_rows(signature(x=(tf.float32, [None, 2, 2])), [{"x": 1}])


def test_an_answer_of_another_length_is_an_error_and_not_a_wrong_score() -> None:
    made = signature()
    made.outputs["ctr"].tensor_shape.dim.add(size=-1)
    with pytest.raises(
        StatusError, match="INTERNAL: output ctr does not have one entry for each of the 2 rows"
    ):
        decode_rows(made, {"ctr": encode([0.5], tf.float32.as_datatype_enum)}, 2)


def test_failures_carry_the_code(peer: Peer) -> None:
    with Client(peer.target, NAME, version=3) as client, pytest.raises(StatusError) as caught:
        client.predict(ROWS, "all")
    assert caught.value.code.name == "NOT_FOUND"


def test_the_deadline_is_the_clients(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        serving(base, load=Slow) as slow,
        Client(slow.target, NAME, deadline_seconds=0.1) as client,
    ):
        monkeypatch.setattr(client, "signatures", lambda: {"serving_default": SERVED})
        with pytest.raises(StatusError) as caught:
            client.predict(ROWS, "all")
        assert caught.value.code.name == "DEADLINE_EXCEEDED"
        with slow.model.acquire() as servable:
            servable.go.set()


def test_one_request_however_many_rows(peer: Peer) -> None:
    with Client(peer.target, NAME, batch_size=1) as client:
        reply = client.ask(ROWS, "all")
        assert reply.version == 10 and reply.rows == client.predict(ROWS, "all")


# ---- lines


def test_rows_are_cut_into_requests() -> None:
    rows = [
        (f"f:{number}", {"request": request, "x": number})
        for number, request in enumerate("aabcca")
    ]

    def cut(*arguments: Any) -> list[list[int]]:
        return [[row["x"] for _, row in slate] for slate in slates(iter(rows), *arguments)]  # type: ignore[misc]

    assert cut(4) == [[0, 1, 2, 3], [4, 5]]
    assert cut(4, "request") == [[0, 1], [2], [3, 4], [5]]
    with pytest.raises(InputError, match="f:0: no 'user'"):
        cut(4, "user")


# ---- the command


@pytest.fixture
def invoke(
    peer: Peer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command on request lines; returns exit code, stdout and stderr."""

    def call(
        lines: str | bytes, *flags: str, requests: str = "requests.jsonl"
    ) -> tuple[int, str, str]:
        data = lines.encode() if isinstance(lines, str) else lines
        (tmp_path / "requests.jsonl").write_bytes(data)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        standard = [
            "--target",
            peer.target,
            "--model-name",
            NAME,
            "--domain",
            "all",
            "--requests",
            requests,
        ]
        monkeypatch.setattr(sys, "argv", ["client", *standard, *flags])
        code = 0
        try:
            run(lambda: command.main(sys.argv[1:]))
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        written = capsys.readouterr()
        return code, written.out, written.err

    return call


LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def test_json_lines_in_and_out(invoke: Callable[..., tuple[int, str, str]], client: Client) -> None:
    expected = client.predict(ROWS, "all")
    for flags in (
        [],
        ["--batch-size", "2"],
        ["--batch_size=1", "--version", "10", "--deadline-ms", "5000"],
    ):
        code, out, err = invoke(LINES.replace("\n", "\n\n"), *flags)  # blank lines are skipped
        assert (code, err) == (0, "") and [
            json.loads(line) for line in out.splitlines()
        ] == expected
    assert invoke(LINES, requests="-")[1] == out


def test_what_json_cannot_say_is_null() -> None:
    assert (
        json_line({"ctr": math.nan, "list": [1.0, -math.inf]})
        == '{"ctr": null, "list": [1.0, null]}\n'
    )


@pytest.mark.parametrize(
    ("lines", "flags", "words"),
    [
        (
            LINES + '{"usr": "u1"}',
            [],
            "requests.jsonl:4: unknown key 'usr' (nearest known key: 'user'; keys",
        ),
        (
            LINES + '{"price": "cheap", "time": 1700000000}',
            ["--batch-size=2"],
            "requests.jsonl:4: price must be a finite number (float32), received str 'cheap'",
        ),
        ("\n\n{", [], "requests.jsonl:3: not valid JSON"),
        (b'{"user": "\xff"}', [], "requests.jsonl:1: not valid JSON"),
        ("[" * 100_000, [], "requests.jsonl:1: not valid JSON"),
        ("[1]", [], "requests.jsonl:1: expected a JSON object, received list"),
        (LINES, ["--signature", "nope"], "no signature 'nope'"),
        (LINES, ["--requests", "none.jsonl"], "--requests none.jsonl: No such file"),
        (
            LINES,
            ["--target", "localhost"],
            "argument --target: must be HOST:PORT, received 'localhost'",
        ),
        (LINES, ["--target", ":8500"], "argument --target: must be HOST:PORT, received ':8500'"),
        (
            LINES,
            ["--tls-key-file", "key.pem"],
            "--tls-certificate-file and --tls-key-file need --tls-ca-file",
        ),
        (LINES, ["--tls-ca-file", "none.pem"], "none.pem: No such file"),
        (LINES, ["--version", "-1"], "must be a whole number from 0"),
        (LINES, ["--attempts", "6"], "must be a whole number from 1 to 5"),
        (LINES, ["--batch-size", "0"], "must be a whole number from 1"),
        (LINES, ["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    invoke: Callable[..., tuple[int, str, str]], lines: str | bytes, flags: list[str], words: str
) -> None:
    code, _, err = invoke(lines, *flags)
    assert code == 2 and words in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("code", "flags", "words"),
    [
        (
            1,
            ["--target", "127.0.0.1:1", "--wait-for-ready", "--deadline-ms=200"],
            "error: DEADLINE_EXCEEDED: ",
        ),
        (
            2,
            ["--model-name", "nope"],
            "error: NOT_FOUND: Servable not found for request: Latest(nope); models of this server:"
            f" {NAME}\n",
        ),
        (
            2,
            ["--version", "3"],
            f"error: NOT_FOUND: Servable not found for request: Specific({NAME}, 3)",
        ),
        (
            1,
            ["--version", "none"],
            "error: INVALID_ARGUMENT: Unrecognized servable version label: none",
        ),
    ],
)
def test_a_request_that_is_not_answered_is_one_line(
    invoke: Callable[..., tuple[int, str, str]], code: int, flags: list[str], words: str
) -> None:
    received, out, err = invoke(LINES, *flags)
    assert (received, out) == (code, "") and err.startswith(words) and err.count("\n") == 1


@pytest.mark.parametrize("target", ["127.0.0.1:1", "no-such-host.invalid:8500"])
def test_a_server_that_is_not_there_is_named_and_exit_code_2(
    invoke: Callable[..., tuple[int, str, str]], target: str
) -> None:
    code, out, err = invoke(LINES, "--target", target, "--attempts=1")
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert err.startswith(f"error: no server is reached at {target} (")
    assert err.endswith("): start it, or wait for it with --wait-for-ready\n")


@pytest.mark.parametrize("lines", ["", "\n \n"])
def test_a_file_without_rows_is_one_line_and_exit_code_2(
    invoke: Callable[..., tuple[int, str, str]], lines: str
) -> None:
    said = "error: --requests {}: no rows; expected a JSON object in each line\n"
    assert invoke(lines) == (2, "", said.format("requests.jsonl"))
    assert invoke(lines, requests="-") == (2, "", said.format("-"))


def test_labels_of_a_log_line_can_be_ignored(invoke: Callable[..., tuple[int, str, str]]) -> None:
    line = json.dumps({**ROWS[0], "click": 1})
    assert invoke(line)[0] == 2
    assert invoke(line, "--ignore-unknown")[0] == 0


@pytest.mark.parametrize("target", ["127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1", ":8500"])
def test_a_target_is_a_host_and_a_port(
    invoke: Callable[..., tuple[int, str, str]], target: str
) -> None:
    code, out, err = invoke(LINES, "--target", target)
    assert (code, out) == (2, "") and "must be HOST:PORT" in err and err.count("\n") == 1


def test_a_model_name_that_is_no_text_is_one_line(
    invoke: Callable[..., tuple[int, str, str]],
) -> None:
    code, out, err = invoke(LINES, "--model-name", "\udcff")
    assert (code, out) == (2, "") and "is not UTF-8 text" in err and err.count("\n") == 1
