"""One budget for a channel: never more than it allows, the urgent first, and nothing waits without need."""

from __future__ import annotations

import asyncio
import time

from bot.budget import Budget, Urgency


async def test_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    budget = Budget(rate=50, burst=5, reserve=0)
    began = time.monotonic()
    times = []
    for _ in range(15):
        await budget.take(Urgency.STREAM)
        times.append(time.monotonic() - began)

    assert times[4] < 0.05
    assert times[14] >= 10 / 50 - 0.005


async def test_urgent_goes_before_what_waited_longer() -> None:
    budget = Budget(rate=20, burst=1, reserve=0)
    await budget.take(Urgency.FINAL)
    order: list[Urgency] = []

    async def send(urgency: Urgency) -> None:
        await budget.take(urgency)
        order.append(urgency)

    await asyncio.gather(*(send(u) for u in (Urgency.STATUS, Urgency.STREAM, Urgency.ASK, Urgency.FINAL)))
    assert order == sorted(order)


async def test_last_tokens_are_kept_for_what_is_urgent() -> None:
    budget = Budget(rate=0.01, burst=3, reserve=2)
    await budget.take(Urgency.STREAM)

    assert not budget.free(Urgency.STREAM)
    assert budget.free(Urgency.FINAL)
    await budget.take(Urgency.FINAL)


async def test_hold_of_the_platform_is_kept() -> None:
    budget = Budget(rate=1000, burst=10)
    budget.hold(0.2)
    began = time.monotonic()
    await budget.take(Urgency.FINAL)

    assert time.monotonic() - began >= 0.19


async def test_cancelled_waiter_costs_nothing() -> None:
    budget = Budget(rate=20, burst=1, reserve=0)
    await budget.take(Urgency.FINAL)
    waiting = asyncio.create_task(budget.take(Urgency.FINAL))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    began = time.monotonic()
    await budget.take(Urgency.STATUS)

    assert time.monotonic() - began < 0.1


async def test_shared_budget_bounds_all_channels_together() -> None:
    whole = Budget(rate=50, burst=2, reserve=0)
    channels = [Budget(rate=1000, burst=100, below=whole) for _ in range(5)]
    began = time.monotonic()
    await asyncio.gather(*(channel.take(Urgency.REPLY) for channel in channels for _ in range(3)))

    assert time.monotonic() - began >= 13 / 50 - 0.005


async def test_request_that_is_given_up_while_the_shared_budget_waits_costs_nothing() -> None:
    shared = Budget(rate=5, burst=1, reserve=0)
    await shared.take(Urgency.FINAL)
    budget = Budget(rate=0.01, burst=1, reserve=0, below=shared)
    waiting = asyncio.create_task(budget.take(Urgency.STREAM))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    await asyncio.wait_for(budget.take(Urgency.STREAM), 1)
