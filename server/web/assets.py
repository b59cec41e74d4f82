"""The files that a browser is given: read once at the start, compressed before that, cached for ever.

A name is looked up among those that were there at the start, so no path can lead anywhere else. The folder's name is a
hash of the contents: a new build has new addresses.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from server.errors import Misconfigured, NotFound

PREFIX = "/assets"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}


@dataclass(frozen=True, slots=True)
class Asset:
    plain: bytes
    gzipped: bytes | None
    media_type: str


class Assets:
    """The built files by name."""

    def __init__(self, digest: str, files: dict[str, Asset]) -> None:
        self._digest = digest
        self._files = files

    @classmethod
    def load(cls, built: Path) -> Assets:
        """Read `manifest.json` and the folder that it names.

        Raises:
            Misconfigured: they are not there; the asset step has to be run.
        """
        try:
            digest = str(json.loads((built / "manifest.json").read_text(encoding="utf-8"))["hash"])
            root = built / digest
            files = {
                path.relative_to(root).as_posix(): _read(path)
                for path in sorted(root.rglob("*"))
                if path.is_file() and path.suffix in _TYPES
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Misconfigured("The browser's files have not been built yet: run `make assets`.") from error
        if not digest.isalnum() or not files:
            raise Misconfigured("The browser's files are incomplete: run `make assets` again.")
        return cls(digest, files)

    def url(self, name: str) -> str:
        return f"{PREFIX}/{self._digest}/{name}"

    def answer(self, request: Request, digest: str, name: str) -> Response:
        """The file, compressed where the browser takes that.

        Raises:
            NotFound: no file by that name in this build.
        """
        asset = self._files.get(name) if digest == self._digest else None
        if asset is None:
            raise NotFound("There is no such file.")
        headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "Accept-Encoding"}
        body = asset.plain
        if asset.gzipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            body = asset.gzipped
        return Response(body, media_type=asset.media_type, headers=headers)


def _read(path: Path) -> Asset:
    gz = path.with_name(path.name + ".gz")
    return Asset(path.read_bytes(), gz.read_bytes() if gz.is_file() else None, _TYPES[path.suffix])
