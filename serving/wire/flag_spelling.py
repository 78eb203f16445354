"""How the commands of this package spell their flags."""


def with_dashes(word: str) -> str:
    """``--model_name=a_b`` -> ``--model-name=a_b``: TensorFlow Serving's spelling of a flag to
    ours; other words stay.
    """
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value if flag.startswith("--") else word
