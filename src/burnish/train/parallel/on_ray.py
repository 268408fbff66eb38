"""`python -m burnish.train` on a Ray cluster: one actor a process, each of which starts that very command.

    python -m burnish.train.parallel.on_ray --processes 8 --gpus 1 --address auto sft --model DIR --data FILE --out DIR

An actor finds its place in the cluster, and its command the others through MASTER_ADDR and MASTER_PORT, as under
torchrun. Needs the extra `ray`. See docs/distributed.md.
"""

from __future__ import annotations

import argparse
import collections
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from burnish.errors import BurnishError, SettingsError, WorkerError

INSTALL = "pip install 'burnish[ray]'"
ROOM = 60.0  # plumbing: seconds in which the cluster must have room
GRACE = 10.0  # plumbing: seconds in which the first process may end by itself after another one has
TAIL = 40  # lines of a process that an error shows


class Process:
    """One actor: a process of the training on some node."""

    def address(self) -> tuple[str, int]:
        """Where the others can meet the first one: its node and a free port of it."""
        import ray

        with socket.socket() as free:
            free.bind(("", 0))
            return ray.util.get_node_ip_address(), free.getsockname()[1]

    def run(self, words: Sequence[str], env: Mapping[str, str], folder: str) -> tuple[int, str]:
        """The command's exit code and its last lines; the first process also prints what it says."""
        process = subprocess.Popen(
            [sys.executable, "-m", "burnish.train", *words],
            env={**os.environ, **env},
            cwd=folder if os.path.isdir(folder) else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        last: collections.deque[str] = collections.deque(maxlen=TAIL)
        for line in process.stdout:
            last.append(line)
            if env["RANK"] == "0":
                print(line, end="", flush=True)
        return process.wait(), "".join(last)


def train_on_ray(
    words: Sequence[str], *, processes: int, address: str | None = None, cpus: float = 1.0, gpus: float = 0.0
) -> str:
    """Train on a cluster, and return the last lines of the first process.

    Args:
        words: those of `burnish train`: the method and its options. The run folder, and the model's, must be the same
            on every node (a shared disk); the data is read on the first process's node alone.
        processes: actors, each with one process of the training.
        address: of a running cluster (`auto`, `ray://host:10001`); None starts one on this machine and ends it after.
        cpus, gpus: that Ray reserves for each.

    Raises:
        SettingsError: no process, or a negative share of the machine.
        WorkerError: Ray is not installed or not there, the cluster has no room, or a process failed; the same call
            goes on from the last checkpoint.
    """
    if processes < 1 or min(cpus, gpus) < 0:
        raise SettingsError("processes must be 1 or more; cpus and gpus 0 or more")
    with (
        _connected(address, max(1, -(-int(processes * cpus * 100) // 100))) as ray,
        _room(ray, processes, cpus, gpus) as made,
    ):
        host, port = ray.get(made[0].address.remote())
        # Each actor sees the GPUs that are its own, so each is the only process of its machine.
        shared = {"MASTER_ADDR": host, "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
        shared |= {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        folder = os.getcwd()
        running = [
            actor.run.remote(list(words), {**shared, "RANK": str(rank)}, folder) for rank, actor in enumerate(made)
        ]
        return _ended(ray, running)


def _ended(ray: Any, running: list[Any]) -> str:
    """Wait for all; as soon as one fails, say so."""
    waiting, first = list(running), ""
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1)
        rank = running.index(done[0])
        code, said = _result(ray, done[0])
        if rank == 0:
            first = said
        if code:
            if rank and running[0] in waiting and ray.wait([running[0]], timeout=GRACE)[0]:
                rank, (code, said) = 0, _result(ray, running[0])
            raise WorkerError(
                f"process {rank} of {len(running)} ended with code {code}; its last lines:\n{said.strip()}"
            )
    return first


def _result(ray: Any, reference: Any) -> tuple[int, str]:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:  # the actor or its node is gone
        return -1, str(error).strip().splitlines()[0]


@contextmanager
def _room(ray: Any, processes: int, cpus: float, gpus: float) -> Iterator[list[Any]]:
    """The actors, placed together as closely as the cluster allows."""
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    each = {name: share for name, share in (("CPU", cpus), ("GPU", gpus)) if share}
    group = placement_group([each or {"CPU": 0.01}] * processes, strategy="PACK")
    made: list[Any] = []
    try:
        if not group.wait(ROOM):
            raise WorkerError(
                f"the Ray cluster has no room for {processes} processes of {cpus:g} CPUs and {gpus:g} GPUs; it has "
                f"{ray.cluster_resources().get('CPU', 0):g} CPUs and {ray.cluster_resources().get('GPU', 0):g} GPUs"
            )
        actor = ray.remote(Process)
        for number in range(processes):
            place = PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=number)
            made.append(actor.options(num_cpus=cpus, num_gpus=gpus, scheduling_strategy=place).remote())
        yield made
    finally:
        for one in made:
            ray.kill(one)
        remove_placement_group(group)


@contextmanager
def _connected(address: str | None, cpus: int) -> Iterator[Any]:
    """Ray, connected: to what this process is connected to already, to the address, or to a cluster of its own."""
    try:
        import ray
    except ImportError as error:
        raise WorkerError(f"Ray is not installed ({error}); run {INSTALL}") from None
    mine = not ray.is_initialized()
    if mine:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        own = {} if address else {"num_cpus": max(os.cpu_count() or 1, cpus), "include_dashboard": False}
        try:
            ray.init(address=address, logging_level="error", **own)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise WorkerError(f"the Ray cluster at {address or 'this machine'} cannot be used: {error}") from error
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


def main() -> None:
    """Parse, run, and say in one line what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--address", help="of a running cluster; without it one is started on this machine")
    parser.add_argument("--cpus", type=float, default=1.0, help="that a process gets")
    parser.add_argument("--gpus", type=float, default=0.0, help="that a process gets")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="of burnish train: METHOD --model DIR --data FILE ...")
    asked = parser.parse_args()
    began = time.monotonic()
    how = {"processes": asked.processes, "address": asked.address, "cpus": asked.cpus, "gpus": asked.gpus}
    try:
        train_on_ray(asked.words, **how)
    except BurnishError as error:
        print(f"burnish: error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{asked.processes} processes, {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
