"""CloudEvents 1.0 over HTTP: whatever the mode, an event becomes the one JSON object that its structured mode has.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from urllib.parse import unquote

from headwater.errors import UserError

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MARK = "ce-specversion"
_NEEDED = ("specversion", "id", "source", "type")


def from_binary(headers: Mapping[str, str], content_type: str, body: bytes) -> bytes:
    """The event of a request in binary mode: attributes in `ce-` headers, data in the body.

    Args:
        headers: of the request, names in lower case.
        content_type: of the body, without parameters; empty if there is none.
        body: the data.

    Raises:
        UserError: an attribute is missing, or the data is not the JSON that it is said to be.
    """
    event = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    missing = [f"ce-{name}" for name in _NEEDED if not event.get(name)]
    if missing:
        raise UserError(f"a CloudEvent in binary mode needs the headers {', '.join(missing)}")
    if content_type:
        event["datacontenttype"] = content_type
    head = json.dumps(event).encode()[:-1]
    if not body:
        return head + b"}"
    if not _is_json(content_type):
        return head + b', "data_base64": "' + base64.b64encode(body) + b'"}'
    try:
        json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the data is not JSON: {error}") from error
    return head + b', "data": ' + body + b"}"


def _is_json(content_type: str) -> bool:
    return content_type in ("", "application/json", "text/json") or content_type.endswith("+json")
