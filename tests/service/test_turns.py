"""A bound by weight that nobody exceeds, and turns that everybody gets."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.service.fair_queueing import SoundUse, Turns
from tests.support.loops import run as run_coroutine

OWNERS = st.sampled_from("abc")


@settings(max_examples=40, deadline=None)
@given(
    most=st.integers(1, 20),
    asked=st.lists(st.tuples(OWNERS, st.integers(0, 30), st.integers(0, 3)), max_size=25),
)
def test_no_more_is_held_than_may_be_and_everybody_gets_a_turn(
    most: int, asked: list[tuple[str, int, int]]
) -> None:
    turns, held, most_held, served = Turns(most), 0, 0, 0

    async def use(owner: str, weight: int, steps: int) -> None:
        nonlocal held, most_held, served
        async with turns.hold(owner, weight, 30.0) as got:
            assert got
            held += min(weight, most)
            most_held = max(most_held, held)
            for _ in range(steps):
                await asyncio.sleep(0)
            held -= min(weight, most)
            served += 1

    async def all_of_them() -> None:
        await asyncio.gather(*(use(*one) for one in asked))

    run_coroutine(all_of_them())
    assert most_held <= most and served == len(asked)
    assert turns.held == 0 and not turns._owners


@settings(max_examples=20, deadline=None)
@given(many=st.integers(2, 12), slots=st.integers(1, 3))
def test_an_owner_with_many_wishes_delays_another_by_one_at_each_place(
    many: int, slots: int
) -> None:
    turns, order = Turns(slots), list[str]()

    async def use(owner: str) -> None:
        async with turns.hold(owner, 1, 30.0):
            order.append(owner)
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        await asyncio.gather(*(use("many") for _ in range(slots + many)), use("one"))

    run_coroutine(all_of_them())
    assert order.index("one") <= slots + 1


def test_something_heavy_is_not_overtaken_for_ever_by_what_is_light() -> None:
    async def run() -> list[str]:
        turns, order = Turns(10), list[str]()

        async def use(name: str, weight: int) -> None:
            async with turns.hold(name, weight, 30.0):
                order.append(name)
                await asyncio.sleep(0.001)

        light = [use(f"light {i}", 1) for i in range(60)]
        await asyncio.gather(*light[:20], use("heavy", 10), *light[20:])
        return order

    assert run_coroutine(run()).index("heavy") == 20


def test_whose_turn_does_not_come_in_time_holds_nothing_and_blocks_nobody() -> None:
    async def run() -> None:
        turns = Turns(10)
        async with turns.hold("a", 6, 1.0) as first:
            assert first
            async with turns.hold("b", 6, 0.01) as second:
                assert not second
                async with turns.hold("c", 4, 1.0) as third:
                    assert third and turns.held == 10
            waiting = asyncio.create_task(_held(turns))
            await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert turns.held == 0
        async with turns.hold("d", 10, 0.0) as fourth:
            assert fourth

    run_coroutine(run())


async def _held(turns: Turns) -> None:
    async with turns.hold("gone", 10, 30.0):
        pass


def test_threads_and_event_loops_wait_for_each_other() -> None:
    turns, order, stop = Turns(1), list[str](), threading.Event()

    def work() -> None:
        with turns.hold_in_thread("thread", 1, stop.is_set) as got:
            order.append(f"thread {got}")

    async def run() -> None:
        async with turns.hold("loop", 1, 1.0):
            thread = threading.Thread(target=work)
            thread.start()
            await asyncio.sleep(0.02)
            order.append("loop")
        await asyncio.to_thread(thread.join)

    run_coroutine(run())
    assert order == ["loop", "thread True"]
    stop.set()
    with turns.hold_in_thread("a", 1, stop.is_set) as first:
        assert first
        with turns.hold_in_thread("b", 1, stop.is_set) as second:
            assert not second


@pytest.mark.parametrize("size", [1, 60, 200, 5000])
def test_small_sounds_go_on_beside_large_ones_within_the_bound(size: int) -> None:
    async def run() -> None:
        use = SoundUse(1000)
        async with AsyncExitStack() as held:
            for owner in "abcdefgh":
                await held.enter_async_context(use.hold(owner, 700, 0.0))
            async with use.hold("z", size, 0.0) as got:
                assert got == (size <= 1000 // 16)
            while await held.enter_async_context(use.hold("z", 60, 0.0)):
                assert use.held <= 1000

    run_coroutine(run())
