"""Pages of the web as a source: single ones, and lists of them in a file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from yarl import URL

from hub.documents.parsing import load
from hub.errors import DocumentUnreadable
from knowledge.sources.base import Content, Item, Listing, SourceUnreadable
from knowledge.sources.fetch import FetchLimits, checked_url, fetch

MAX_LIST_BYTES = 4 * 2**20
MAX_PAGES = 20_000
SINGLE = "web:"
"""Root of pages that are named one by one."""


def is_page(text: str) -> bool:
    """Tell whether a word of a command line is the address of a page, and no path."""
    return text.lower().startswith(("http://", "https://"))


class WebSource:
    """Pages that are named one by one; one that the server does not have any more is removed."""

    def __init__(self, urls: Sequence[str], limits: FetchLimits, *, root: str = SINGLE) -> None:
        self.root = root
        self._urls = urls
        self._limits = limits
        # One page of a server at a time.
        self._hosts: dict[str, Lock] = {}

    @contextmanager
    def open(self) -> Iterator[Listing]:
        """List the pages; nothing is fetched yet."""
        items = list(self._items(self._urls))
        yield Listing(items=items, is_whole=False)

    def _items(self, urls: Sequence[str]) -> Iterator[Item]:
        seen: set[str] = set()
        for text in urls:
            try:
                url = checked_url(text)
            except DocumentUnreadable as error:
                yield Item(root=self.root, location=text[:200], problem=str(error))
                continue
            if (location := str(url)) not in seen:
                seen.add(location)
                yield Item(root=self.root, location=location, read=self._reader(url))

    def _reader(self, url: URL) -> "_Page":
        return _Page(url, self._limits, self._hosts.setdefault(url.host or "", Lock()))


class WebListSource(WebSource):
    """A file with one address a line; a page that is taken out of it is removed."""

    def __init__(self, file: Path, limits: FetchLimits) -> None:
        super().__init__((), limits, root=f"urls:{file}")
        self._file = file

    @contextmanager
    def open(self) -> Iterator[Listing]:
        """Read the file."""
        try:
            text = load(self._file, MAX_LIST_BYTES).decode("utf-8-sig")
        except (DocumentUnreadable, UnicodeDecodeError) as error:
            raise SourceUnreadable(f"the list of pages cannot be read: {error}") from error
        # Whoever comments an address behind it writes a blank before the mark; an address may hold one itself.
        lines = [line.partition(" #")[0].strip() for line in text.splitlines()]
        items = list(self._items([line for line in lines if line and not line.startswith("#")]))
        if len(items) > MAX_PAGES:
            raise SourceUnreadable(f"the list names more than {MAX_PAGES} pages")
        yield Listing(items=items)


class _Page:
    """Reads one page."""

    def __init__(self, url: URL, limits: FetchLimits, host: Lock) -> None:
        self._url = url
        self._limits = limits
        self._host = host

    def __call__(self, known: str) -> Content | None:
        """Fetch it."""
        with self._host:
            return fetch(self._url, self._limits, known=known)
