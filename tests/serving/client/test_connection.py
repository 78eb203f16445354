"""A server that is away for a moment, that never comes, or that wants certificates."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer
from typing import Any

import grpc
import pytest
import trustme
from tensorflow_serving.apis import get_model_metadata_pb2

from configs.errors import InputError
from serving.client import Client, Tls
from serving.wire.errors import StatusError


class Answering:
    """A server that knows one method and says UNAVAILABLE the first so many times."""

    code = grpc.StatusCode.UNAVAILABLE

    def __init__(
        self, refusals: int = 0, credentials: grpc.ServerCredentials | None = None, port: int = 0
    ) -> None:
        self.refusals, self.calls = refusals, 0
        self.server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
        methods = {"GetModelMetadata": grpc.unary_unary_rpc_method_handler(self.answer)}
        self.server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", methods)]
        )
        address = f"localhost:{port}"
        self.port = (
            self.server.add_secure_port(address, credentials)
            if credentials
            else self.server.add_insecure_port(address)
        )
        self.target = f"localhost:{self.port}"

    def answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls += 1
        if self.calls <= self.refusals:
            context.abort(self.code, "drained")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(get_model_metadata_pb2.SignatureDefMap())
        return bytes(response.SerializeToString())


@pytest.fixture
def answering() -> Iterator[Callable[..., Answering]]:
    """Makes servers and stops them."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: Any, **settings: Any) -> Answering:
            made = Answering(*arguments, **settings)
            stack.callback(made.server.stop, 0)
            made.server.start()
            return made

        yield start


def code_of(client: Client) -> str:
    with client, pytest.raises(StatusError) as caught:
        client.signatures()
    return caught.value.code.name


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_an_overloaded_server_is_tried_again_so_often_and_no_more(
    answering: Callable[..., Answering], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stock server refuses with RESOURCE_EXHAUSTED when it has no thread left."""
    monkeypatch.setattr(Answering, "code", grpc.StatusCode[code])
    server = answering(refusals=2)
    with Client(server.target, "m") as client:
        assert client.signatures() == {}
    assert server.calls == 3
    server = answering(refusals=9)
    assert code_of(Client(server.target, "m", attempts=2)) == code and server.calls == 2
    server = answering(refusals=9)
    assert code_of(Client(server.target, "m", attempts=1)) == code and server.calls == 1


def test_tries_end_with_the_deadline(answering: Callable[..., Answering]) -> None:
    server = answering(refusals=9)
    assert code_of(Client(server.target, "m", deadline_seconds=0.05)) == "DEADLINE_EXCEEDED"
    assert server.calls < 5


@pytest.mark.parametrize("settings", [{"attempts": 5}, {"attempts": 1, "wait_for_ready": True}])
def test_a_server_that_starts_late_is_reached(
    answering: Callable[..., Answering], settings: dict[str, Any]
) -> None:
    with socket.socket() as kept:
        kept.bind(("localhost", 0))
        port = kept.getsockname()[1]
    timer = Timer(0.3, lambda: answering(port=port))
    timer.start()
    with Client(f"localhost:{port}", "m", **settings) as client:
        assert client.signatures() == {}
    timer.join()


def test_servers_behind_one_name_are_asked_in_turns(answering: Callable[..., Answering]) -> None:
    one, two = answering(), answering()
    with Client(
        f"ipv4:127.0.0.1:{one.port},127.0.0.1:{two.port}", "m", wait_for_ready=True
    ) as client:
        for _ in range(20):
            client.signatures()
    assert one.calls + two.calls == 20 and min(one.calls, two.calls) >= 5


# ---- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The authority's certificate, another authority's, and a client's certificate and key."""
    folder = tmp_path_factory.mktemp("tls")
    client = authority.issue_cert("client@example.org")
    written = {
        "ca": authority.cert_pem,
        "other": trustme.CA().cert_pem,
        "certificate": client.cert_chain_pems[0],
        "key": client.private_key_pem,
    }
    for name, pem in written.items():
        pem.write_to_path(str(folder / name))
    return {name: folder / name for name in written}


def credentials(authority: trustme.CA, *, ask: bool) -> grpc.ServerCredentials:
    issued = authority.issue_cert("localhost")
    pair = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
    return grpc.ssl_server_credentials([pair], authority.cert_pem.bytes() if ask else None, ask)


def test_a_server_is_believed_by_its_certificate(
    authority: trustme.CA, files: dict[str, Path], answering: Callable[..., Answering]
) -> None:
    target = answering(credentials=credentials(authority, ask=False)).target
    with Client(target, "m", tls=Tls(files["ca"])) as client:
        assert client.signatures() == {}
    assert code_of(Client(target, "m", tls=Tls(files["other"]), attempts=1)) == "UNAVAILABLE"
    assert code_of(Client(target, "m", attempts=1)) == "UNAVAILABLE"


def test_a_client_shows_its_certificate(
    authority: trustme.CA, files: dict[str, Path], answering: Callable[..., Answering]
) -> None:
    target = answering(credentials=credentials(authority, ask=True)).target
    with Client(target, "m", tls=Tls(files["ca"], files["certificate"], files["key"])) as client:
        assert client.signatures() == {}
    assert code_of(Client(target, "m", tls=Tls(files["ca"]), attempts=1)) == "UNAVAILABLE"
    with pytest.raises(InputError, match=r"test_connection\.py: not a PEM file"):
        Client(target, "m", tls=Tls(Path(__file__)))
    with pytest.raises(InputError, match="received only one of them"):
        Client(target, "m", tls=Tls(files["ca"], files["certificate"]))
