"""Builds the folder of files that browsers are served: `clients/web/built/`.

Decided here: what a page may be made of. The few files taken from npm packages (checked against the sums below) and
our own from `clients/web/static/` go side by side into one folder named by the hash of everything in it:

    built/manifest.json
    built/<hash>/vendor/nhsuk-frontend.min.css    without its web fonts: a page asks no other host for anything
    built/<hash>/vendor/nhsuk-frontend.min.js
    built/<hash>/vendor/msgpack.js                an ES module that exports encode, decode and the rest by name
    built/<hash>/vendor/icons/*.svg
    built/<hash>/...                              clients/web/static/ as it stands, so relative imports keep working

so every file may be cached for ever. Beside each file stands its `.gz`. The manifest is
`{"hash": str, "files": {path: {"sha256": str, "size": int, "gzip_size": int}}}`, paths relative to `built/<hash>/`,
sizes in bytes. Standard library only, because it runs before and without the rest.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

WEB = Path(__file__).resolve().parents[2] / "clients" / "web"

_NHSUK = "nhsuk-frontend/dist/nhsuk"
_MSGPACK = "@msgpack/msgpack"
_ICONS = ("arrow-down", "arrow-up-down", "arrow-up", "cross")

VENDORED_SHA256 = {
    f"{_NHSUK}/nhsuk-frontend.min.css": "ed9a60604796c0f0ffc6590b675b9d9f6f42b52e3d744ae3e708266e25a78488",
    f"{_NHSUK}/nhsuk-frontend.min.js": "6becb5e390e9734b62f8aa81d0dc297fa78c33367986a1f57a832a5f3635fa65",
    f"{_NHSUK}/assets/images/nhsuk-icon-arrow-down.svg": (
        "413e412e70e61d4b26e608507cc009ae952eb57e3a3126f55587a7cc0ee453b8"
    ),
    f"{_NHSUK}/assets/images/nhsuk-icon-arrow-up-down.svg": (
        "e5b217ca77e17e98e533c4272d2c41b88aadce5470e3af454a3359538734281b"
    ),
    f"{_NHSUK}/assets/images/nhsuk-icon-arrow-up.svg": (
        "b8bee584537e8cc275eb49974427b84e9722ac22ab76adb1b32420e3266785d7"
    ),
    f"{_NHSUK}/assets/images/nhsuk-icon-cross.svg": "694bdf45a657c8b88c958f33ab724ddcd875b8dfa2006cdd27f6d861b0a306fb",
    f"{_MSGPACK}/dist.umd/msgpack.min.js": "3e7ae27410846ac09f94674bd7b91133d6e59bd3c02508080c4139c1386b359b",
}
"""What each file taken from a package must be; a package of the same version with other bytes stops the set-up."""

MSGPACK_EXPORTS = (
    "encode",
    "decode",
    "decodeMulti",
    "Decoder",
    "DecodeError",
    "Encoder",
    "ExtensionCodec",
    "ExtData",
)

_FONT_FACES_EXPECTED = 2
_FONT_FACE = re.compile(rb"@font-face\s*\{[^}]*\}")
_SOURCE_MAP = re.compile(rb"(?://|/\*)# sourceMappingURL=\S+(?: \*/)?\n?")
_ICON_URL = re.compile(rb"url\(/assets/images/nhsuk-icon-([a-z-]+)\.svg\)")
_FETCHED_BY_CSS = re.compile(rb"@import|@font-face|url\(\s*[\"']?\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_FETCHED_BY_SCRIPT = re.compile(
    rb"(?:\bfrom|\bimport)\s*\(?\s*[\"'`](?:[a-z][a-z0-9+.-]*:)?//|sourceMappingURL|\bfetch\(\s*[\"'`]https?:",
    re.IGNORECASE,
)


class AssetError(Exception):
    """A file is not what it must be, so nothing was built."""


def build(web: Path = WEB) -> Path:
    """Build `web/built/` from `web/node_modules/` and `web/static/`; return the folder named by the hash.

    The manifest is put in place last, and only then are folders of earlier builds removed.

    Raises:
        AssetError: a package's file is missing or has other bytes, or a file would make a page ask another host.
    """
    files = {**_vendored(web / "node_modules"), **_own(web / "static")}
    for path, content in sorted(files.items()):
        _check_asks_nobody(path, content)
    entries = {path: _entry(content) for path, content in sorted(files.items())}
    digest = hashlib.sha256("".join(f"{path}\0{entry['sha256']}\n" for path, entry in entries.items()).encode())
    name = digest.hexdigest()[:12]
    built = web / "built"
    folder = built / name
    fresh = built / f".{name}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    for path, content in files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.with_name(f"{target.name}.gz").write_bytes(_compressed(content))
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    draft = built / "manifest.json.new"
    draft.write_text(json.dumps({"hash": name, "files": entries}, indent=1) + "\n", encoding="utf-8")
    draft.replace(built / "manifest.json")
    for other in built.iterdir():
        if other.is_dir() and other != folder:
            shutil.rmtree(other)
    return folder


def _vendored(packages: Path) -> dict[str, bytes]:
    taken = {path: _taken(packages, path) for path in VENDORED_SHA256}
    files = {
        "vendor/nhsuk-frontend.min.css": _style_without_fonts(taken[f"{_NHSUK}/nhsuk-frontend.min.css"]),
        "vendor/nhsuk-frontend.min.js": _SOURCE_MAP.sub(b"\n", taken[f"{_NHSUK}/nhsuk-frontend.min.js"]),
        "vendor/msgpack.js": _as_module(taken[f"{_MSGPACK}/dist.umd/msgpack.min.js"]),
        "vendor/LICENCES.txt": (Path(__file__).parent / "browser-licences.txt").read_bytes(),
    }
    for icon in _ICONS:
        files[f"vendor/icons/{icon}.svg"] = taken[f"{_NHSUK}/assets/images/nhsuk-icon-{icon}.svg"]
    return files


def _taken(packages: Path, path: str) -> bytes:
    try:
        content = (packages / path).read_bytes()
    except FileNotFoundError as error:
        raise AssetError(f"{path} is missing: run `make setup`, which installs the browser packages.") from error
    found = hashlib.sha256(content).hexdigest()
    if found != VENDORED_SHA256[path]:
        raise AssetError(
            f"{path} has SHA-256 {found}, expected {VENDORED_SHA256[path]}: not the file that was reviewed."
        )
    return content


def _style_without_fonts(style: bytes) -> bytes:
    """The stylesheet with neither web fonts (licensed to others, and fetched from a third party) nor absolute icons."""
    style, fonts = _FONT_FACE.subn(b"", style)
    if fonts != _FONT_FACES_EXPECTED:
        raise AssetError(f"The stylesheet has {fonts} @font-face rules, expected {_FONT_FACES_EXPECTED}.")
    return _ICON_URL.sub(rb"url(icons/\1.svg)", _SOURCE_MAP.sub(b"", style))


def _as_module(script: bytes) -> bytes:
    """The UMD script as an ES module: it finds the `module.exports` that it looks for, and the names are exported."""
    names = ", ".join(MSGPACK_EXPORTS)
    return (
        b"const module = { exports: {} };\nconst exports = module.exports;\n"
        + _SOURCE_MAP.sub(b"", script).rstrip()
        + f"\nexport const {{ {names} }} = module.exports;\n".encode()
    )


def _own(static: Path) -> dict[str, bytes]:
    """Our own files by their path below `static`, without hidden ones and type declarations; none in `vendor/`."""
    files = {}
    for path in sorted(static.rglob("*")):
        name = path.relative_to(static).as_posix()
        if not path.is_file() or name.endswith(".d.ts") or any(part.startswith(".") for part in name.split("/")):
            continue
        if name.startswith("vendor/"):
            raise AssetError(f"static/{name}: the folder vendor/ is kept for files from packages.")
        files[name] = path.read_bytes()
    return files


def _check_asks_nobody(path: str, content: bytes) -> None:
    pattern = {".css": _FETCHED_BY_CSS, ".js": _FETCHED_BY_SCRIPT, ".mjs": _FETCHED_BY_SCRIPT}.get(Path(path).suffix)
    found = pattern.search(content) if pattern is not None else None
    if found is not None:
        raise AssetError(f"{path} would make a page ask another host at byte {found.start()}: {found.group().decode()}")


def _entry(content: bytes) -> dict[str, str | int]:
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "gzip_size": len(_compressed(content)),
    }


def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=9, mtime=0)


def main() -> int:
    """Build, and print one line: what was built, or what stopped it."""
    parser = argparse.ArgumentParser(description="Build the folder of files that browsers are served.")
    parser.add_argument("--web", type=Path, default=WEB, help="the folder clients/web")
    try:
        folder = build(parser.parse_args().web)
    except AssetError as error:
        print(f"assets: {error}", file=sys.stderr)
        return 1
    files = json.loads((folder.parent / "manifest.json").read_text(encoding="utf-8"))["files"].values()
    size, compressed = (sum(entry[key] for entry in files) for key in ("size", "gzip_size"))
    print(f"assets: {len(files)} files in built/{folder.name}, {size} bytes, {compressed} compressed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
