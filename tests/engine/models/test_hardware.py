"""Plans for machines of every size."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from engine.models.hardware import (
    Machine,
    ModelSize,
    describe,
    describe_plan,
    free_memory_bytes,
    plan_for,
    suggestion,
    this_machine,
    usable_cores,
    with_context,
)
from engine.models.llama.describe import machine_for_llama, size_of
from engine.models.llama.devices import CPU, free_device_bytes
from engine.models.llama.model import LlamaChatModel
from hub.errors import ModelError
from hub.model_settings import GgufSettings

MIB, GIB = 1 << 20, 1 << 30
BUNDLED = ModelSize(weights_bytes=98 * MIB, kv_bytes_per_token=23_040)
LARGE = ModelSize(weights_bytes=40 * GIB, kv_bytes_per_token=327_680)

BOARD = Machine(cores=4, memory_bytes=3 * GIB)
TINY = Machine(cores=1, memory_bytes=512 * MIB)
LAPTOP = Machine(cores=2, memory_bytes=16 * GIB)
SERVER = Machine(cores=64, memory_bytes=500 * GIB)
GPU = Machine(cores=16, memory_bytes=120 * GIB, has_gpu=True)


def _made_for(tokens: int, size: ModelSize = BUNDLED) -> ModelSize:
    return replace(size, context_length=tokens)


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def _one_thread_each() -> dict[str, str]:
    """Describe the processors this process may use as one hardware thread for each core."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    place = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    return {place.format(cpu): f"{cpu}\n" for cpu in usable}


@pytest.mark.parametrize(
    ("machine", "size", "parallel"),
    [
        (TINY, BUNDLED, 2),
        (BOARD, BUNDLED, 8),
        (LAPTOP, BUNDLED, 8),
        (SERVER, BUNDLED, 64),
        (GPU, BUNDLED, 64),
        (LAPTOP, LARGE, 3),
        (SERVER, LARGE, 64),
        (TINY, LARGE, 2),
    ],
)
def test_memory_and_cores_decide_how_many_answers_run_at_once(
    machine: Machine, size: ModelSize, parallel: int
) -> None:
    """The context takes an eighth of what is free at most, and two answers always run."""
    assert plan_for(GgufSettings(), size, machine).parallel == parallel


def test_a_longer_context_leaves_room_for_fewer() -> None:
    """Four times the context is a fourth of the sequences, each rounded up to 256 tokens."""
    short, long, odd = (
        plan_for(GgufSettings(context_length=length), BUNDLED, BOARD) for length in (4_096, 16_384, 2_049)
    )

    assert (short.parallel, long.parallel, odd.parallel) == (4, 2, 7)


@pytest.mark.parametrize(
    ("machine", "size", "context"),
    [
        (LAPTOP, _made_for(32_768), 8_192),
        (LAPTOP, _made_for(6_000), 6_000),
        (LAPTOP, _made_for(1_024), 1_024),
        (LAPTOP, _made_for(0), 2_048),
        (BOARD, _made_for(32_768), 4_096),
        (TINY, _made_for(32_768), 2_048),
        (SERVER, _made_for(32_768, LARGE), 8_192),
        (LAPTOP, _made_for(32_768, LARGE), 2_048),
        (replace(GPU, gpu_memory_bytes=24 * GIB), _made_for(32_768, LARGE), 8_192),
        (replace(GPU, gpu_memory_bytes=8 * GIB), _made_for(32_768, LARGE), 2_048),
    ],
)
def test_memory_and_the_model_decide_how_long_the_context_is(
    machine: Machine, size: ModelSize, context: int
) -> None:
    """What it was made for, up to a bound, as far as four answers at once find room."""
    plan = plan_for(GgufSettings(), size, machine)

    assert plan.context_length == context
    assert f"of {context} tokens" in describe_plan(plan)


def test_a_context_that_is_set_is_not_chosen() -> None:
    """Neither shortened nor made longer; what else is set leaves more or less room for one that is chosen."""
    size = _made_for(32_768)

    assert with_context(GgufSettings(context_length=512), size, LAPTOP).context_length == 512
    assert with_context(GgufSettings(context_length=99_000), size, TINY).context_length == 99_000
    assert with_context(GgufSettings(parallel=64), size, LAPTOP).context_length == 2_048
    assert with_context(GgufSettings(max_memory="800MB"), size, LAPTOP).context_length == 4_096


def test_what_a_gpu_computes_lies_in_its_memory() -> None:
    """With some layers on the processor its memory is what counts, as with none."""
    machine = replace(GPU, gpu_memory_bytes=2 * GIB)

    assert plan_for(GgufSettings(), LARGE, machine).parallel == 2
    assert plan_for(GgufSettings(gpu_layers=9), LARGE, machine).parallel == 24
    assert "a GPU with 2.0 GiB free" in describe(machine)
    assert describe(GPU).endswith(", a GPU")


def test_llama_cpp_tells_the_memory_of_its_devices() -> None:
    """The processor is a device, too; without a GPU none has memory of its own."""
    assert free_device_bytes(CPU) > 0
    assert machine_for_llama().has_gpu or free_device_bytes() == 0


async def test_the_context_of_the_bundled_model_is_one_that_a_small_machine_reads(
    llama: LlamaChatModel,
) -> None:
    """Under its own name and any other; what doctor tells of it is what is loaded."""
    planned = plan_for(GgufSettings(), size_of(GgufSettings(), "f16"), this_machine())

    assert llama.context_length == planned.context_length == 2_048


def test_settings_come_first() -> None:
    """What is set is not chosen."""
    settings = GgufSettings(threads=3, parallel=5, batch_tokens=77, gpu_layers=9)

    plan = plan_for(settings, BUNDLED, GPU)

    assert (plan.threads, plan.parallel, plan.batch_tokens, plan.gpu_layers) == (3, 5, 77, 9)


def test_layers_are_computed_by_a_gpu_where_there_is_one() -> None:
    """Without one nothing is asked of it."""
    assert plan_for(GgufSettings(), BUNDLED, GPU).gpu_layers == -1
    assert plan_for(GgufSettings(), BUNDLED, LAPTOP).gpu_layers == 0


def test_a_limit_of_memory_makes_fewer_sequences_or_refuses() -> None:
    """What fits is planned, and what cannot fit is refused with what would help."""
    plan = plan_for(GgufSettings(max_memory="512MB"), BUNDLED, LAPTOP)

    assert plan.parallel == 3
    assert plan.memory_bytes <= 512 * MIB
    for settings in (GgufSettings(max_memory="200MB"), GgufSettings(max_memory="1GB", parallel=32)):
        with pytest.raises(ModelError, match="max_memory allows"):
            plan_for(settings, BUNDLED, LAPTOP)


def test_this_machine_can_be_planned_for() -> None:
    """Whatever runs these tests has a core and memory."""
    machine = this_machine()

    assert machine.cores >= 1
    assert machine.memory_bytes > 0
    assert plan_for(GgufSettings(), BUNDLED, machine).threads == machine.cores


@pytest.mark.parametrize(
    ("wanted", "bound"), [("1", 1), ("9999", None), ("0", None), ("1,4", 1), ("many", None), ("", None)]
)
def test_openmp_bounds_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, bound: int | None
) -> None:
    """By the variable that bounds it; what it would not understand bounds nothing."""
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)

    assert usable_cores(_write(tmp_path, _one_thread_each())) == (bound or len(_one_thread_each()))


def test_two_threads_of_a_core_count_once(tmp_path: Path) -> None:
    """Processors that name the same siblings are one core."""
    files = dict.fromkeys(_one_thread_each(), "0-1\n")

    assert usable_cores(_write(tmp_path, files)) == 1


@pytest.mark.parametrize(
    "files",
    [
        {"sys/fs/cgroup/cpu.max": "100000 100000\n"},
        {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "100000 100000\n"},
        {
            "proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/x\n",
            "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
        },
    ],
    ids=["a container", "a slice around it", "version 1"],
)
def test_a_quota_bounds_the_cores(tmp_path: Path, files: dict[str, str]) -> None:
    """The quota may be of a group around this one, and is never less than one core."""
    assert usable_cores(_write(tmp_path, {**_one_thread_each(), **files})) == 1


@pytest.mark.parametrize("quota", ["max 100000", "", "junk"])
def test_no_quota_bounds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str) -> None:
    """Without a limit, or with one that cannot be read, all cores count."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    files = {**_one_thread_each(), "sys/fs/cgroup/cpu.max": quota}

    assert usable_cores(_write(tmp_path, files)) == len(_one_thread_each())


def test_a_container_bounds_the_memory(tmp_path: Path) -> None:
    """What its other processes take is gone, what only caches files is not."""
    machine = {"proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable:    8000000 kB\n"}
    group = {
        "sys/fs/cgroup/memory.max": f"{GIB}\n",
        "sys/fs/cgroup/memory.current": f"{600 * MIB}\n",
        "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {100 * MIB}\n",
    }

    assert free_memory_bytes(_write(tmp_path, machine)) == 8_000_000 * 1024
    assert free_memory_bytes(_write(tmp_path, group)) == GIB - 500 * MIB


def test_a_container_of_version_1_without_a_limit_bounds_nothing(tmp_path: Path) -> None:
    """Its limit is a number larger than any machine."""
    files = {
        "proc/meminfo": "MemAvailable: 1000 kB\n",
        "proc/self/cgroup": "5:memory:/x\n",
        "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/x/memory.usage_in_bytes": "4096\n",
    }

    assert free_memory_bytes(_write(tmp_path, files)) == 1_024_000


def test_a_suggestion_is_in_words_of_models() -> None:
    """It names sizes and quantisations."""
    assert "3 B parameters at Q4_K_M" in suggestion(Machine(cores=4, memory_bytes=3 * GIB))
    assert "fastest" in suggestion(BOARD)
    assert "fastest" not in suggestion(GPU)
