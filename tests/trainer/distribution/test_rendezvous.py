"""Workers wait for each other, and train nothing that is not the same on all."""

import json
import socket
import threading
from collections.abc import Mapping

import pytest

from benchmarks.reliability.listening import free_addresses
from configs import InputError
from tests.trainer.conftest import one_line
from trainer.distribution.cluster import Cluster
from trainer.distribution.rendezvous import difference, meet


def meeting(
    facts: Mapping[int, Mapping[str, str]], addresses: tuple[str, ...], seconds: float = 60.0
) -> dict[int, str]:
    """What each of some ranks is told; empty where it may go on."""
    said = {}

    def act(rank: int) -> None:
        try:
            meet(Cluster(addresses, rank), facts[rank], seconds)
            said[rank] = ""
        except InputError as error:
            said[rank] = str(error)

    threads = [threading.Thread(target=act, args=(rank,)) for rank in facts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_all_go_on_when_all_are_there_and_mean_the_same() -> None:
    same = {"config": "c", "dataset": "d"}
    assert meeting({0: same, 1: same, 2: same}, tuple(free_addresses(3))) == {0: "", 1: "", 2: ""}


def test_all_are_told_what_differs() -> None:
    facts = {0: {"config": "c", "dataset": "d"}, 1: {"config": "c", "dataset": "d"}}
    said = meeting({**facts, 2: {"config": "c", "dataset": "e"}}, tuple(free_addresses(3)))
    assert set(said) == {0, 1, 2}
    (line,) = set(said.values())
    assert "worker 2 of 3" in line
    assert "its dataset is e, and that of worker 0 of 3" in line


def test_a_fact_that_one_lacks_differs() -> None:
    cluster = Cluster(("a:1", "b:2"), 0)
    assert "its code is none" in difference(cluster, {0: {"code": "c"}, 1: {}})
    assert not difference(cluster, {0: {"code": "c"}, 1: {"code": "c"}})


@pytest.mark.parametrize("rank", [0, 1])
def test_who_waits_in_vain_says_for_whom(rank: int) -> None:
    cluster = Cluster(tuple(free_addresses(2)), rank)
    with pytest.raises(InputError, match=f"worker {1 - rank} of 2 .* did not") as error:
        meet(cluster, {}, seconds=0.3)
    one_line(error)


def test_strangers_and_those_who_left_again_are_not_counted() -> None:
    """A port is looked at by others too, and a worker may be started anew while it waits."""
    # of three, so that the first one goes on waiting and sees who has left
    addresses = tuple(free_addresses(3))
    host, _, port = addresses[0].rpartition(":")
    said: list[str] = []
    first = threading.Thread(target=lambda: said.append(str(meet(Cluster(addresses, 0), {}))))
    first.start()
    hello = json.dumps({"rank": 1, "facts": {"config": "another"}}).encode() + b"\n"
    for words in (b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b'{"rank": 7, "facts": {}}\n', hello, b""):
        while True:
            try:
                with socket.create_connection((host, int(port)), 1.0) as stranger:
                    stranger.sendall(words)
                break
            except ConnectionRefusedError:
                assert first.is_alive()
    second = threading.Thread(target=lambda: said.append(str(meet(Cluster(addresses, 1), {}))))
    second.start()
    meet(Cluster(addresses, 2), {})
    first.join()
    second.join()
    assert said == ["None", "None"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_port_that_is_taken_is_said(rank: int) -> None:
    addresses = tuple(free_addresses(2))
    taken = ("127.0.0.1", int(addresses[rank].rpartition(":")[2]))
    with socket.create_server(taken), pytest.raises(InputError) as error:
        meet(Cluster(addresses, rank), {}, 5.0)
    assert f"worker {rank} of 2" in one_line(error)
    assert "give TF_CONFIG a port that is free" in one_line(error)
