"""The OpenAPI document, and the page that shows it: Swagger UI, from files on this machine alone."""

import importlib.util
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import structlog
from aiohttp import web

from hub.api.routes import JSON, OPEN, PREFIX, ROUTES, About, Answer, Gives, Route, Takes

log = structlog.get_logger(__name__)

OWN_FILES = Path(__file__).parent / "static"
SWAGGER_FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
# Swagger UI sets style attributes, and holds its icons as data.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PACKAGE = "drf_spectacular_sidecar"


class DocsRoutes:
    """The document and its page."""

    def __init__(self) -> None:
        self._document = b""

    def routes(self) -> Sequence[Route]:
        """Return the routes; the page is there where its files are installed."""
        about = About("openapi", "Gives this document.", "state")
        told = Gives(Answer(media_type=JSON, says="OpenAPI 3.1."))
        document = Route("GET", f"{PREFIX}/openapi.json", self.document, OPEN, about, Takes(), told)
        folder = swagger_folder()
        if folder is None:
            log.warning("docs_page_missing", reason="run: pip install --no-deps -r assets.txt")
            return [document]
        files = {name: folder / name for name in SWAGGER_FILES} | {"docs.js": OWN_FILES / "docs.js"}
        page = _file_route("docs", f"{PREFIX}/docs", OWN_FILES / "docs.html")
        return [
            document,
            page,
            *(_file_route(name, f"{PREFIX}/docs/{name}", path) for name, path in files.items()),
        ]

    async def document(self, request: web.Request) -> web.Response:
        """Answer with the document, which is made once."""
        if not self._document:
            # A process that nobody asks for it need not load what makes it.
            from hub.api.document import openapi_document  # noqa: PLC0415

            routes: Sequence[Route] = request.app[ROUTES]
            self._document = openapi_document(routes, version=version("hubbub"))
        return web.Response(body=self._document, content_type=JSON)


def swagger_folder() -> Path | None:
    """Return where Swagger UI's files lie; None where they are not installed."""
    # find_spec does not run the package, which is one for Django.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "static" / _PACKAGE / "swagger-ui-dist"
    return folder if folder.is_dir() else None


def _file_route(name: str, path: str, file: Path) -> Route:
    async def serve(_: web.Request) -> web.StreamResponse:
        # The browser asks each time whether it has changed, and is told that it has not.
        headers = {"Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        return web.FileResponse(file, headers=headers)

    takes, gives = Takes(), Gives(Answer(media_type="text/html", says="A file of the page."))
    return Route("GET", path, serve, OPEN, About(name, "Gives a file of the page.", ""), takes, gives)
