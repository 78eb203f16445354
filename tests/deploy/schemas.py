"""What Kubernetes, Vertex AI and Dataflow take, as their makers publish it for their clients."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate

GOOGLE = Path(__file__).parent / "google_schemas.json"
"""Names and types of the messages below, from the discovery documents of Google's APIs (in
``google-api-python-client`` 2.202, Apache-2.0), written by ``write_google_schemas``.
"""

VERTEX = ("aiplatform/v1", "GoogleCloudAiplatformV1CustomJobSpec")
FLEX_TEMPLATE = ("dataflow/v1b3", "ContainerSpec")
FLEX_PARAMETERS = ("dataflow/v1b3", "TemplateMetadata")


def check_kubernetes(resource: Any) -> None:
    """Raises ``kubernetes_validate.ValidationError`` where a resource is none, or has a key that
    its kind does not know.
    """
    kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


def check_google(message: tuple[str, str], value: Any) -> None:
    """Raises ``jsonschema.ValidationError`` where a value is not the message, of an API and a name
    there, or has a key that it does not know.
    """
    api, name = message
    jsonschema.validate(value, {"$ref": f"#/schemas/{name}", "schemas": _schemas()[api]})


@cache
def _schemas() -> Any:
    return json.loads(GOOGLE.read_text(encoding="utf-8"))
