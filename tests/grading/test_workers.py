"""Jobs are handed to pools of processes, and each comes back once."""

import os
import signal
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

from demuxlab.grading import workers
from demuxlab.grading.grade import Job


def job(name: str) -> Job:
    return Job(name, b"", "", "", "", "", 10.0, "none", "en", key=f"key of {name}")


def test_many_jobs_go_to_one_pool_after_the_other(monkeypatch):
    monkeypatch.setattr(workers, "grade", attrgetter("name"))  # the pool's processes find it by its name
    monkeypatch.setattr(workers, "_JOBS_PER_PROCESS", 1)
    jobs = [job(f"learner {number}") for number in range(7)]
    outcomes = list(workers.on_this_machine(jobs, processes=2))
    assert sorted(done.name for done, _, _ in outcomes) == [done.name for done in jobs]
    assert all(result == done.name and not why for done, result, why in outcomes)


def test_a_process_that_is_killed_again_and_again_is_told(monkeypatch):
    monkeypatch.setattr(workers, "grade", kills_its_process)
    [(_, result, why)] = workers.on_this_machine([job("kim")], processes=1)
    assert result is None
    assert "killed again and again" in why


def kills_its_process(_job: Job) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_sigterm_ends_a_process_that_is_waiting_for_a_learners():
    script = (
        "import os, signal, subprocess\n"
        "from demuxlab.grading import sandbox, workers\n"
        "learner = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "sandbox._running.add(sandbox.LearnerProcess(learner, sandbox.LIMITS))\n"
        "signal.signal(signal.SIGTERM, workers._end_soon)\n"
        "with learner._waitpid_lock:  # as Popen.wait has it\n"
        "    print(learner.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "learner.wait()\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            learner = int(process.stdout.readline())
            assert process.wait(60) == 1
        finally:
            process.kill()
    assert not Path(f"/proc/{learner}").exists()
