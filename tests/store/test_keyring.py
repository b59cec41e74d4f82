"""Which data keys are remembered."""

from __future__ import annotations

import pytest

from server.actions.services import Services
from server.store.keys import Keyring, Realm, Retention
from server.store.unit import Tx


async def test_the_key_that_was_used_last_is_kept(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the bound, the key that was longest unused is forgotten, not the one that is asked for all the time."""
    monkeypatch.setattr("server.store.keys.CACHED_KEYS", 2)
    ring: Keyring = services.store.keys
    kind = (Realm.COMMUNITY, Retention.COMMUNITY_POST)

    def make(tx: Tx) -> None:
        for name in ("busy", "idle", "new"):
            ring.create(tx, name, *kind)

    await services.store.write(make)
    for name in ("busy", "idle"):
        await services.store.read(ring.load(name, *kind))
    assert ring.of("busy", *kind) is not None
    await services.store.read(ring.load("new", *kind))
    assert ring.of("busy", *kind) is not None
    assert ring.of("idle", *kind) is None
