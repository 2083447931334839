"""What this machine has, and how a local model is run on it: from a small board to a server with GPUs."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hub.errors import ModelError
from hub.model_settings import LocalModelSettings, bytes_of

AnyLocal = TypeVar("AnyLocal", bound=LocalModelSettings)

_UNLIMITED = 1 << 60
_ROOT = Path("/")
_GIB = 1 << 30

_KV_SHARE, _GPU_KV_SHARE = 8, 2
"""The contexts take at most one part in so many of the memory that is free; a GPU's has no other use."""
_USUAL_CONTEXT = 2_048
"""Tokens, where a model does not say what it was made for, and the fewest that are chosen for one that was made for more."""
_LONGEST_CONTEXT = 8_192
"""Tokens: more are seldom filled, and their memory serves nobody else. Who has use for them asks for them."""
_LIKELY_ANSWERS = 4
"""So many at once leave their room to no longer contexts."""
_FEWEST, _MOST = 2, 64
_SEQUENCES_PER_CORE = 4
"""More answers at once than that make each slower and all together no faster."""
_OVERHEAD_BYTES = 256 << 20
"""What a process takes besides weights and context."""
_SEQUENCE_STEP = 256
"""llama.cpp rounds a sequence's context up to a multiple of this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a model may use of this machine."""

    cores: int
    """Physical ones, as far as affinity, the container's quota and `OMP_NUM_THREADS` allow."""
    memory_bytes: int
    """Free, as far as the container's limit allows."""
    has_gpu: bool = False
    """Whether llama.cpp was built for one and finds it."""
    gpu_memory_bytes: int = 0
    """Free on all GPUs together; 0 where there is none, or it is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """What a model needs before its first request."""

    weights_bytes: int
    kv_bytes_per_token: int
    context_length: int = 0
    """Tokens it was made for; 0: its files do not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a model is run."""

    threads: int
    context_length: int
    """Tokens of one sequence."""
    parallel: int
    """Answers computed at once."""
    batch_tokens: int
    """Tokens computed in one step."""
    gpu_layers: int
    memory_bytes: int
    """What the model will take, about."""


def this_machine(*, has_gpu: bool = False, gpu_memory_bytes: int = 0, root: Path = _ROOT) -> Machine:
    """Look at this machine.

    Args:
        has_gpu: what the model's library says.
        gpu_memory_bytes: what it says is free there.
        root: where `/proc` and `/sys` are found.
    """
    return Machine(
        cores=usable_cores(root),
        memory_bytes=free_memory_bytes(root),
        has_gpu=has_gpu,
        gpu_memory_bytes=gpu_memory_bytes,
    )


def with_context(settings: AnyLocal, size: ModelSize, machine: Machine) -> AnyLocal:
    """Give settings that leave the context open the longest one that the model and this machine have use for."""
    if settings.context_length:
        return settings
    length = min(size.context_length or _USUAL_CONTEXT, _LONGEST_CONTEXT)
    answers = settings.parallel or _LIKELY_ANSWERS
    room = min(_context_room(settings, machine), _limit(settings) - size.weights_bytes - _OVERHEAD_BYTES)
    while length > _USUAL_CONTEXT and answers * _sequence_bytes(length, size) > room:
        length = max(_USUAL_CONTEXT, length // 2)
    return settings.model_copy(update={"context_length": length})


def plan_for(settings: LocalModelSettings, size: ModelSize, machine: Machine) -> Plan:
    """Choose what the settings leave open.

    Raises: ModelError: the model would take more than its `max_memory`.
    """
    settings = with_context(settings, size, machine)
    sequence_bytes = _sequence_bytes(settings.context_length, size)
    room = _limit(settings) - size.weights_bytes - _OVERHEAD_BYTES
    fewest = settings.parallel or 1
    if fewest * sequence_bytes > room:
        needed = size.weights_bytes + _OVERHEAD_BYTES + fewest * sequence_bytes
        raise ModelError(
            f"the model takes about {_gib(needed)}, and max_memory allows {settings.max_memory.strip()}; "
            "a smaller context_length, parallel or quantisation takes less"
        )
    parallel = settings.parallel or _sequences(
        sequence_bytes, room, _context_room(settings, machine), machine
    )
    return Plan(
        threads=settings.threads or machine.cores,
        context_length=settings.context_length,
        parallel=parallel,
        batch_tokens=getattr(settings, "batch_tokens", 0) or _batch_tokens(machine),
        gpu_layers=getattr(settings, "gpu_layers", 0) if machine.has_gpu else 0,
        memory_bytes=size.weights_bytes + _OVERHEAD_BYTES + parallel * sequence_bytes,
    )


def usable_cores(root: Path = _ROOT) -> int:
    """Count the cores this process may use; two hardware threads of one core count once.

    `OMP_NUM_THREADS` bounds them, as it does for every program that computes by OpenMP.
    """
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    places = (root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list" for cpu in usable)
    cores = {text for place in places if (text := _read(place))}
    # Of a list the first is for what is not nested.
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    bound = int(wanted) if wanted.isdecimal() and int(wanted) else _UNLIMITED
    return max(1, min(len(cores) or len(usable), _core_quota(root), bound))


def free_memory_bytes(root: Path = _ROOT) -> int:
    """Tell how much memory a model may still take; pages that only cache files count as free."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _read(root / "proc/meminfo"), re.MULTILINE)
    free = int(found[1]) * 1024 if found else _physical_memory_bytes() // 2
    for group in _groups(root, "memory"):
        limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
        if limit:
            used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes")
            free = min(free, max(0, limit - used + _file_pages(group)))
    return free


def describe(machine: Machine) -> str:
    """Say what there is, in words for a person."""
    cores = f"{machine.cores} core{'s' if machine.cores > 1 else ''}"
    gpu = f" with {_gib(machine.gpu_memory_bytes)} free" if machine.gpu_memory_bytes else ""
    return f"{cores}, {_gib(machine.memory_bytes)} free, {'a' if machine.has_gpu else 'no'} GPU{gpu}"


def describe_plan(plan: Plan) -> str:
    """Say how a model is run, in words for a person."""
    layers = {0: "", -1: ", all layers on the GPU"}.get(
        plan.gpu_layers, f", {plan.gpu_layers} layers on the GPU"
    )
    return (
        f"{plan.parallel} answers at once of {plan.context_length} tokens with their prompts, "
        f"{plan.threads} thread{'s' if plan.threads > 1 else ''}, "
        f"{plan.batch_tokens} tokens a step{layers}; about {_gib(plan.memory_bytes)}"
    )


def suggestion(machine: Machine) -> str:
    """Say which models suit this machine, in words for a person."""
    # Half of what is free: contexts, the embedding model and Redis want room too.
    room = 0.8 * machine.gpu_memory_bytes or machine.memory_bytes / 2
    sizes = [f"{_billions(room, bits)} at {name}" for name, bits in (("Q4_K_M", 4.9), ("Q8_0", 8.5))]
    text = f"room for models of up to about {sizes[0]}, or {sizes[1]}"
    if not machine.has_gpu and machine.cores <= 4:
        text += "; on so few cores Q4_K_M or Q4_0 is also the fastest, and up to 3 B is pleasant to talk to"
    return text


def _limit(settings: LocalModelSettings) -> int:
    return bytes_of(settings.max_memory) or _UNLIMITED


def _sequence_bytes(context_length: int, size: ModelSize) -> int:
    return -(-context_length // _SEQUENCE_STEP) * _SEQUENCE_STEP * size.kv_bytes_per_token


def _context_room(settings: LocalModelSettings, machine: Machine) -> int:
    """Tell how much memory the contexts of a model may take; they lie where its layers are computed."""
    if machine.gpu_memory_bytes and getattr(settings, "gpu_layers", -1) == -1:
        return machine.gpu_memory_bytes // _GPU_KV_SHARE
    return machine.memory_bytes // _KV_SHARE


def _sequences(sequence_bytes: int, room: int, context_room: int, machine: Machine) -> int:
    fitting = min(context_room, room) // max(1, sequence_bytes)
    useful = _MOST if machine.has_gpu else machine.cores * _SEQUENCES_PER_CORE
    return int(max(min(_FEWEST, max(1, room // max(1, sequence_bytes))), min(fitting, useful, _MOST)))


def _batch_tokens(machine: Machine) -> int:
    # Prompts of 512 tokens on two busy cores: steps of 64, 128, 256 and 512 tokens give 161, 143, 156 and 161 tokens/s
    # at best, and take 0.4, 1, 1.7 and 3.2 s, in which nobody else gets a token. More cores are through sooner.
    return 512 if machine.has_gpu or machine.cores > 8 else 128


def _core_quota(root: Path) -> int:
    quotas = [_UNLIMITED]
    for group in _groups(root, "cpu"):
        words = _read(group / "cpu.max").split() or [
            _read(group / "cpu.cfs_quota_us").strip(),
            _read(group / "cpu.cfs_period_us").strip(),
        ]
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
            quotas.append(round(int(words[0]) / int(words[1])))
    return min(quotas)


def _groups(root: Path, controller: str) -> list[Path]:
    """Return the control groups this process is in, its own and those around it, of version 1 and 2."""
    groups: list[Path] = []
    lines = _read(root / "proc/self/cgroup").splitlines() or ["0::/"]
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controllers and controller)
        own = top / path.strip("/")
        groups += [own, *(parent for parent in own.parents if parent.is_relative_to(top))]
    return groups


def _file_pages(group: Path) -> int:
    found = re.search(r"^inactive_file (\d+)$", _read(group / "memory.stat"), re.MULTILINE)
    return int(found[1]) if found else 0


def _number(path: Path) -> int:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""


def _physical_memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 * _GIB


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.1f} GiB"


def _billions(room_bytes: float, bits: float) -> str:
    billions = room_bytes * 8 / bits / 1e9
    return f"{billions:.0f} B parameters" if billions >= 2 else f"{billions:.1f} B parameters"
