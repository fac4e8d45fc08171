"""From the form fields of init and the one-shot call to what the client asks for (contract §1.7)."""

from __future__ import annotations

from collections.abc import Mapping

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.types import TaskRequest

_LATEST_MS = 253_402_300_799_999
"""The end of the year 9999: later dates are no dates, and clients cannot show them."""


def task_request(fields: Mapping[str, str]) -> TaskRequest:
    """The request in `fields`, unknown ones ignored. Raises BadRequest for `zipurl`, which a cluster does not fetch."""
    if fields.get("zipurl"):
        raise BadRequest("Uploads via URL are not available: send the images themselves.")
    return TaskRequest(
        name=fields.get("name", ""),
        options=fields.get("options", ""),
        skip_post_processing=fields.get("skipPostProcessing") == "true",
        webhook=fields.get("webhook", ""),
        outputs=fields.get("outputs", ""),
        date_created=_milliseconds(fields.get("dateCreated", "")),
    )


def _milliseconds(text: str) -> int | None:
    try:
        value = int(text)
    except ValueError:
        return None
    return value if 0 <= value <= _LATEST_MS else None
