"""A look at a web server for `headwater doctor`: whether it answers, the way there, and its clock."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import httpx

from headwater.clock import Clock
from headwater.errors import DestinationStopped, DestinationUnavailable, HeadwaterError
from headwater.finding import Finding, skewed, way
from headwater.outgoing import AddressRefused, client

LOOK_S = 10.0


def look_at(url: str, clock: Clock, *, allow_private: bool, ca_file: str | None = None) -> list[Finding]:
    """Asks for the head of the server's first page, which changes nothing; any answer will do.

    Args:
        url: an address at the server; what stands after the host is not called.
        clock: ours, to be compared with the answer's Date.
        allow_private: whether the server may have a loopback or private address.
        ca_file: authorities to trust beside the machine's own.

    Raises:
        DestinationUnavailable: it does not answer.
        DestinationStopped: it is not to be called.
    """
    address = httpx.URL(url)
    root = address.copy_with(raw_path=b"/")
    try:
        with client(allow_private=allow_private, timeout_s=LOOK_S, ca_file=ca_file, clock=clock) as asking:
            began_us = clock.now_us()
            answer = asking.head(root)
            middle_us = (began_us + clock.now_us()) // 2
    except AddressRefused as error:
        raise DestinationStopped(error.message, hint=error.hint) from None
    except (httpx.HTTPError, HeadwaterError) as error:
        hint = "is the server running and reachable? is its certificate one that this machine trusts?"
        raise DestinationUnavailable(f"{root} does not answer: {error}", hint=hint) from None
    found = [
        Finding("reach", "ok", f"{root} answers ({answer.status_code} to HEAD)"),
        way(address.host, encrypted=address.scheme == "https", mend="https:// in the sync's url"),
    ]
    try:
        theirs_s = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
    except ValueError:
        return found
    return [*found, skewed(theirs_s + 0.5 - middle_us / 1e6, known_to_s=0.5)]
