"""A whole site for tests of the web edge: real service, real database, real files, real browser."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
import uvicorn
from playwright.async_api import Browser, BrowserContext, Page
from starlette.applications import Starlette

from moderation.types import Role, RoomKind
from ops.setup import assets
from server.actions.services import Services
from server.auth.requester import Requester
from server.ids import new_id
from server.main import serve_edges
from server.rooms import Room, RoomState
from server.store import rooms
from server.web.app import build_app
from server.web.settings import DemoDoor, WebSettings
from tests import harness
from tests.path.scene import on_shift

WEB = Path(__file__).parents[2] / "clients" / "web"
DOORS = (
    DemoDoor(Role.MEMBER, "a member", "Write in a room.", "Bluebell", harness.PASSWORD),
    DemoDoor(Role.MODERATOR, "a moderator", "Look at the console.", "Sam", harness.PASSWORD),
    DemoDoor(Role.CLINICIAN, "the clinician on call", "Be called.", "Dr Osei", harness.PASSWORD),
)


@dataclass
class Site:
    """A running site.

    Attributes:
        tokens: session token by name of the person.
        room: id of the one community room.
    """

    services: Services
    settings: WebSettings
    app: Starlette
    origin: str
    room: str
    tokens: dict[str, str] = field(default_factory=dict)

    def client(self, name: str | None = None) -> httpx2.AsyncClient:
        """A browser without scripts, signed in as `name`."""
        client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self.app, client=("127.0.0.1", 5)),
            base_url=self.origin,
            headers={"origin": self.origin},
        )
        if name is not None:
            client.cookies.set(self.settings.cookie, self.tokens[name])
        return client

    async def enter(self, context: BrowserContext, name: str) -> None:
        await context.add_cookies([{"name": self.settings.cookie, "value": self.tokens[name], "url": self.origin}])


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    """One database is enough here: what differs between the two is below the actions."""
    path = tmp_path / "evenkeel.db"
    harness.copy_sqlite_template(path)
    url = f"sqlite:///{path}"
    async with harness.open_services(url) as running:
        yield running


@pytest.fixture(scope="session")
def built() -> Path:
    """The browser's files, built from the tree as it is now."""
    assets.build(WEB)
    return WEB


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket on a free port of this machine."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


@pytest.fixture
async def site(services: Services, built: Path, listener: socket.socket) -> Site:
    """Two members, a moderator, a clinician, one room, and the web edge over them."""
    port = listener.getsockname()[1]
    origin = f"http://127.0.0.1:{port}"
    settings = WebSettings(
        hosts=frozenset({f"127.0.0.1:{port}"}),
        origins=frozenset({origin}),
        tls=False,
        secret=services.secret,
        web=built,
        rules_version=services.settings.rules_version,
        doors=DOORS,
    )
    room = Room(new_id(), RoomKind.COMMUNITY, "The evening room", "For the end of the day.", RoomState.OPEN, None)
    await services.store.write(lambda tx: rooms.create_room(tx, room))
    made = Site(services, settings, build_app(services, settings=settings), origin, room.id)
    for name in ("Bluebell", "Heron"):
        made.tokens[name] = (await harness.registered(services, name)).token
    for name, role in (("Sam", Role.MODERATOR), ("Dr Osei", Role.CLINICIAN)):
        made.tokens[name] = (await harness.staff_signed_in(services, name, role)).token
    return made


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.answering.set()


@pytest.fixture
async def served(site: Site, listener: socket.socket) -> AsyncIterator[Site]:
    """The same site, answering on its port."""
    server = _Server(uvicorn.Config(site.app, log_level="error", lifespan="off", ws="none"))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]))
        await server.answering.wait()
        try:
            yield site
        finally:
            server.should_exit = True


@dataclass
class House:
    """A whole running service.

    Attributes:
        tokens: session token by name of the person.
        members: the two members by name.
    """

    services: Services
    origin: str
    room: str
    tokens: dict[str, str]
    members: dict[str, Requester]
    browser: Browser

    async def open(self, name: str, path: str) -> Page:
        """The page as that person, connected."""
        context = await self.browser.new_context()
        await context.add_cookies([{"name": "evenkeel", "value": self.tokens[name], "url": self.origin}])
        page = await context.new_page()
        await page.goto(self.origin + path)
        await page.wait_for_selector("[data-announce=urgent]", state="attached")
        return page


@pytest.fixture
async def house(tmp_path: Path, built: Path, browser: Browser, listener: socket.socket) -> AsyncIterator[House]:
    listener.listen()
    port = listener.getsockname()[1]
    path = tmp_path / "evenkeel.db"
    harness.copy_sqlite_template(path)
    url = f"sqlite:///{path}"
    async with harness.open_services(url, port=port) as services:
        room = Room(new_id(), RoomKind.COMMUNITY, "The evening room", "For the end of the day.", RoomState.OPEN, None)
        await services.store.write(lambda tx: rooms.create_room(tx, room))
        joined = {name: await harness.registered(services, name) for name in ("Bluebell", "Heron")}
        tokens = {name: entered.token for name, entered in joined.items()}
        members = {name: entered.requester for name, entered in joined.items()}
        for name, role in (("Sam", Role.MODERATOR), ("Dr Osei", Role.CLINICIAN)):
            entered = await harness.staff_signed_in(services, name, role)
            tokens[name] = entered.token
            await on_shift(services, entered.requester)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve_edges(services, listener, stop, drain_s=0.1))
            try:
                yield House(services, f"http://127.0.0.1:{port}", room.id, tokens, members, browser)
            finally:
                for context in browser.contexts:
                    with contextlib.suppress(Exception):
                        await context.close()
                stop.set()


@pytest.fixture
async def page_of_nothing(browser: Browser, served: Site) -> AsyncIterator[Page]:
    """A page of the site's own origin in which a module can be loaded and called."""
    async with contextlib.AsyncExitStack() as stack:
        context = await browser.new_context(bypass_csp=True)
        stack.push_async_callback(context.close)
        page = await context.new_page()
        await page.goto(f"{served.origin}/help")
        yield page
