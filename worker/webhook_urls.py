"""URLs that we are asked to call: one strict reading, so that what is checked is what is connected to.

Browsers, curl and Python's libraries read `https://a\\@b/` or `https://0x7f.1/` each in a way of its own. Here
whatever has two readings has none: it is refused, with a sentence that says what to write instead.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from models.errors import FieldError, InvalidInput

MAX_URL_CHARACTERS = 2048
DEFAULT_PORTS = {"https": 443, "http": 80}

# RFC 3986: pchar, "/", "?"; a "%" only before two hexadecimal digits
_TARGET = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)([^#]*)(#.*)?")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `host` is a lower-case name or an address without brackets; `path` has the query too."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def address(self) -> Address | None:
        """The address, where the URL names one."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """Host and, where it is not the scheme's own, port: what the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_url(text: str) -> Target:
    """The one reading of the URL. Raises InvalidInput: url_not_allowed, credentials_in_url."""
    if len(text) > MAX_URL_CHARACTERS:
        raise not_allowed(f"it has more than {MAX_URL_CHARACTERS:,} characters")
    if not text.isascii():
        raise not_allowed(
            "it has characters beyond ASCII; write the host as xn--… and encode the rest with %"
        )
    if any(character <= " " or character == "\x7f" for character in text):
        raise not_allowed("it has blanks or control characters")
    if "\\" in text:
        raise not_allowed("it has a backslash")
    parts = _URL.fullmatch(text)
    if parts is None:
        raise not_allowed("it must be https://HOST/…")
    scheme, authority, rest, fragment = parts[1].lower(), parts[2], parts[3], parts[4]
    if scheme not in DEFAULT_PORTS:
        raise not_allowed(f"its scheme is {scheme[:20]}, not https")
    if "@" in authority:
        raise InvalidInput(
            "The URL has a user name or password in it; anybody who sees it could use them. Verify our signature "
            "instead.",
            code="credentials_in_url",
            errors=[FieldError("/url", "must have no user name or password")],
        )
    if fragment is not None:
        raise not_allowed("it has a fragment (#…), which is never sent")
    if not _TARGET.fullmatch(rest):
        raise not_allowed("its path or query has characters that must be encoded with %")
    host, port = _host_and_port(authority, DEFAULT_PORTS[scheme])
    path = rest if rest.startswith("/") else f"/{rest}"
    target = Target(scheme, host, port, path)
    _check_second_reading(text, target)
    return target


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise not_allowed("its host is no name, IPv4 address or [IPv6 address]")
    port = default if parts[2] is None else int(parts[2])
    if not 1 <= port <= 65535:
        raise not_allowed("its port is not between 1 and 65535")
    host = parts[1].lower()
    return (_ipv6(host[1:-1]) if host.startswith("[") else _name_or_ipv4(host)), port


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise not_allowed("what is in brackets is no IPv6 address") from None


def _name_or_ipv4(host: str) -> str:
    labels = host.split(".")
    if _NUMERIC.fullmatch(
        labels[-1]
    ):  # every resolver takes such a name for an address, each by its own rules
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise not_allowed("its host is an address in an odd form; write four decimal numbers") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise not_allowed("its host is no name of letters, digits, hyphens and dots")
    return host


def _check_second_reading(text: str, target: Target) -> None:
    """The standard library must read the same host and port: a belt, should a rule above have a hole."""
    other = urlsplit(text)
    host = other.hostname or ""
    known = target.address
    same = host == target.host if known is None else ipaddress.ip_address(host) == known
    if not same or (other.port or DEFAULT_PORTS[target.scheme]) != target.port:
        raise not_allowed("it can be read in more than one way")


def not_allowed(reason: str) -> InvalidInput:
    return InvalidInput(
        f"This URL cannot be called: {reason}.",
        code="url_not_allowed",
        errors=[FieldError("/url", reason)],
    )
