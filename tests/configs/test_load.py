"""YAML files and ``--set`` overrides: what is read, and the one line that anything else is
refused with.
"""

import re
from pathlib import Path

import pytest
import yaml

from configs import ConfigError, load_experiment
from configs.cli import CommandParser, add_config_arguments, read_config, run
from tests.configs import CONFIG, accept, refusal

SHIPPED = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_config_loads(path: Path) -> None:
    assert load_experiment(path).name == path.stem


def test_both_configs_are_shipped() -> None:
    assert {"globo.yaml", "quickstart.yaml"} <= {path.name for path in SHIPPED}


def test_a_file_and_its_text_are_the_same_experiment(config: Path) -> None:
    assert load_experiment(config) == load_experiment(str(config)) == accept()


def test_a_reloaded_dump_is_the_same_experiment() -> None:
    experiment = accept()
    assert accept(text=yaml.safe_dump(experiment.model_dump(mode="json"))) == experiment


def refused_file(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_unreadable_files(tmp_path: Path, config: Path) -> None:
    assert "No such file" in refused_file(tmp_path / "missing.yaml")
    assert "Is a directory" in refused_file(tmp_path)
    assert "Not a directory" in refused_file(config / "below.yaml")


def test_text_that_is_no_utf8(config: Path) -> None:
    config.write_bytes(CONFIG.encode() + b"# \xff")
    assert "UTF-8" in refused_file(config)


def test_a_file_may_hold_a_million_bytes_and_not_one_more(config: Path) -> None:
    config.write_text(CONFIG + "#" * (1_000_000 - len(CONFIG)))
    assert load_experiment(config).name == "shop"
    config.write_text(CONFIG + "#" * (1_000_001 - len(CONFIG)))
    assert "at most 1000000 bytes, received 1000001" in refused_file(config)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("name: [shop", ":1:12"),
        ("name: shop\n\tdata: {}", ":2:1"),
        ("name: shop\ndata: {user: a\n  time: b}", ":3:7"),
        ("name: 'shop", ":1:12"),
        ("name: *nothing", ":1:7"),
    ],
)
def test_text_that_is_no_yaml_is_refused_with_line_and_column(
    config: Path, text: str, where: str
) -> None:
    config.write_text(text)
    assert f"{config}{where}: not valid YAML" in refused_file(config)


@pytest.mark.parametrize(
    "text",
    [
        CONFIG + "seed: " + "9" * 5000,
        "[" * 100_000,
        "name: \0",
        "? {a: b}\n: c",
    ],
    ids=[
        "5000 digits",
        "100 thousand brackets",
        "null byte",
        "mapping as a key",
    ],
)
def test_yaml_that_its_reader_stumbles_over(text: str) -> None:
    assert "not valid YAML" in refusal(text=text)


@pytest.mark.parametrize(
    ("text", "received"),
    [
        ("", "NoneType"),
        ("# nothing", "NoneType"),
        ("[a, b]", "list"),
        ("shop", "str"),
        ("7", "int"),
    ],
)
def test_yaml_that_is_no_mapping(text: str, received: str) -> None:
    assert refusal(text=text) == f"config: expected a YAML mapping, received {received}"


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system [exit]",
        "!!python/name:os.system",
        "!!python/tuple [a]",
        "!!python/object:configs.Experiment {}",
        "!x y",
    ],
)
def test_yaml_tags_cannot_make_objects(value: str) -> None:
    assert "could not determine a constructor for the tag" in refusal(text=f"name: {value}")
    assert "could not determine a constructor for the tag" in refusal(f"name={value}")


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("seed=5", "seed", 5),
        ("data.weight=~", "data.weight", None),
        ("finetune.learning_rate=1.0e-2", "finetune.learning_rate", 0.01),
        ("kernel.residual=false", "kernel.residual", False),
        ("backbone.expert_layers=[3, 2]", "backbone.expert_layers", (3, 2)),
        ("backbone.debias.layers=[4]", "backbone.debias.layers", (4,)),
        ("features.user.vocabulary.max_size=9", "features.user.vocabulary.max_size", 9),
        ("features.city={kind: categorical, side: user}", "features.city.side", "user"),
        ("data.input=gs://logs/a=b/*.csv", "data.input", "gs://logs/a=b/*.csv"),
        ("data.row_key=[]", "data.row_key", ()),
        ("finetune.split='pretrain'", "finetune.split", "pretrain"),
    ],
)
def test_overrides_are_yaml_at_a_path(override: str, path: str, value: object) -> None:
    found: object = accept(override)
    for key in path.split("."):
        found = found[key] if isinstance(found, dict) else getattr(found, key)
    assert found == value


def test_an_override_makes_the_sections_on_its_way() -> None:
    text = CONFIG.replace("backbone: {debias: {feature: position}}", "backbone:").replace(
        "pretrain: {epochs: 1}", ""
    )
    experiment = accept("backbone.debias.feature=position", "pretrain.epochs=7", text=text)
    assert (experiment.backbone.debias.feature, experiment.pretrain.epochs) == ("position", 7)


def test_the_last_override_wins() -> None:
    assert accept("seed=1", "seed=2").seed == 2
    assert accept("kernel={width: 3}", "kernel.width=4").kernel.width == 4


@pytest.mark.parametrize("override", ["seed", "=5", "", ".seed=5", "seed.=5", "data..user=u"])
def test_overrides_without_key_or_value(override: str) -> None:
    assert refusal(override) == f"--set {override}: expected key.path=value"


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("name.x=1", "name"),
        ("data.user.name.first=1", "data.user"),
        ("cross_topics.0.1=1", "cross_topics"),
    ],
)
def test_an_override_below_a_value_is_refused(override: str, where: str) -> None:
    assert refusal(override) == f"--set {override}: '{where}' holds a value, not a section"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("kernel=3", "kernel: "),
        ("data=", "data: "),
        ("seed=", "seed: input should be a valid integer, received None"),
        ("features=[]", "features: "),
        ("seed=[1", "--set seed=[1:1:3: not valid YAML"),
        ("splits.test.start=2024-02-30", "splits.test.start: input should be a valid datetime"),
        ("splits.test.start=20240102", "20240102 could be a date or seconds since 1970"),
        ("splits.test.start='20240102'", "20240102 could be a date or seconds since 1970"),
        ("kernel.widht=3", "kernel: unknown key 'widht'; did you mean 'width'?"),
        ("kernell.width=3", "unknown key 'kernell'; did you mean 'kernel'?"),
    ],
)
def test_overrides_are_validated_like_the_file(override: str, said: str) -> None:
    assert said in refusal(override)


def test_every_mistake_is_named_with_its_path_in_one_line() -> None:
    message = refusal("kernel.width=0", "features.price.side=nobody", "finetune.beta=.nan")
    for path in ("kernel.width: ", "features.price.side: ", "finetune.beta: "):
        assert path in message
    assert re.search(r"kernel\.width: [^;]*received 0", message)


def run_command(arguments: list[str]) -> None:
    def command() -> None:
        parser = CommandParser(prog="command")
        add_config_arguments(parser)
        print(read_config(parser.parse_args(arguments)).seed)

    run(command)


def test_a_command_reads_its_config(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_command(["--config", str(config), "--set", "seed=4", "--set", "seed=5"])
    assert capsys.readouterr() == ("5\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--config", "missing.yaml"],
            "error: missing.yaml: cannot be read: No such file or directory",
        ),
        ([], "the following arguments are required: --config"),
        (["--conf", "x"], "required: --config"),
        (["--config", "x", "--set"], "--set: expected one argument"),
    ],
)
def test_a_command_fails_with_one_line_and_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command(arguments)
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_a_line_break_in_a_key_stays_one_line(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_command(["--config", str(config), "--set", "a\nb=1"])
    assert capsys.readouterr().err.count("\n") == 1


def test_ctrl_c_is_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run(interrupted)
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"
