"""Ids that follow from what they are of, so that whoever makes them makes the same ones."""

from __future__ import annotations

import hashlib

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's


def derived_id(prefix: str, *parts: str) -> str:
    """`prefix` and 26 characters (130 bits) that follow from it and the parts."""
    digest = hashlib.sha256("\n".join((prefix, *parts)).encode()).digest()
    number = int.from_bytes(digest[:17], "big") >> 6
    return prefix + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
