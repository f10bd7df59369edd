"""Addresses and names that nobody may make us call.

An own list, because `ipaddress.is_global` calls multicast, 6to4, NAT64 and some clouds' metadata addresses global.
IPv6 is the other way round: only 2000::/3 has public addresses, so all else is refused without being named.
"""

from __future__ import annotations

import ipaddress

from worker.webhook_urls import Address

_NEVER_IPV4 = [
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "100.100.100.200/32",  # Alibaba's metadata
        "168.63.129.16/32",  # Azure's host
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "192.0.0.0/24",  # protocol assignments, and Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
]
_PRIVATE_IPV4 = [
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
]
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
_NEVER_IPV6 = [
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID …
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address within
        "3fff::/20",  # documentation
        "fd00:ec2::/32",  # AWS's metadata, in what is otherwise private
    )
]
_PRIVATE_IPV6 = [ipaddress.IPv6Network(text) for text in ("::1/128", "fc00::/7")]

_METADATA_NAMES = ("metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal")
_PRIVATE_SUFFIXES = (
    *("localhost", "local", "localdomain", "internal", "intranet", "private", "corp", "home", "lan"),
    *("home.arpa", "in-addr.arpa", "ip6.arpa", "onion"),
)


def plain_address(address: Address) -> Address:
    """The IPv4 address within an IPv4-mapped one; any other as it is. Sockets treat both alike, so do the rules."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def refused_address(address: Address, *, allow_private: bool) -> bool:
    """Whether nobody may make us connect there. `allow_private` frees loopback and private networks, nothing else."""
    plain = plain_address(address)
    if isinstance(plain, ipaddress.IPv4Address):
        if any(plain in network for network in _NEVER_IPV4):
            return True
        return not allow_private and any(plain in network for network in _PRIVATE_IPV4)
    if plain.scope_id is not None or any(plain in network for network in _NEVER_IPV6):
        return True
    if allow_private and any(plain in network for network in _PRIVATE_IPV6):
        return False
    return plain not in _PUBLIC_IPV6


def refused_name(host: str, *, allow_private: bool) -> bool:
    """Whether the name can only mean something inside: metadata, this host, a private zone, a single word."""
    if host in _METADATA_NAMES:
        return True
    if allow_private:
        return False
    return "." not in host or host.endswith(tuple(f".{suffix}" for suffix in _PRIVATE_SUFFIXES))
