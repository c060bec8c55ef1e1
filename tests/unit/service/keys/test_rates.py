import logging
import math
import multiprocessing
import os
import signal
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from facesearch.service.host_lock import locked, private_file
from facesearch.service.keys import rates as rates_module
from facesearch.service.keys.rates import Rates


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_and_then_one_at_a_time(tmp_path: Path) -> None:
    seconds = Seconds()
    rates = Rates(tmp_path / "rates", 60, 3, seconds)
    assert [rates.take(1) for _ in range(3)] == [0, 0, 0]
    assert rates.take(1) == pytest.approx(1.0)
    seconds.now += 0.75
    assert rates.take(1) == pytest.approx(0.25)
    seconds.now += 0.25
    assert [rates.take(1) > 0 for _ in range(2)] == [False, True]
    seconds.now += 1000
    assert [rates.take(1) > 0 for _ in range(4)] == [False, False, False, True]
    assert rates.take(2) == 0
    rates.close()


@pytest.mark.parametrize(("per_minute", "burst"), [(60, 1), (7, 3), (600, 20), (0.5, 2), (59.9, 50)])
def test_in_the_long_run_it_is_the_rate(tmp_path: Path, per_minute: float, burst: int) -> None:
    seconds = Seconds()
    rates = Rates(tmp_path / "rates", per_minute, burst, seconds)
    begun, allowed = seconds.now, 0
    while allowed < 300:
        wait_s = rates.take(1)
        if wait_s:
            seconds.now += wait_s
        else:
            allowed += 1
    assert (seconds.now - begun) == pytest.approx((300 - burst) * 60 / per_minute, rel=1e-6)
    rates.close()


@pytest.mark.parametrize("stored", [math.nan, math.inf, -math.inf, -1.0, 1e300, 0.0, 1e9])
def test_what_no_request_has_left_counts_for_nothing(tmp_path: Path, stored: float) -> None:
    file = tmp_path / "rates"
    file.write_bytes(bytes(8) + struct.pack("<d", stored))
    rates = Rates(file, 60, 2, Seconds())
    assert [rates.take(1) > 0 for _ in range(3)] == [False, False, True]
    rates.close()


def _take(file: Path, times: int) -> int:
    # In a process of its own. Where the other one is stopped with the lock, it would count for itself.
    rates_module._LOCK_S = 60.0
    rates = Rates(file, 0.001, 100)
    taken = sum(rates.take(3) == 0 for _ in range(times))
    rates.close()
    return taken


def test_processes_count_together(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        taken = pool.starmap(_take, [(tmp_path / "rates", 80)] * 3)
    assert sum(taken) == 100


def test_threads_count_together(tmp_path: Path) -> None:
    rates = Rates(tmp_path / "rates", 0.001, 50)
    with ThreadPoolExecutor(8) as threads:
        assert sum(wait_s == 0 for wait_s in threads.map(rates.take, [1] * 100)) == 50
    rates.close()


def _hold(file: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with locked(private_file(file, os.O_RDWR), 5) as held:
        assert held
        ready.set()
        signal.pause()


def test_a_process_that_was_stopped_while_it_counted_keeps_nobody_waiting(tmp_path: Path) -> None:
    file = tmp_path / "rates"
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(file, ready))
    holder.start()
    try:
        assert ready.wait(30)
        rates = Rates(file, 60, 2, Seconds())
        assert [rates.take(1) > 0 for _ in range(3)] == [False, False, True]
        holder.kill()
        holder.join(30)
        assert [rates.take(1) > 0 for _ in range(3)] == [False, False, True]  # on the file now
        rates.close()
    finally:
        holder.kill()
        holder.join(30)


def test_where_the_file_cannot_be_used_the_process_counts_for_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    rates = Rates(tmp_path / "file" / "rates", 60, 2, Seconds())
    with caplog.at_level(logging.WARNING):
        assert [rates.take(1) > 0 for _ in range(3)] == [False, False, True]
    assert len(caplog.messages) == 1
    assert str(tmp_path) not in caplog.text
    rates.close()
