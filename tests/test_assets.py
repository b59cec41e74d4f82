"""What browsers are served: reviewed files only, compressed, and nothing that asks another host."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ops.setup import assets

if TYPE_CHECKING:
    from playwright.async_api import Browser

STRICT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


@dataclass(frozen=True)
class Built:
    """The built folder and its manifest's entries by path."""

    folder: Path
    files: dict[str, dict[str, Any]]


@pytest.fixture
def built() -> Built:
    manifest = assets.WEB / "built" / "manifest.json"
    if not manifest.exists():
        pytest.fail("The browser files are not built: run `make setup`.", pytrace=False)
    read = json.loads(manifest.read_text(encoding="utf-8"))
    return Built(folder=manifest.parent / read["hash"], files=read["files"])


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """A copy of the little that a build starts from, to be spoilt."""
    for path in assets.VENDORED_SHA256:
        target = tmp_path / "node_modules" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(assets.WEB / "node_modules" / path, target)
    (tmp_path / "static").mkdir()
    return tmp_path


def test_manifest_tells_the_truth(built: Built) -> None:
    """Every file that is served is in the manifest with its true sum and sizes, and its .gz unpacks to it."""
    served = {path.relative_to(built.folder).as_posix() for path in built.folder.rglob("*") if path.is_file()}
    assert served == set(built.files) | {f"{path}.gz" for path in built.files}
    for path, entry in built.files.items():
        content, compressed = (built.folder / path).read_bytes(), (built.folder / f"{path}.gz").read_bytes()
        assert gzip.decompress(compressed) == content
        assert entry == {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "gzip_size": len(compressed),
        }


def test_styles_ask_no_other_host_and_bring_no_fonts(built: Built) -> None:
    """No stylesheet has a web font, and each address in one is that of a file beside it."""
    for path in built.files:
        if not path.endswith(".css"):
            continue
        style = (built.folder / path).read_text(encoding="utf-8")
        assert "@font-face" not in style
        assert "http://" not in style.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in style
        for address in re.findall(r"url\(\s*[\"']?([^\"')]+)", style):
            assert address.startswith("data:") or ((built.folder / path).parent / address).is_file(), address


def test_a_first_visit_stays_small(built: Built) -> None:
    """All scripts and styles together stay under 120 kB compressed: 2.4 s on a phone at 400 kbit/s."""
    sizes = [entry["gzip_size"] for path, entry in built.files.items() if path.endswith((".css", ".js"))]
    assert sum(sizes) < 120_000


def test_an_unreviewed_package_file_stops_the_build(web: Path) -> None:
    """A package whose bytes are not those that were reviewed builds nothing."""
    script = web / "node_modules" / "@msgpack/msgpack/dist.umd/msgpack.min.js"
    script.write_bytes(script.read_bytes() + b"\n")
    with pytest.raises(assets.AssetError, match="has SHA-256"):
        assets.build(web)
    assert not (web / "built").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.css", "@import 'other.css';"),
        ("page.css", "p { background: url(//elsewhere.example/a.png) }"),
        ("page.css", "@font-face { src: url(a.woff2) }"),
        ("page.js", "import { a } from 'https://elsewhere.example/a.js';"),
        ("page.js", "const a = await import('//elsewhere.example/a.js');"),
        ("page.js", "//# sourceMappingURL=page.js.map"),
    ],
)
def test_our_own_files_may_ask_no_other_host(web: Path, name: str, content: str) -> None:
    """A style or script of ours that would reach for another host stops the build."""
    (web / "static" / name).write_text(content, encoding="utf-8")
    with pytest.raises(assets.AssetError, match=name):
        assets.build(web)


def test_any_change_gives_every_file_a_new_address(web: Path) -> None:
    """One changed byte renames the folder, so nothing stale is used; the same bytes keep the name."""
    page = web / "static" / "core" / "page.js"
    page.parent.mkdir()
    page.write_text("export const page = 1;\n", encoding="utf-8")
    first = assets.build(web)
    assert assets.build(web) == first
    page.write_text("export const page = 2;\n", encoding="utf-8")
    second = assets.build(web)
    assert second != first
    assert (second / "core" / "page.js").is_file()
    assert not first.exists()


@pytest.fixture
def address(web: Path) -> Iterator[str]:
    """A page on a loopback port that uses the vendored files under the strictest policy that pages are sent with."""
    static = web / "static"
    (static / "page.html").write_text(
        '<!doctype html><title>t</title><link rel="stylesheet" href="vendor/nhsuk-frontend.min.css">'
        '<p id="out"></p><script type="module" src="page.js"></script>',
        encoding="utf-8",
    )
    (static / "page.js").write_text(
        "import { decode, encode } from './vendor/msgpack.js';\n"
        "import { initAll } from './vendor/nhsuk-frontend.min.js';\n"
        "initAll();\n"
        "document.getElementById('out').textContent = JSON.stringify(decode(encode({ n: 7, who: 'Bluebell' })));\n",
        encoding="utf-8",
    )

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Content-Security-Policy", STRICT_POLICY)
            super().end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(assets.build(web)))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_vendored_files_work_under_a_strict_policy(address: str, browser: Browser) -> None:
    """Codec and design system load and run with no inline script, no eval and no request to another host."""
    page = await browser.new_page()
    troubles: list[str] = []
    hosts: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: hosts.append(request.url))
    await page.goto(f"{address}/page.html")
    await page.wait_for_function("document.getElementById('out').textContent !== ''")
    assert await page.inner_text("#out") == '{"n":7,"who":"Bluebell"}'
    assert [said for said in troubles if "favicon" not in said and "404" not in said] == []
    assert all(url.startswith(f"{address}/") for url in hosts)
