"""Several models and versions: policies, labels, and a config that changes while the server
runs.
"""

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
)

from serving.server.model_config import ModelConfig, VersionPolicy, model_configs
from serving.server.model_versions import State
from serving.server.settings_protos import ModelServerConfig
from serving.wire.errors import StatusError
from serving.wire.messages import ModelSpec
from tests.serving.conftest import NAME, Peer, Slow, good_request, serving
from tests.serving.server.test_server import wait_for

Publish = Callable[[Path, int], None]


def request(name: str = NAME, version: int | None = None, label: str = "") -> Message:
    asked = good_request()
    asked.model_spec.CopyFrom(ModelSpec(name=name, version_label=label or None))
    if version is not None:
        asked.model_spec.version.value = version
    return asked


def answered(peer: Peer, *arguments: Any, **named: Any) -> int:
    response = peer.predict(request(*arguments, **named))
    assert (
        response.outputs["version"].int64_val[0] % 2 == response.model_spec.version.value % 2
    )  # weights are the version's own
    return int(response.model_spec.version.value)


def config(text: str) -> Any:
    return text_format.Parse(text, ModelServerConfig())


def entry(name: str, base: Path, rest: str = "") -> str:
    return f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {rest} }}'


def listed(*entries: str) -> Any:
    return config(f"model_config_list {{ {' '.join(entries)} }}")


def reload(peer: Peer, *entries: str) -> model_management_pb2.ReloadConfigResponse:
    return peer.management.HandleReloadConfigRequest(
        model_management_pb2.ReloadConfigRequest(config=listed(*entries)), timeout=20
    )


def refused_reload(peer: Peer, *entries: str) -> tuple[str, str]:
    return peer.refused(
        model_management_pb2.ReloadConfigRequest(config=listed(*entries)),
        peer.management.HandleReloadConfigRequest,
    )


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        (VersionPolicy(), [12]),
        (VersionPolicy(latest=2), [11, 12]),
        (VersionPolicy(latest=9), [9, 11, 12]),
        (VersionPolicy(latest=None), [9, 11, 12]),
        (VersionPolicy(specific=frozenset({9, 11})), [9, 11]),
    ],
)
def test_a_policy_says_which_versions_are_served(
    base: Path, publish: Publish, policy: VersionPolicy, served: list[int]
) -> None:
    publish(base, 11)
    publish(base, 12)
    with serving(base, policy=policy) as peer:
        assert not peer.problems and peer.model.versions == served
        assert answered(peer) == served[-1]
        for version in (9, 11, 12):
            if version in served:
                assert answered(peer, version=version) == version
            else:
                code, message = peer.refused(request(version=version))
                assert (code, message) == (
                    "NOT_FOUND",
                    f"Servable not found for request: Specific({NAME}, {version})",
                )


def test_versions_join_and_leave_as_the_policy_says(base: Path, publish: Publish) -> None:
    with serving(base, policy=VersionPolicy(latest=2)) as peer:
        for version, served in ((10, [9, 10]), (11, [10, 11])):
            publish(base, version)
            assert not peer.models.refresh() and peer.model.versions == served
        assert peer.lines == [
            f"{NAME} version 10 is served, beside version 9",
            f"{NAME} version 11 is served, in place of version 9",
        ]
        wait_for(lambda: peer.model.statuses()[9].state is State.END)
        (base / "11").rename(base / "withdrawn")
        assert not peer.models.refresh() and peer.model.versions == [9, 10]


def test_a_version_that_cannot_be_loaded_takes_no_place(base: Path, publish: Publish) -> None:
    publish(base, 10)
    with serving(base, policy=VersionPolicy(latest=2)) as peer:
        (base / "11").mkdir()
        assert "version 11 could not be loaded" in peer.models.refresh()[NAME]
        assert peer.model.versions == [9, 10]


def test_a_specific_version_that_is_missing_is_waited_for(base: Path, publish: Publish) -> None:
    with serving(base, policy=VersionPolicy(specific=frozenset({10}))) as peer:
        assert (
            peer.problems == {NAME: f"no version 10 of model {NAME} in {base}"}
            and not peer.models.available
        )
        assert peer.refused(request())[0] == "NOT_FOUND"
        publish(base, 10)
        assert not peer.models.refresh() and answered(peer) == 10


def test_models_answer_by_name(base: Path, exported: dict[int, Path]) -> None:
    with serving(base, ModelConfig("other", exported[10].parent)) as peer:
        assert (answered(peer), answered(peer, "other"), answered(peer, "other", version=10)) == (
            9,
            10,
            10,
        )
        assert peer.refused(request("other", version=9))[0] == "NOT_FOUND"


def test_labels(base: Path, publish: Publish) -> None:
    publish(base, 10)
    with serving(base, policy=VersionPolicy(latest=2)) as peer:
        both = "model_version_policy { latest { num_versions: 2 } }"
        labels = (
            'version_labels { key: "stable" value: 9 } version_labels { key: "canary" value: 10 }'
        )
        assert reload(peer, entry(NAME, base, f"{both} {labels}")).status.error_code == 0
        assert (answered(peer, label="stable"), answered(peer, label="canary"), answered(peer)) == (
            9,
            10,
            10,
        )
        assert peer.refused(request(label="beta")) == (
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: beta",
        )
        assert peer.refused(request("nope", label="stable"))[0] == "INVALID_ARGUMENT"

        early = entry(NAME, base, f'{both} version_labels {{ key: "stable" value: 11 }}')
        words = (
            f"Request to assign label to version 11 of model {NAME}, which is not currently"
            " available for inference"
        )
        assert refused_reload(peer, early) == ("FAILED_PRECONDITION", words)
        assert answered(peer, label="stable") == 9
        publish(base, 11)
        peer.models.refresh()
        reload(peer, early)
        assert answered(peer, label="stable") == 11


def test_labels_may_come_before_versions_where_that_is_allowed(
    base: Path, publish: Publish
) -> None:
    first = ModelConfig(NAME, base, VersionPolicy(latest=None), {"stable": 10})
    with pytest.raises(StatusError, match="FAILED_PRECONDITION"):
        Peer(first)
    peer = Peer(first, labels_before_versions=True)
    try:
        assert peer.refused(request(label="stable")) == (
            "NOT_FOUND",
            f"Servable not found for request: Specific({NAME}, 10)",
        )
        publish(base, 10)
        peer.models.refresh()
        assert answered(peer, label="stable") == 10
        moved = entry(
            NAME, base, 'model_version_policy { all {} } version_labels { key: "stable" value: 11 }'
        )
        assert (
            refused_reload(peer, moved)[0] == "FAILED_PRECONDITION"
        )  # an existing label moves to a version that can be asked
    finally:
        peer.close()


def test_a_reload_adds_changes_and_removes_models(
    base: Path, publish: Publish, exported: dict[int, Path]
) -> None:
    publish(base, 10)
    with serving(base) as peer:
        reload(
            peer,
            entry(NAME, base, "model_version_policy { all {} }"),
            entry("other", exported[10].parent),
        )
        assert (peer.model.versions, answered(peer, "other")) == ([9, 10], 10)
        reload(peer, entry("other", exported[10].parent))
        assert peer.refused(request()) == (
            "NOT_FOUND",
            f"Servable not found for request: Latest({NAME}); models of this server: other",
        )
        wait_for(
            lambda: all(status.state is State.END for status in peer.model.statuses().values())
        )
        asked = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": NAME})
        assert peer.refused(asked, peer.management.GetModelStatus)[0] == "NOT_FOUND"
        assert answered(peer, "other") == 10


def test_other_models_come_and_go_without_a_failed_request(
    base: Path, publish: Publish, exported: dict[int, Path]
) -> None:
    other = entry("other", exported[10].parent)
    with serving(base) as peer, ThreadPoolExecutor(2) as pool:
        stop = threading.Event()

        def ask() -> set[int]:
            seen = set()
            while not stop.is_set():
                seen.add(answered(peer))
            return seen

        askers = [pool.submit(ask) for _ in range(2)]
        try:
            for entries in (
                [entry(NAME, base), other],
                [entry(NAME, base)],
                [other, entry(NAME, base)],
            ):
                reload(peer, *entries)
            publish(base, 10)
            reload(peer, entry(NAME, base))
        finally:
            stop.set()
        assert {9} <= askers[0].result() | askers[1].result() <= {9, 10}


def test_a_removed_model_finishes_what_it_is_running(base: Path) -> None:
    with serving(base, load=Slow) as peer:
        future = peer.prediction.Predict.future(good_request(), timeout=10)
        with peer.model.acquire() as servable:
            assert servable.entered.wait(5)
        reload(peer, entry("other", base))
        assert not servable.closed.is_set()
        servable.go.set()
        assert future.result().model_spec.version.value == 9
        assert servable.closed.wait(5)


def test_a_reload_with_a_model_that_cannot_be_served_says_so_and_changes_nothing(
    base: Path, tmp_path: Path, exported: dict[int, Path]
) -> None:
    with serving(base) as peer:
        (tmp_path / "broken" / "1").mkdir(parents=True)
        code, message = refused_reload(
            peer,
            entry("other", exported[10].parent),
            entry("new", tmp_path / "broken"),
            entry("none", tmp_path / "nowhere"),
        )
        assert code == "UNKNOWN" and message.startswith(
            "Some models did not become available: {new version 1 could not be loaded"
        )
        assert "nowhere" in message
        assert answered(peer) == 9 and peer.models.available
        assert [model.name for model in peer.models] == [NAME]
        assert not peer.models.refresh()
        # another base path that holds nothing, for a model that is served
        code, message = refused_reload(peer, entry(NAME, tmp_path / "broken"))
        assert code == "UNKNOWN" and answered(peer) == 9 and peer.model.base_path == base
        # a broken version beside a good one is no reason to refuse labels or policies
        (base / "11").mkdir()
        reload(peer, entry(NAME, base, "model_version_policy { latest { num_versions: 2 } }"))
        assert answered(peer) == 9


def test_a_reload_to_another_base_path_takes_its_versions(
    base: Path, exported: dict[int, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of the same number too: it is other weights."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(exported[10], elsewhere / "9")
    with serving(base) as peer:
        before = peer.predict(request()).outputs["version"].int64_val[0]
        reload(peer, entry(NAME, elsewhere))
        assert (before, peer.predict(request()).outputs["version"].int64_val[0]) == (9, 10)
        assert peer.models.get(NAME) is not peer.model
        wait_for(lambda: not peer.model.versions)


@pytest.mark.parametrize(
    "path", ["/models\0", "\0", "/models\0/../.."], ids=["at the end", "alone", "within"]
)
def test_a_path_that_no_file_can_have_is_refused_and_polling_goes_on(
    base: Path, publish: Publish, path: str
) -> None:
    with serving(base) as peer:
        peer.models.poll(0.05)
        asked = model_management_pb2.ReloadConfigRequest(
            config={
                "model_config_list": {
                    "config": [{"name": NAME, "base_path": path, "model_platform": "tensorflow"}]
                }
            }
        )
        code, _ = peer.refused(asked, peer.management.HandleReloadConfigRequest)
        assert code == "INVALID_ARGUMENT"
        publish(base, 10)
        wait_for(lambda: answered(peer) == 10)


def test_peers_change_nothing_unless_they_are_allowed_to(base: Path) -> None:
    with serving(base, reload_root=None) as peer:
        code, message = refused_reload(peer, entry("other", base))
        assert code == "PERMISSION_DENIED" and "--reload-config-root" in message
        assert answered(peer) == 9


def test_peers_name_paths_below_the_root_alone(
    base: Path, tmp_path: Path, exported: dict[int, Path]
) -> None:
    allowed, outside = tmp_path / "allowed", exported[10].parent
    (allowed / "inner").mkdir(parents=True)
    shutil.copytree(exported[9], allowed / "inner" / "1")
    (allowed / "link").symlink_to(outside)
    with serving(base, reload_root=allowed) as peer:
        for path in (outside, tmp_path, allowed / "inner" / ".." / "..", allowed / "link"):
            code, _ = refused_reload(peer, entry("other", path))
            assert code == "PERMISSION_DENIED" and answered(peer) == 9
        reload(peer, entry("other", allowed / "inner"))
        assert answered(peer, "other") == 1


def test_what_fails_in_a_loop_is_said_once_and_does_not_end_it(base: Path) -> None:
    calls: list[int] = []

    def fails() -> None:
        calls.append(1)
        raise ValueError(f"embedded null byte {len(calls) // 4}")

    with serving(base) as peer:
        peer.models.every(0.01, fails, "poll-something")
        wait_for(lambda: len(calls) > 10)
        assert peer.lines[:2] == [
            "poll-something: ValueError: embedded null byte 0; it goes on",
            "poll-something: ValueError: embedded null byte 1; it goes on",
        ]


def test_one_model_that_cannot_be_looked_at_keeps_no_other_from_being_refreshed(
    base: Path, publish: Publish, exported: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = ModelConfig("strange", exported[10].parent)
    with serving(base, strange) as peer:
        model = peer.models.get("strange")
        assert model is not None
        monkeypatch.setattr(model, "_refresh", lambda: 1 / 0)
        publish(base, 10)
        assert "ZeroDivisionError" in peer.models.refresh()["strange"] and answered(peer) == 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("custom_model_config {}", "custom_model_config is not supported"),
        (
            f"model_config_list {{ {entry('a', Path('/x'))} {entry('a', Path('/y'))} }}",
            "Illegal to list model a multiple times",
        ),
        (f"model_config_list {{ {entry('', Path('/x'))} }}", "has no name"),
        (
            f"model_config_list {{ {entry('a', Path('x'))} }}",
            'absolute path; got base_path\\(\\)="x"',
        ),
        (
            'model_config_list { config { name: "a" base_path: "/x" } }',
            'model_platform must be "tensorflow"',
        ),
        (
            'model_config_list { config { name: "a" base_path: "/x" model_platform: "caffe" } }',
            'received "caffe"',
        ),
        (
            f"model_config_list {{ {entry('a', Path('/x'), 'logging_config {}')} }}",
            "logging_config is not supported",
        ),
        (
            (
                "model_config_list {"
                f" {entry('a', Path('/x'), 'model_version_policy { specific {} }')} }}"
            ),
            "lists no versions",
        ),
    ],
)
def test_bad_configs(text: str, words: str) -> None:
    with pytest.raises(StatusError, match=words) as caught:
        model_configs(config(text))
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_policies_of_a_config() -> None:
    texts = {
        "": VersionPolicy(),
        "model_version_policy { latest {} }": VersionPolicy(),
        "model_version_policy { latest { num_versions: 3 } }": VersionPolicy(latest=3),
        "model_version_policy { all {} }": VersionPolicy(latest=None),
        "model_version_policy { specific { versions: 4 versions: 7 } }": VersionPolicy(
            specific=frozenset({4, 7})
        ),
    }
    for text, policy in texts.items():
        assert [found.policy for found in model_configs(listed(entry("a", Path("/x"), text)))] == [
            policy
        ]


def test_a_reload_of_anything_but_a_list_is_refused(peer: Peer) -> None:
    words = (
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is"
        " currently supported"
    )
    assert peer.refused(
        model_management_pb2.ReloadConfigRequest(), peer.management.HandleReloadConfigRequest
    ) == (
        "INVALID_ARGUMENT",
        words,
    )
