"""Names of the served signatures, and of their inputs and outputs that are no features."""

from pathlib import Path

DEFAULT_SIGNATURE = "serving_default"


RANK_SIGNATURE = "rank"
"""Scores one user's candidates: what they share is sent once, so its inputs have different first
dimensions.
"""


EXAMPLES = "examples"
"""The signature that takes serialized ``tf.Example``, and its input."""


DOMAIN = "domain"
"""The input that names the domain; a request gives it once for all rows that do not carry it
themselves.
"""


LIST_LENGTH = "max_length="
"""What the second dimension of a list's input is called, with the number of elements that the model
reads after it: requests that all pad their lists to it can be joined without more padding.
"""


ALONG = "along="
"""What the first dimension of a list's input is called where lists have as many elements as one
another in every row, with the name of the first of them after it.
"""


SERVED_DOMAIN = "served_domain"
"""The output that says whose kernel has answered each row."""

DOMAINS = "domains"
"""The output that lists the domains whose scores stand side by side."""


WARM_UP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
"""Where TensorFlow Serving looks for a version's warm-up requests: records of ``PredictionLog``."""
