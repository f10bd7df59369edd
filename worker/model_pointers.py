"""What a word means now: a log of documents in storage, each created once, of which the last one holds.

Every entry carries what the word meant before, so that the way back needs no other entry.
"""

from __future__ import annotations

from datetime import datetime

from models.errors import Conflict
from worker.jobs import Frozen, now
from worker.storage import Storage

_KEPT_STEPS = 50  # as far back as one can go


class Pointer(Frozen):
    """`earlier`: what the word meant before, oldest first; going back takes the last of them."""

    target: str
    at: datetime
    earlier: tuple[str, ...] = ()


def latest(storage: Storage, prefix: str) -> Pointer | None:
    """What holds now; None while nobody has ever said."""
    return _latest(storage, prefix)[1]


def point(storage: Storage, prefix: str, target: str, *, meant: str) -> None:
    """Makes the word mean `target`; the same again changes nothing. `meant`: what an empty log stands for."""
    while True:
        number, held = _latest(storage, prefix)
        if held is not None and held.target == target:
            return
        before = meant if held is None else held.target
        earlier = () if held is None else held.earlier
        if before != target:
            earlier = (*earlier, before)[-_KEPT_STEPS:]
        if _append(storage, prefix, number + 1, Pointer(target=target, at=now(), earlier=earlier)):
            return


def point_back(storage: Storage, prefix: str) -> str:
    """Makes the word mean what it meant before; returns that. Raises Conflict (nothing_to_roll_back)."""
    while True:
        number, held = _latest(storage, prefix)
        if held is None or not held.earlier:
            raise Conflict(
                "There is nothing to roll back: it has always meant what it means now.",
                code="nothing_to_roll_back",
            )
        *earlier, target = held.earlier
        if _append(storage, prefix, number + 1, Pointer(target=target, at=now(), earlier=tuple(earlier))):
            return target


def _latest(storage: Storage, prefix: str) -> tuple[int, Pointer | None]:
    """The number of the last entry and the entry; 0 and None where there is none."""
    key = max(storage.keys(prefix), default=None)
    if key is None:
        return 0, None
    return int(key[len(prefix) :].removesuffix(".json")), Pointer.model_validate_json(storage.read(key))


def _append(storage: Storage, prefix: str, number: int, entry: Pointer) -> bool:
    """False when another process has written that entry first."""
    return storage.create(f"{prefix}{number:06d}.json", entry.model_dump_json().encode(), "application/json")
