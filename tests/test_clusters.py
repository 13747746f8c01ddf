"""docs/clusters.md on a real SLURM, of one node that is this machine: its files are submitted as they stand, with a smaller run in each.

Needs slurmctld and slurmd (Debian's slurm-wlm). They run in the test's folder, on ports of their own.
"""

import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import FORGET, REPOSITORY, TINY, command, isolate, summary_of, without_times

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not (shutil.which("slurmctld") and shutil.which("slurmd")), reason="SLURM is not installed"),
]

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=8
PartitionName=all Nodes=ALL Default=YES State=UP
"""
SMALL = ("experiment=smoke", "pretrain.epochs=4", "evaluation=quick", "evaluation.num_points=50", "tracking.mode=disabled")


def free_ports(num):
    sockets = [socket.socket() for _ in range(num)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Slurm:
    """A cluster of one node. env: of the user who submits."""

    def __init__(self, folder):
        self.folder = folder
        host = socket.gethostname().partition(".")[0]
        for name in ("state", "spool"):
            (folder / name).mkdir()
        conf = folder / "slurm.conf"
        conf.write_text(CONF.format(host=host, ports=free_ports(2), user=getpass.getuser(), folder=folder))
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.env = {k: v for k, v in os.environ.items() if k not in FORGET} | isolate(folder / "home")
        self.env |= {"SLURM_CONF": str(conf), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PATH": path}
        self.daemons = [subprocess.Popen([name, "-D", "-c"], env=self.env, stderr=subprocess.DEVNULL) for name in ("slurmctld", "slurmd")]
        self.wait_for(lambda: "idle" in self.call("sinfo", "-h", "-o", "%T", check=False), 30)

    def stop(self):
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait(20)

    def call(self, *words, check=True):
        return subprocess.run(words, env=self.env, cwd=self.folder, capture_output=True, text=True, check=check).stdout.strip()

    def submit(self, block, cwd, **replaced):
        """Submit a file of docs/clusters.md, with what is replaced in it; returns the job's number."""
        script = file_of(block)
        for old, new in replaced.items():
            assert old in script
            script = script.replace(old, new)
        (cwd / block).write_text(script)
        return self.call("sbatch", "--parsable", f"--chdir={cwd}", f"--output={cwd}/log", str(cwd / block))

    def states(self, job):
        """Of a job, or of each task of an array."""
        return re.findall(r"JobState=(\w+)", self.call("scontrol", "show", "job", job))

    def wait_for(self, condition, seconds):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.call("scontrol", "show", "job", check=False)
            time.sleep(0.3)


def file_of(name):
    text = (REPOSITORY / "docs" / "clusters.md").read_text()
    return text.partition(f"`{name}`:\n\n```bash\n")[2].partition("```")[0]


@pytest.fixture
def slurm(tmp_path):
    folder = tmp_path / "slurm"
    folder.mkdir()
    cluster = Slurm(folder)
    yield cluster
    cluster.stop()


def test_a_run_is_requeued(slurm, tmp_path):
    """SIGUSR1, which SLURM sends before the time is over: a checkpoint, the same job again, and the bits of a run that nothing stopped."""
    job = slurm.submit("run.sbatch", tmp_path, **{"method=simclr": f"method=simclr {' '.join(SMALL)}"})
    run = tmp_path / "outputs" / "simclr"
    slurm.wait_for(lambda: (run / "metrics.jsonl").is_file() and (run / "metrics.jsonl").stat().st_size > 0, 90)
    slurm.call("scancel", "--signal=USR1", job)
    slurm.wait_for(lambda: slurm.states(job) == ["PENDING"], 60)
    assert not (run / "summary.json").exists() and list((run / "checkpoints").iterdir())
    slurm.wait_for(lambda: slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now") == "", 10)  # SLURM waits two minutes else
    slurm.wait_for(lambda: slurm.states(job) == ["COMPLETED"], 120)
    log = (tmp_path / "log").read_text()
    assert f"requeued as SLURM's job {job}" in log and "resume  from step" in log
    undisturbed = command(*SMALL, "method=simclr", "hydra.run.dir=undisturbed", cwd=tmp_path)
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert (run / "encoder.pt").read_bytes() == (tmp_path / "undisturbed" / "encoder.pt").read_bytes()
    assert without_times([summary_of(run)]) == without_times([summary_of(tmp_path / "undisturbed")])


def test_an_array_shares_a_sweep_out(slurm, tmp_path):
    """Each result is made once, by more than one task of the array."""
    job = slurm.submit(
        "queue.sbatch",
        tmp_path,
        **{"--array=0-3": "--array=0-1", "method=autoencoder,rotation,simclr seed=0,1,2": f"method=rotation seed=0,1,2 {' '.join(SMALL)}"},
    )
    slurm.wait_for(lambda: slurm.states(job) == ["COMPLETED"] * 2, 180)
    runs = [summary_of(path.parent) for path in (tmp_path / "outputs" / "queue").glob("*/summary.json")]
    assert sorted(run["seed"] for run in runs) == [0, 1, 2]
    assert (tmp_path / "log").read_text().count("train   rotation") == 3


def test_submitit_hands_the_jobs_in(slurm, tmp_path):
    """The command of docs/clusters.md: two jobs of SLURM's own, and the page of their sweep."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    words = re.search(r"python -m ssl_mnist (-m .*submitit_slurm.*)", (REPOSITORY / "docs" / "clusters.md").read_text()).group(1)
    words = words.replace("method=autoencoder,rotation,simclr seed=0,1,2", "seed=0,1").split()
    env = {name: slurm.env[name] for name in ("SLURM_CONF", "PATH", "OMP_NUM_THREADS")}
    result = command(*words, *TINY, cwd=tmp_path, **env)
    assert result.returncode == 0, result.stdout + result.stderr
    slurm.wait_for(lambda: len(re.findall("JobState=COMPLETED", slurm.call("scontrol", "show", "job"))) == 2, 30)
    assert sorted(summary_of(path.parent)["seed"] for path in (tmp_path / "outputs" / "all").glob("*/summary.json")) == [0, 1]
    assert (tmp_path / "outputs" / "all" / "comparison.html").is_file()
