"""The part of ./dev bench that measures several machines on one PostgreSQL, and Buildbot beside them."""
import os, re, shutil, socket, sqlite3, subprocess, sys, time
from pathlib import Path

from bench_serve import MANY, until

root = Path(__file__).resolve().parent.parent
PASSWORD = "of-the-bench-alone"
BUILDBOT = "4.3.0"

# The same work for Buildbot: changes come when a file appears, and each is a build of one command.
MASTER = """
from buildbot.changes.base import ChangeSource
from buildbot.plugins import schedulers, steps, util, worker
from twisted.internet import defer, task
import os

class Burst(ChangeSource):
    @defer.inlineCallbacks
    def look(self):
        if os.path.exists("{go}") and not self.done:
            self.done = True
            for number in range({count}):
                yield self.master.data.updates.addChange(revision=str(number), branch="main", author="tess", files=[], comments="a change")

    def activate(self):
        self.done = False
        self.loop = task.LoopingCall(self.look)
        self.loop.start(0.05)

    def deactivate(self):
        if self.loop.running:
            self.loop.stop()

c = BuildmasterConfig = {{}}
c["workers"] = [worker.LocalWorker("here", max_builds=2)]
c["change_source"] = [Burst(name="burst")]
c["schedulers"] = [schedulers.SingleBranchScheduler(name="all", change_filter=util.ChangeFilter(branch="main"), treeStableTimer=None, builderNames=["one"])]
c["builders"] = [util.BuilderConfig(name="one", workernames=["here"], factory=util.BuildFactory([steps.ShellCommand(command=["true"])]), collapseRequests=False)]
c["protocols"] = {{"pb": {{"port": "tcp:0:interface=127.0.0.1"}}}}
c["buildbotNetUsageData"] = None
c["db"] = {{"db_url": "sqlite:///state.sqlite"}}
"""


class Postgres:
    """Debian's server on a free port, under its own user where we are root; gone when it is closed."""

    def __init__(self, folder):
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        assert found, "PostgreSQL is missing: ./dev setup installs postgresql"
        self.programs, self.folder = found[-1].parent, folder
        folder.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        password = folder / "password"
        password.write_text(PASSWORD)
        if os.getuid() == 0:
            # It refuses to run as root, and must reach its folder.
            for path in (folder, password):
                shutil.chown(path, "postgres", "postgres")
            above = folder.parent
            while above != Path("/tmp") and above != above.parent:
                above.chmod(above.stat().st_mode | 0o011)
                above = above.parent
        self.run("initdb", "-U", "runner", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-instructions",
                 "--pwfile", str(password), "-D", str(folder / "data"))
        with open(folder / "log", "wb") as log:
            self.child = subprocess.Popen(
                self.command("postgres", "-D", str(folder / "data"), "-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}",
                             "-c", "unix_socket_directories="), cwd=folder, stdout=log, stderr=log)
        until(lambda: self.ask("postgres", "SELECT 1"), "PostgreSQL")

    def command(self, program, *words):
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        return [*user, str(self.programs / program), *words]

    def run(self, program, *words):
        return subprocess.run(self.command(program, *words), cwd=self.folder, env={**os.environ, "PGPASSWORD": PASSWORD},
                              check=True, capture_output=True, text=True).stdout.strip()

    def ask(self, database, statement):
        try:
            return self.run("psql", "-h", "127.0.0.1", "-U", "runner", "-At", "-p", str(self.port), "-d", database, "-c", statement)
        except subprocess.CalledProcessError:
            return ""

    def url(self, database):
        return f"postgres://runner:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def close(self):
        self.child.terminate()
        self.child.wait()


def git(folder, *words):
    command = ["git", "-c", "user.name=Tess", "-c", "user.email=t@example.com", *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def together(runner, folder, postgres, machines, jobs):
    """Runs trivial jobs on so many machines; returns the seconds that they took."""
    folder.mkdir()
    git(folder, "init", "-q", "--bare", "-b", "main", "bare.git")
    git(folder, "init", "-q", "-b", "main", "tree")
    (folder / "tree/pipelines").mkdir()
    (folder / "tree/pipelines/many.yml").write_text(MANY.format(numbers=", ".join(map(str, range(jobs)))))
    git(folder / "tree", "add", "-A")
    git(folder / "tree", "commit", "-q", "-m", "first")
    git(folder / "tree", "push", "-q", "../bare.git", "main")
    database = f"machines{machines}"
    postgres.run("psql", "-h", "127.0.0.1", "-U", "runner", "-p", str(postgres.port), "-d", "postgres", "-c", f"CREATE DATABASE {database}")
    env = {**os.environ, "NO_COLOR": "1"}
    for key in [key for key in env if key.startswith(("GITHUB_", "RUNNER_"))]:
        del env[key]
    env["RUNNER_DATABASE"] = postgres.url(database)
    children = []
    try:
        for number in range(machines):
            own = folder / f"machine{number}"
            own.mkdir()
            (own / "runner.toml").write_text(
                f'data = "data"\nslots = 2\n[[repository]]\nname = "acme/demo"\nurl = "{folder}/bare.git"\npoll = "1h"\n')
            with open(own / "log", "wb") as log:
                children.append(subprocess.Popen([runner, "serve"], cwd=own, env=env, stdout=log, stderr=log))
            until(lambda: "ready" in (own / "log").read_text(), "the machine")
            until(lambda: (own / "data/mirrors").exists(), "the first look")
        begin = time.monotonic()
        subprocess.run([runner, "dispatch", "many.yml"], cwd=folder / "machine0", env=env, check=True, capture_output=True)
        ended = "SELECT count(*) FROM jobs WHERE conclusion = 'success'"
        until(lambda: postgres.ask(database, ended) == str(jobs), "the end of all jobs", 900)
        took = time.monotonic() - begin
        shares = postgres.ask(database, "SELECT count(*) FROM jobs GROUP BY machine ORDER BY 1").split()
        return took, shares
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()


def machines(runner, folder, row, jobs):
    postgres = Postgres(folder / "postgres")
    try:
        for count in (1, 3):
            took, shares = together(runner, folder / f"of{count}", postgres, count, jobs)
            name = f"{jobs} trivial jobs, one PostgreSQL, machines: {count}"
            row(name, took, "s", None, f"{jobs / took:.1f} a second, 2 slots each; jobs of each: {', '.join(shares)}")
    finally:
        postgres.close()


def buildbot(folder, row, jobs):
    """Buildbot with two builds at once by a worker of the same process; says so where it cannot be had."""
    home = root / "target/tools/buildbot"
    program = home / "bin/buildbot"
    if not program.exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(home)], capture_output=True, text=True)
        if made.returncode == 0:
            made = subprocess.run([str(home / "bin/pip"), "install", "-q", "--disable-pip-version-check", f"buildbot=={BUILDBOT}",
                                   f"buildbot-worker=={BUILDBOT}", "setuptools<81"], capture_output=True, text=True)
        if made.returncode:
            shutil.rmtree(home, ignore_errors=True)
            print(f"Buildbot is not beside it: {(made.stderr.strip().splitlines() or ['pip cannot install it'])[-1]}")
            return
    master = folder / "buildbot"
    env = {**os.environ, "PATH": f"{home}/bin:{os.environ['PATH']}"}
    subprocess.run([program, "create-master", "-r", str(master)], check=True, capture_output=True, env=env)
    go = folder / "buildbot-go"
    (master / "master.cfg").write_text(MASTER.format(go=go, count=jobs))
    with open(folder / "buildbot.log", "wb") as log:
        child = subprocess.Popen([program, "start", "--nodaemon", str(master)], env=env, stdout=log, stderr=log)
    try:
        words = lambda: (folder / "buildbot.log").read_text() + ((master / "twistd.log").read_text() if (master / "twistd.log").exists() else "")
        until(lambda: re.search(r"BuildMaster is running", words()) or child.poll() is not None, "Buildbot")
        assert child.poll() is None, words()
        ended = lambda: sqlite3.connect(f"file:{master}/state.sqlite?mode=ro", uri=True).execute(
            "SELECT count(*) FROM builds WHERE complete_at IS NOT NULL AND results = 0").fetchone()[0]
        begin = time.monotonic()
        go.touch()
        until(lambda: ended() >= jobs, "the end of all builds", 900)
        took = time.monotonic() - begin
        row(f"Buildbot {BUILDBOT}: {jobs} trivial builds, 2 at once", took, "s", None, f"{jobs * 60 / took:.0f} a minute")
    finally:
        child.terminate()
        child.wait()


def measure(runner, folder, row):
    machines(runner, folder, row, 200)
    buildbot(folder, row, 20)
    print("Laminar is not beside it: neither Debian nor PyPI has it as a package")
