"""The part of ./dev bench that measures `runner serve`: webhooks, the way to the first command, trivial jobs, logs, memory, the start."""
import asyncio, hashlib, hmac, json, os, re, sqlite3, subprocess, time
from pathlib import Path

SECRET = "a-secret-for-webhooks"
FIRST = """on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - run: echo "$EPOCHREALTIME" > "{folder}/$GITHUB_SHA.first"
        shell: bash
"""
MANY = """on: workflow_dispatch
jobs:
  a:
    runs-on: ubuntu-latest
    strategy: {{ matrix: {{ n: [{numbers}] }} }}
    steps: [{{ run: 'true' }}]
"""
LOG = """on: workflow_dispatch
jobs:
  large:
    runs-on: ubuntu-latest
    steps: [{ run: "yes 'a line of a usual length, as compilers and tests print them' | head -c 100000000" }]
"""
LIVE = """on: workflow_dispatch
jobs:
  live:
    runs-on: ubuntu-latest
    steps:
      - run: until [ -e "{folder}/read" ]; do sleep 0.05; done; for n in $(seq 100); do echo "at $EPOCHREALTIME"; sleep 0.05; done
        shell: bash
"""


class Server:
    """`runner serve` on a bare repository of its own that it hardly ever looks at by itself."""

    def __init__(self, runner, folder, workflows):
        self.runner, self.folder, self.child = runner, folder, None
        self.env = {**os.environ, "HOOK_SECRET": SECRET, "NO_COLOR": "1"}
        for key in [key for key in self.env if key.startswith(("GITHUB_", "RUNNER_"))]:
            del self.env[key]
        self.git("init", "-q", "--bare", "-b", "main", "bare.git", at=folder)
        self.git("init", "-q", "-b", "main", "tree", at=folder)
        self.git("remote", "add", "origin", "../bare.git")
        (folder / "tree/pipelines").mkdir()
        for name, text in workflows.items():
            (folder / "tree/pipelines" / name).write_text(text)
        self.push("first")
        (folder / "runner.toml").write_text(
            'data = "data"\nslots = 2\n[server]\nlisten = "127.0.0.1:0"\n[[repository]]\nname = "acme/demo"\n'
            f'url = "{folder}/bare.git"\npoll = "1h"\nwebhook-secrets = [{{ env = "HOOK_SECRET" }}]\n'
        )

    def git(self, *words, at=None):
        words = ["git", "-c", "user.name=Tess", "-c", "user.email=t@example.com", *words]
        return subprocess.run(words, cwd=at or self.folder / "tree", check=True, capture_output=True, text=True).stdout.strip()

    def push(self, message):
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        self.git("push", "-q", "origin", "HEAD")
        return self.git("rev-parse", "HEAD")

    def start(self):
        """Returns the seconds until it says that it is ready."""
        log = self.folder / "serve.log"
        began = time.monotonic()
        with open(log, "wb") as out:
            self.child = subprocess.Popen([self.runner, "serve"], cwd=self.folder, env=self.env, stdout=out, stderr=out)
        while True:
            text = log.read_text()
            found = re.search(r"listening at http://127\.0\.0\.1:(\d+)", text)
            if found and "ready" in text:
                self.port = int(found[1])
                return time.monotonic() - began
            assert self.child.poll() is None, text
            time.sleep(0.002)

    def stop(self):
        self.child.terminate()
        self.child.wait()

    def ask(self, *words):
        return subprocess.run([self.runner, *words], cwd=self.folder, env=self.env, check=True, capture_output=True, text=True).stdout

    def megabytes(self):
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.child.pid}/status").read_text())[1]) / 1024

    def looked(self):
        """Waits until the first look is over, so that nothing of it is measured."""
        rows = lambda: sqlite3.connect(self.folder / "data/runner.db").execute("SELECT count(*) FROM refs").fetchone()[0]
        until(rows, "the first look")


def until(holds, what, limit=120):
    end = time.monotonic() + limit
    while not (value := holds()):
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.005)
    return value


def request(event, delivery, payload):
    body = json.dumps(payload).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    head = (
        f"POST /webhooks/github HTTP/1.1\r\nHost: localhost\r\nX-GitHub-Event: {event}\r\nX-GitHub-Delivery: {delivery}\r\n"
        f"X-Hub-Signature-256: sha256={signature}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.I)
    if length:
        await reader.readexactly(int(length[1]))
    return int(head.split(b" ", 2)[1])


async def flood(port, rate, seconds):
    """Deliveries in an open loop over connections that are kept; returns each time from when it was due to its answer."""
    free, times, payload = [], [], {"zen": "x" * 6000, "repository": {"full_name": "acme/demo"}}
    messages = [request("ping", f"delivery-{n}", payload) for n in range(rate * seconds)]

    async def one(message, due):
        reader, writer = free.pop() if free else await asyncio.open_connection("127.0.0.1", port)
        writer.write(message)
        status = await answer(reader)
        assert status == 202, status
        times.append(asyncio.get_running_loop().time() - due)
        free.append((reader, writer))

    loop = asyncio.get_running_loop()
    begin, tasks = loop.time() + 0.1, []
    for number, message in enumerate(messages):
        due = begin + number / rate
        await asyncio.sleep(max(0, due - loop.time()))
        tasks.append(asyncio.create_task(one(message, due)))
    await asyncio.gather(*tasks)
    return sorted(times)


async def readers(port, run, count, on_text):
    """Reads the live log of a run's first job, `count` times at once, to its end; hands on each text with the reader's number."""
    ready = asyncio.Event()
    waiting = count

    async def one(number):
        nonlocal waiting
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        writer.write(f"GET /api/v1/runs/{run}/jobs/0/log/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        waiting -= 1
        if not waiting:
            ready.set()
        while b"event: end" not in (text := await reader.read(1 << 20)) and text:
            on_text(number, text)
        on_text(number, text)
        writer.close()

    tasks = [asyncio.create_task(one(number)) for number in range(count)]
    await ready.wait()
    return tasks


def logs(server, folder, row, completed):
    before, begin = completed(), time.monotonic()
    run = server.ask("dispatch", "log.yml").split()[0]
    until(lambda: completed() > before, "the end of the large log")
    took = time.monotonic() - begin
    row("100 MB of log to disk, seconds per GB", took * 10, "s", None, f"{100 / took:.0f} MB/s, the job's start too")

    async def read():
        size = 0

        def count(_, text):
            nonlocal size
            size += len(text)

        begin = time.monotonic()
        await asyncio.gather(*await readers(server.port, run, 1, count))
        return size, time.monotonic() - begin

    size, took = asyncio.run(read())
    assert size > 100_000_000, size
    row("the same to a reader, seconds per GB", took * 10, "s", None, f"{100 / took:.0f} MB/s")

    late, seen, run = [], {}, server.ask("dispatch", "live.yml").split()[0]

    def note(number, text):
        now = time.time()
        for at in re.findall(rb"at (\d+\.\d+)", text):
            seen[number] = seen.get(number, 0) + 1
            late.append((now - float(at)) * 1000)

    async def live():
        tasks = await readers(server.port, run, 200, note)
        (folder / "read").touch()
        await asyncio.gather(*tasks)

    until(lambda: "in_progress" in server.ask("runs", "list", "--limit", "1"), "the start of the live log")
    asyncio.run(live())
    assert len(seen) == 200 and set(seen.values()) == {100}, "a reader has missed lines"
    late.sort()
    row("200 readers of one live log: printed to read, p99", late[int(len(late) * 0.99)], "ms", None, f"p50 {late[len(late) // 2]:.0f} ms, {len(late)} lines, none missed")


def measure(runner, folder, row, median):
    numbers = 200
    many = MANY.format(numbers=", ".join(map(str, range(numbers))))
    workflows = {"first.yml": FIRST.format(folder=folder), "many.yml": many, "log.yml": LOG, "live.yml": LIVE.format(folder=folder)}
    server = Server(runner, folder, workflows)
    server.start()
    try:
        server.looked()
        # What the first look needed is given back, or not, by then.
        time.sleep(3)
        row("serve, idle: resident memory", server.megabytes(), "MB", 15)

        times = asyncio.run(flood(server.port, 500, 10))
        at = lambda share: times[int(len(times) * share)] * 1000
        row("webhook at 500/s: answer, p99", at(0.99), "ms", None, f"p50 {at(0.5):.2f} ms, {len(times)} of {len(times)} taken")
        waiting = lambda: sqlite3.connect(folder / "data/runner.db").execute("SELECT count(*) FROM deliveries WHERE state = 'new'").fetchone()[0] == 0
        until(waiting, "the reading of all deliveries", 600)

        waits, before = [], server.git("rev-parse", "HEAD")
        for number in range(40):
            after = server.push(f"push {number}")
            payload = {"ref": "refs/heads/main", "before": before, "after": after, "repository": {"full_name": "acme/demo"},
                       "head_commit": {"id": after, "message": "a commit"}, "pusher": {"name": "Tess"}, "sender": {"login": "tess"}}
            message = request("push", f"push-{number}", payload)

            async def deliver():
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                sent = time.time()
                writer.write(message)
                assert await answer(reader) == 202
                writer.close()
                return sent

            sent = asyncio.run(deliver())
            file = folder / f"{after}.first"
            text = until(lambda: file.exists() and file.read_text().strip(), "the first command")
            waits.append((float(text) - sent) * 1000)
            before = after
            until(lambda: "in_progress" not in server.ask("runs", "list", "--limit", "1"), "the end of the run")
        waits.sort()
        row("webhook to the first command, p50", median(waits), "ms", 50)
        row("webhook to the first command, p99", waits[-1], "ms", 250, f"the worst of {len(waits)}")

        begin = time.monotonic()
        server.ask("dispatch", "many.yml")
        count = "SELECT count(*) FROM jobs WHERE status = 'completed'"
        completed = lambda: sqlite3.connect(folder / "data/runner.db").execute(count).fetchone()[0]
        until(lambda: completed() >= numbers + 40, "the end of all jobs")
        took = time.monotonic() - begin
        row(f"{numbers} trivial jobs with 2 slots, each", took * 1000 / numbers, "ms", 60000 / 1500, f"{numbers * 60 / took:.0f} a minute")
        logs(server, folder, row, completed)
    finally:
        server.stop()

    fill(folder / "data/runner.db", 10_000)
    try:
        row("start with 10,000 stored runs", server.start(), "s", 5)
        row("the same, resident memory", server.megabytes(), "MB", None)
        begin = time.monotonic()
        server.ask("runs", "list")
        row("`runs list` among them", (time.monotonic() - begin) * 1000, "ms", None)
    finally:
        server.stop()


def fill(database, count):
    """Copies the newest ended run and its jobs until there are so many."""
    store = sqlite3.connect(database)
    store.row_factory = sqlite3.Row
    run = dict(store.execute("SELECT * FROM runs WHERE status = 'completed' AND event = 'push' ORDER BY id DESC").fetchone())
    jobs = [dict(job) for job in store.execute("SELECT * FROM jobs WHERE run = ?", (run["id"],))]
    last = store.execute("SELECT max(id) FROM runs").fetchone()[0]

    def insert(table, values):
        store.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})", list(values.values()))

    for number in range(last + 1, last + 1 + count):
        insert("runs", {**run, "id": number, "number": number, "event_key": f"copy-{number}"})
        for job in jobs:
            insert("jobs", {**job, "run": number})
    store.execute("UPDATE counters SET value = ? WHERE name = 'run'", (last + count,))
    store.commit()
    store.close()
