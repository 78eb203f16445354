"""``python -m tests.deploy.write_google_schemas`` writes ``google_schemas.json`` anew.

It needs ``google-api-python-client``, which carries Google's discovery documents, and so an
environment of its own: Beam behaves otherwise where Google's libraries are.
"""

import importlib
import json
import re
from pathlib import Path
from typing import Any

from tests.deploy.schemas import FLEX_PARAMETERS, FLEX_TEMPLATE, GOOGLE, VERTEX

KEPT = ("type", "enum", "items")


def main() -> None:
    """Writes the schemas of the messages that are checked, and of all that they hold."""
    documents = importlib.import_module("googleapiclient.discovery_cache")
    written: dict[str, Any] = {}
    for api, name in (VERTEX, FLEX_TEMPLATE, FLEX_PARAMETERS):
        service, version = api.split("/")
        found = json.loads(documents.get_static_doc(service, version))["schemas"]
        schemas, waiting = written.setdefault(api, {}), [name]
        while waiting:
            name = waiting.pop()
            if name not in schemas:
                schemas[name] = strict(found[name])
                waiting += re.findall(r"#/schemas/(\w+)", json.dumps(schemas[name]))
    Path(GOOGLE).write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def strict(schema: Any) -> Any:
    """A schema of a discovery document as JSON Schema has it, closed to unknown keys."""
    if "$ref" in schema:
        return {"$ref": f"#/schemas/{schema['$ref']}"}
    if schema.get("type") == "any":
        return {}
    kept = {name: schema[name] for name in KEPT if name in schema}
    if schema.get("format") in ("int64", "uint64"):  # texts in JSON; YAML's numbers are taken, too
        kept["type"] = ["integer", "string"]
    if "items" in kept:
        kept["items"] = strict(kept["items"])
    if "properties" in schema:
        properties = {name: strict(one) for name, one in schema["properties"].items()}
        kept |= {"properties": properties, "additionalProperties": False}
    elif "additionalProperties" in schema:
        kept["additionalProperties"] = strict(schema["additionalProperties"])
    return kept


if __name__ == "__main__":
    main()
