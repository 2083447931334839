"""Fetches a model from a hub into the data folder and puts it into the registry."""

import asyncio
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from filelock import FileLock, Timeout

from hub.errors import ProvisionError
from hub.machine import budget_bytes
from hub.provision.choice import Choice, choose
from hub.provision.download import Download, matches, part_of
from hub.provision.ledger import FetchedFile, Ledger, read_ledger, write_ledger
from hub.provision.models_file import check_free, path_for, register
from hub.provision.names import MODELS_FOLDER, Source, check_model_name, name_for, target_of
from hub.provision.repository import Listing, Patience, RepoFile, Repository, open_session
from hub.settings import Settings

log = structlog.get_logger(__name__)

SPARE_BYTES = 256 << 20
"""Stays free on the disk: Redis and the database live there too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is."""

    file: str
    done_bytes: int
    """Of all files together."""
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """A model that is there now."""

    name: str
    type: str
    location: str
    """File, folder, or the address of the server that has it."""
    size_bytes: int
    commit: str = ""
    """Of the repository."""
    quantization: str = ""
    reason: str = ""
    """Why this quantisation was chosen; empty where nobody had to."""


Report = Callable[[Progress], None]


async def pull(
    settings: Settings,
    source: Source,
    report: Report = lambda progress: None,
    *,
    name: str = "",
    patience: Patience | None = None,
) -> Pulled:
    """Fetch a model; what an earlier attempt brought is not fetched again.

    Args:
        settings: say from where and to where.
        source: repository and what of it.
        report: told of every step.
        name: in the registry; empty takes one from the file's or repository's name.
        patience: how often a failing hub is asked again.

    Raises: ProvisionError: it cannot be had, there is no room, or it is not what the hub announced.
    """
    async with open_session() as session:
        repository = Repository(settings.provision, session, patience)
        listing = await repository.files_of(source.repo)
        # Not by what is free just now: an interrupted fetch has to go on with the same file.
        choice = choose(listing, source, memory_bytes=budget_bytes(settings.engine.memory_budget))
        work = _Pull(settings, repository, listing, choice, report)
        entry = work.entry()
        name = check_model_name(name) if name else _name_of(source, choice)
        check_free(settings, name, entry)
        with _alone(settings, source.repo):
            work.check_size()
            sums = await work.fetch()
        entry["sha256"] = sums[_largest(choice).path if choice.type != "gguf" else choice.path]
        await asyncio.to_thread(register, settings, name, entry)
    log.info(
        "model_pulled",
        model=name,
        repo=source.repo,
        commit=listing.commit,
        size_bytes=choice.size_bytes,
        quantization=choice.quantization,
    )
    return Pulled(
        name=name,
        type=choice.type,
        location=str(work.path),
        size_bytes=choice.size_bytes,
        commit=listing.commit,
        quantization=choice.quantization,
        reason=choice.reason,
    )


class _Pull:
    """The files of one model on their way."""

    def __init__(
        self, settings: Settings, repository: Repository, listing: Listing, choice: Choice, report: Report
    ) -> None:
        self._settings = settings
        self._repository = repository
        self._listing = listing
        self._choice = choice
        self._report = report
        self._models = settings.data / MODELS_FOLDER
        self._targets = {file.path: target_of(self._models, listing.repo, file.path) for file in choice.files}
        self._folder = self._models.joinpath(*listing.repo.split("/"))
        self.path = self._folder.joinpath(*choice.path.split("/")) if choice.path else self._folder

    def entry(self) -> dict[str, object]:
        """Write the entry of the registry."""
        entry: dict[str, object] = {"type": self._choice.type, "path": path_for(self._settings, self.path)}
        return entry | ({"quantization": self._choice.quantization} if self._choice.quantization else {})

    def check_size(self) -> None:
        """Refuse what is too large before anything is fetched."""
        most = self._settings.provision.max_file_bytes
        for file in self._choice.files:
            if file.size_bytes > most:
                raise ProvisionError(
                    f"{file.path} has {file.size_bytes} bytes; provision.max_file_bytes allows {most}"
                )
        self._models.mkdir(parents=True, exist_ok=True)
        missing = sum(file.size_bytes - self._there(file) for file in self._choice.files)
        free = shutil.disk_usage(self._models).free
        if missing and missing + SPARE_BYTES > free:
            raise ProvisionError(
                f"there is no room: {missing / 1e9:.2f} GB are to be fetched, {free / 1e9:.2f} GB are free in "
                f"{self._models}, and {SPARE_BYTES / 1e9:.2f} GB of them stay free"
            )

    def _there(self, file: RepoFile) -> int:
        target = self._targets[file.path]
        for path in (target, part_of(target, file)):
            if path.is_file() and path.stat().st_size <= file.size_bytes:
                return path.stat().st_size
        return 0

    async def fetch(self) -> dict[str, str]:
        """Fetch all files, and record each once it is there.

        Returns: the SHA-256 of each by its path.
        """
        done, sums = 0, {}
        # Small files first: what is wrong with a repository shows before its gigabytes come.
        for file in sorted(self._choice.files, key=lambda one: one.size_bytes):
            sums[file.path] = await self._fetch(file, done)
            done += file.size_bytes
        return sums

    async def _fetch(self, file: RepoFile, done: int) -> str:
        target = self._targets[file.path]

        def tell(size: int) -> None:
            self._report(
                Progress(file=file.path, done_bytes=done + size, total_bytes=self._choice.size_bytes)
            )

        known = read_ledger(self._folder).files.get(file.path)
        if known is not None:
            is_there: bool = await asyncio.to_thread(matches, target, file)
            if is_there:
                tell(file.size_bytes)
                return known.sha256
        sha256 = await Download(self._repository, self._listing, file, target, tell).run()
        self._record(file, sha256)
        return sha256

    def _record(self, file: RepoFile, sha256: str) -> None:
        fetched = FetchedFile(size_bytes=file.size_bytes, sha256=sha256, commit=self._listing.commit)
        files = {**read_ledger(self._folder).files, file.path: fetched}
        ledger = Ledger(endpoint=str(self._repository.endpoint), repo=self._listing.repo, files=files)
        write_ledger(self._folder, ledger)


@contextmanager
def _alone(settings: Settings, repo: str) -> Iterator[None]:
    """Keep other processes from fetching of the same repository; the lock goes with its process, however that ends."""
    folder = settings.data / MODELS_FOLDER / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.blake2b(repo.encode(), digest_size=12).hexdigest()
    try:
        with FileLock(folder / f"{digest}.lock", blocking=False):
            yield
    except Timeout:
        raise ProvisionError(f"{repo} is being fetched already; wait until that is done") from None


def _name_of(source: Source, choice: Choice) -> str:
    whole = choice.path.rpartition("/")[2] if choice.type == "gguf" else source.repo.rpartition("/")[2]
    return name_for(whole)


def _largest(choice: Choice) -> RepoFile:
    return max(choice.files, key=lambda one: one.size_bytes)
