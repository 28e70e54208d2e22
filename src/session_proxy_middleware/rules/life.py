"""How long a session or a key is good for, and what may become of it.

Times are seconds since the epoch, handed in by the caller. A change answers the new
value, or None where there is nothing to change.
"""

from __future__ import annotations

from dataclasses import replace

from ..models import Key, Session

ENDED_KEPT = 3600.0
"""Seconds that a session which has ended is still listed."""


def alive(session: Session, now: float) -> bool:
    """Whether it has not ended, by a word or by its time."""
    return session.state != "ended" and now < session.expires_at


def seen_at(session: Session, now: float) -> Session:
    """The session as it is to be shown: one whose time is over has ended."""
    if session.state == "ended" or now < session.expires_at:
        return session
    return replace(session, state="ended")


def touched(session: Session, now: float, ttl: float | None = None) -> Session | None:
    """Its time to live begins anew; with `ttl`, another one."""
    if not alive(session, now):
        return None
    ttl = session.ttl if ttl is None else ttl
    return replace(session, ttl=ttl, expires_at=now + ttl)


def readied(session: Session, now: float, epoch: int | None = None) -> Session | None:
    """From `starting` to `running`; with `epoch`, that very registration alone."""
    if not alive(session, now) or session.state != "starting":
        return None
    if epoch is not None and session.epoch != epoch:
        return None
    return replace(session, state="running")


def drained(session: Session, now: float) -> Session | None:
    """To `draining`: what runs may finish, nothing new begins."""
    if not alive(session, now) or session.state == "draining":
        return None
    return replace(session, state="draining")


def ended(session: Session, now: float) -> Session | None:
    """To `ended`, now."""
    if not alive(session, now):
        return None
    return replace(session, state="ended", expires_at=now)


def usable(key: Key, now: float) -> bool:
    """Whether the key may be used at this time."""
    begun = key.not_before is None or now >= key.not_before
    return begun and (key.expires_at is None or now < key.expires_at)


def expiring(key: Key, at: float) -> Key | None:
    """The key, good until `at` and no longer; never longer than it was."""
    if key.expires_at is not None and key.expires_at <= at:
        return None
    return replace(key, expires_at=at)
