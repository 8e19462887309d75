"""The ledger of a day: what is counted, when a day ends, and that no clock that jumps can end it or bring money back."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconvene.agents.spending import FILE, Clocks, Spending, price_known

NOON = 1_795_435_200.0  # 2026-11-23, 12:00 UTC
DAY = 86400.0


class Machine:
    """Clocks that a test moves. `wall` is what somebody set; `up` only goes on."""

    def __init__(self) -> None:
        self.wall, self.up, self.boot = NOON, 1000.0, "one"

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.wall, lambda: self.up, self.boot)

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.up += seconds

    def reboot(self) -> None:
        self.up, self.boot = 5.0, f"{self.boot}+"


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_runs_add_up_and_an_old_figure_changes_nothing(tmp_path: Path, machine: Machine) -> None:
    spending = Spending(tmp_path, machine.clocks())
    assert spending.today() == 0
    spending.note("s/r1", 0.5)
    spending.note("s/r1", 0.75)
    spending.note("s/r1", 0.5)
    spending.note("t/r1", 1.0)
    assert spending.today() == 1.75
    again = Spending(tmp_path, machine.clocks())
    assert again.today() == 1.75
    again.note("s/r1", 0.75)  # loaded again after a crash
    assert again.today() == 1.75


def test_a_new_day_begins_at_nothing_and_a_run_over_midnight_is_parted(tmp_path: Path, machine: Machine) -> None:
    spending = Spending(tmp_path, machine.clocks())
    spending.note("s/r1", 3.0)
    machine.wait(12 * 3600 - 1)
    assert spending.today() == 3.0
    machine.wait(2)
    assert spending.today() == 0
    spending.note("s/r1", 3.5)
    assert spending.today() == 0.5
    machine.wait(2 * DAY)
    spending.note("s/r1", 4.5)
    assert spending.today() == 1.0


@pytest.mark.parametrize("jump", [-400 * DAY, -DAY, -3600.0, 3600 * 11.0, DAY, 400 * DAY])
@pytest.mark.parametrize("restart", [False, True])
def test_bad131_a_clock_that_jumps_neither_ends_the_day_nor_keeps_it(
    tmp_path: Path, machine: Machine, jump: float, restart: bool
) -> None:
    spending = Spending(tmp_path, machine.clocks())
    spending.note("s/r1", 3.0)
    machine.wall += jump
    if restart:
        spending = Spending(tmp_path, machine.clocks())
    assert spending.today() == 3.0
    machine.wait(11 * 3600)
    assert spending.today() == 3.0
    machine.wait(3600 + 120)
    assert spending.today() == 0


def test_control_told_by_the_wall_clock_a_jump_ends_the_day(tmp_path: Path, machine: Machine) -> None:
    machine_clock = machine.clocks()
    naive = Clocks(machine_clock.wall, machine_clock.wall, machine.boot)
    spending = Spending(tmp_path, naive)
    spending.note("s/r1", 3.0)
    machine.wall += DAY
    assert spending.today() == 0


def test_a_reboot_takes_the_wall_clock_unless_it_went_back(tmp_path: Path, machine: Machine) -> None:
    Spending(tmp_path, machine.clocks()).note("s/r1", 3.0)
    machine.reboot()
    machine.wall -= 30 * DAY  # a machine without a battery for its clock
    assert Spending(tmp_path, machine.clocks()).today() == 3.0
    machine.wall += 31 * DAY
    machine.reboot()
    assert Spending(tmp_path, machine.clocks()).today() == 0


def test_whose_price_is_known() -> None:
    known = ("openai:gpt-5", "anthropic:claude-sonnet-4-5", "openai-chat:gpt-5")
    assert all(map(price_known, known))
    assert not any(
        map(price_known, ("openai:of-my-own", "constrained:openai:qwen2.5-coder:7b", "nowhere:x", "offline"))
    )


def test_a_broken_ledger_and_a_reader_that_writes_nothing(tmp_path: Path, machine: Machine) -> None:
    (tmp_path / FILE).write_text('{"day": 5}')
    reader = Spending(tmp_path, machine.clocks(), keep=False)
    assert reader.today() == 0 and (tmp_path / FILE).read_text() == '{"day": 5}'
    Spending(tmp_path, machine.clocks()).note("s/r1", 1.0)
    assert Spending(tmp_path, machine.clocks(), keep=False).today() == 1.0
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
