"""The one thread crossing: a burst is one repaint, and nothing is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from memtop.tui.bridge import Bridge
from memtop.tui.messages import SnapshotReady


class Source:
    """Keeps the callback for the test to call."""

    def __init__(self) -> None:
        self.callback: Callable[[], None] = lambda: None

    def subscribe(self, callback: Callable[[], None]) -> None:
        self.callback = callback


def burst(source: Source, count: int) -> None:
    """News from another thread, all of it before this returns."""
    thread = threading.Thread(target=lambda: [source.callback() for _ in range(count)])
    thread.start()
    thread.join()


async def test_a_burst_from_another_thread_is_one_message_on_the_loops_thread() -> None:
    source, seen = Source(), asyncio.Queue[int]()
    bridge = Bridge(source, lambda: seen.put_nowait(threading.get_ident()), interval=0.01)
    burst(source, 1000)
    assert await asyncio.wait_for(seen.get(), 5) == threading.get_ident()
    assert seen.empty()
    bridge.close()


async def test_news_during_the_interval_wait_for_its_end() -> None:
    source, seen, time = Source(), asyncio.Queue[float](), [100.0]
    bridge = Bridge(source, lambda: seen.put_nowait(time[0]), interval=0.05, clock=lambda: time[0])
    burst(source, 3)
    assert await asyncio.wait_for(seen.get(), 5) == 100.0
    burst(source, 3)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert seen.empty(), "the interval is not over"
    assert await asyncio.wait_for(seen.get(), 5) == 100.0, "what came during the interval is drawn after it"
    bridge.close()


async def test_a_closed_bridge_is_deaf() -> None:
    source, seen = Source(), list[int]()
    bridge = Bridge(source, lambda: seen.append(1), interval=0.0)
    bridge.close()
    burst(source, 3)
    await asyncio.sleep(0)
    assert seen == []


def test_news_after_the_loop_has_ended_do_not_raise() -> None:
    source = Source()

    async def brief() -> None:
        Bridge(source, lambda: None)

    asyncio.run(brief())
    source.callback()


def test_a_newer_message_replaces_one_in_the_queue() -> None:
    assert SnapshotReady().can_replace(SnapshotReady())
