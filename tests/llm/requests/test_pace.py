"""The pace against servers with a hidden capacity, in virtual time: an hour of storms in a second."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from burnish.llm.requests import Pace, Pacing
from tests.llm.requests.virtual import run_virtually

BAND, REJECTED, SETTLED = 0.15, 0.03, 60.0


@dataclass
class Storm:
    """Rejects at once what comes above its capacity; serves the rest in a second or so."""

    pace: Pace
    capacity: int
    seconds: float = 1.0
    wait: float = 0.0
    in_service: int = 0
    served: int = 0
    rejected: int = 0
    early: int = 0
    until: float = 0.0
    rng: random.Random = field(default_factory=lambda: random.Random(7))

    async def client(self, end: float) -> None:
        now = asyncio.get_running_loop().time
        while now() < end:
            epoch = await self.pace.enter()
            self.early += now() < self.until
            if self.in_service >= self.capacity:
                self.rejected += 1
                await asyncio.sleep(0.02)
                self.until = now() + self.wait
                self.pace.refuse(epoch, self.wait)
                await asyncio.sleep(self.rng.uniform(0.3, 0.6))
                continue
            self.in_service += 1
            took = self.seconds * self.rng.lognormvariate(0.0, 0.4)
            await asyncio.sleep(took)
            self.in_service -= 1
            self.served += 1
            self.pace.leave(epoch, seconds=took, tokens=50)

    async def level(self, start: float, end: float) -> tuple[float, float]:
        """Mean limit and mean number in service over a stretch of time."""
        now = asyncio.get_running_loop().time
        await asyncio.sleep(start - now())
        limits, services = [], []
        while now() < end:
            limits.append(self.pace.limit)
            services.append(self.in_service)
            await asyncio.sleep(0.1)
        return sum(limits) / len(limits), sum(services) / len(services)

    def share(self) -> float:
        return self.rejected / (self.served + self.rejected)


def storm(capacity: int, **more: float) -> Storm:
    return Storm(Pace(clock=asyncio.get_running_loop().time), capacity, **more)


@pytest.mark.parametrize("capacity", [8, 40, 150])
@pytest.mark.parametrize("seconds", [0.2, 1.0])
def test_a_hidden_capacity_is_found_within_a_minute_and_kept(capacity: int, seconds: float) -> None:
    async def scene() -> None:
        found = storm(capacity, seconds=seconds)
        clients = [asyncio.create_task(found.client(120.0)) for _ in range(600)]
        limit, service = await found.level(SETTLED, 120.0)
        await asyncio.gather(*clients)
        assert abs(limit / capacity - 1) < BAND and abs(service / capacity - 1) < BAND, (limit, service)
        assert found.share() < REJECTED, found.share()

    run_virtually(scene())


@pytest.mark.parametrize("before, after", [(120, 40), (40, 120)])
def test_a_capacity_that_changes_is_found_again_within_a_minute(before: int, after: int) -> None:
    async def scene() -> None:
        found = storm(before)
        clients = [asyncio.create_task(found.client(300.0)) for _ in range(600)]
        await asyncio.sleep(120.0)
        found.capacity = after
        limit, service = await found.level(120.0 + SETTLED, 300.0)
        await asyncio.gather(*clients)
        assert abs(limit / after - 1) < BAND and abs(service / after - 1) < BAND, (limit, service)
        assert found.share() < REJECTED, found.share()

    run_virtually(scene())


def test_retry_after_is_obeyed_and_probes_do_not_turn_into_pauses() -> None:
    async def scene() -> None:
        found = storm(40, wait=5.0)
        clients = [asyncio.create_task(found.client(600.0)) for _ in range(600)]
        _, service = await found.level(SETTLED, 600.0)
        await asyncio.gather(*clients)
        assert found.rejected and not found.early, "something was sent during a pause"
        assert abs(service / 40 - 1) < BAND and found.share() < REJECTED, (service, found.share())

    run_virtually(scene())


def test_two_models_are_paced_apart() -> None:
    async def scene() -> None:
        small, large = storm(10), storm(80)
        clients = [asyncio.create_task(one.client(120.0)) for one in (small, large) for _ in range(200)]
        levels = await asyncio.gather(small.level(SETTLED, 120.0), large.level(SETTLED, 120.0))
        await asyncio.gather(*clients)
        assert [round(limit / 10) for limit, _ in levels] == [1, 8], levels

    run_virtually(scene())


def test_a_burst_of_refusals_is_one_cut() -> None:
    async def scene() -> None:
        pace = Pace(Pacing(start=100), clock=asyncio.get_running_loop().time)
        epochs = [await pace.enter() for _ in range(100)]
        for epoch in epochs[:30]:
            pace.refuse(epoch)
        assert pace.cuts == 1 and 60 <= pace.limit <= 70, (pace.cuts, pace.limit)

    run_virtually(scene())


def test_one_that_hangs_by_itself_is_no_congestion_and_silence_is() -> None:
    async def scene() -> None:
        pace = Pace(Pacing(start=20), clock=asyncio.get_running_loop().time)
        sent = [(await pace.enter(), pace.answered) for _ in range(20)]
        before = pace.limit
        for _ in range(60):  # three rounds of others, while two hang
            pace.leave(sent.pop()[0])
            sent.append((await pace.enter(), pace.answered))
        for epoch, answered in sent[:2]:
            pace.late(epoch, answered)
        assert pace.cuts == 0 and pace.limit >= before and pace.in_flight == 18
        for epoch, answered in sent[2:14]:  # nobody was answered since these were sent
            pace.late(epoch, answered)
        assert pace.cuts == 1 and pace.limit < before


def test_faults_that_have_nothing_to_do_with_load_do_not_starve_the_pace() -> None:
    """A thirtieth of the requests is refused whatever is in flight: cutting would never end."""

    async def scene() -> None:
        rng, pace, low = random.Random(5), Pace(Pacing(start=16), clock=asyncio.get_running_loop().time), []

        async def client() -> None:
            for _ in range(100):
                epoch = await pace.enter()
                await asyncio.sleep(rng.uniform(0.5, 1.5))
                if rng.random() < 1 / 30:
                    pace.refuse(epoch)
                else:
                    pace.leave(epoch, seconds=1.0)
                low.append(pace.limit)

        await asyncio.gather(*(client() for _ in range(64)))
        assert min(low[500:]) > 12, min(low[500:])

    run_virtually(scene())


def test_slow_answers_cut_a_few_times_and_long_ones_do_not() -> None:
    async def scene() -> None:
        pace = Pace(Pacing(most=20), clock=asyncio.get_running_loop().time)

        async def answers(rounds: int, seconds: float, tokens: int) -> None:
            for _ in range(rounds):
                for epoch in [await pace.enter() for _ in range(int(pace.limit))]:
                    pace.leave(epoch, seconds=seconds, tokens=tokens)

        await answers(20, 1.0, 100)
        await answers(20, 20.0, 4000)  # longer, at the same speed
        assert pace.cuts == 0
        await answers(200, 20.0, 100)
        assert 1 <= pace.cuts <= 2, pace.cuts

    run_virtually(scene())


def test_a_cancelled_waiter_leaves_its_place() -> None:
    async def scene() -> None:
        pace = Pace(Pacing(start=1, most=1), clock=asyncio.get_running_loop().time)
        epoch = await pace.enter()
        first, second = asyncio.create_task(pace.enter()), asyncio.create_task(pace.enter())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        pace.leave(epoch)
        assert await second == pace.epoch and pace.in_flight == 1

    run_virtually(scene())
