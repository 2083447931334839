"""Works ahead: while one document is embedded, the next ones are fetched and read."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def work_ahead(
    items: Iterable[T], work: Callable[[T], R], *, threads: int, give_up: Callable[[], None]
) -> Generator[tuple[T, Future[R]], None, None]:
    """Do work on items in threads, a few items ahead of whoever takes the results.

    Args:
        items: are taken one by one, when there is room for them.
        work: on one item.
        threads: items worked on at once; up to twice as many results lie ready.
        give_up: called when nobody wants the results any more, so that what is going on ends soon.

    Yields: each item with its result, in their order.
    """
    # A result is ended before the next one is asked for: whoever takes them sees errors one by one.
    with ThreadPoolExecutor(threads, thread_name_prefix="ingest") as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        except BaseException:
            give_up()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
