"""Total uptime: only served time ages anything."""

from __future__ import annotations

from log_words import a_session

from reconvene.log.uptime import Uptime


class Clock:
    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


async def test_downtime_does_not_count(store):
    log = await store.open()
    clock = Clock(1000.0)
    uptime = await Uptime.load(log, clock)
    assert uptime.now() == 0.0
    clock.at += 50
    await uptime.save()
    log = await store.reopen()
    again = Clock(5.0)  # another boot: the monotonic clock starts anew
    uptime = await Uptime.load(log, again)
    assert uptime.now() == 50.0
    again.at += 7.25
    assert uptime.now() == 57.25


async def test_a_crash_between_two_saves_never_goes_back_behind_a_session(store):
    log = await store.open()
    clock = Clock(0.0)
    uptime = await Uptime.load(log, clock)
    await uptime.save()
    clock.at = 300.0
    await a_session(log, "s_a")
    await log.append("s_a", [], update={"last_active": uptime.now()})
    log = await store.reopen()
    assert (await Uptime.load(log, Clock(9.0))).now() == 300.0
