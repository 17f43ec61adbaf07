// The live page of a run: what its jobs print as it comes, and where they stand.
"use strict";
const jobs = document.getElementById("jobs");
// A browser keeps few connections to one server open, and the page wants one for itself.
const MOST = 4;
const LINES = 5000;
let open = 0;

function shown(line) {
  if (line.kind === "step") return "▸ " + line.text;
  if (line.kind === "output" || line.kind === "deploy") return "  " + line.text;
  return "  " + line.kind + ": " + line.text;
}

function follow(log) {
  if (log.source || open >= MOST) return;
  open += 1;
  log.source = new EventSource(log.dataset.stream);
  const close = () => {
    log.source.close();
    delete log.dataset.stream;
    open -= 1;
    followOpen();
  };
  log.source.addEventListener("log", (event) => {
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    for (const line of JSON.parse(event.data).lines) {
      log.append((log.hasChildNodes() ? "\n" : "") + shown(line));
    }
    while (log.childNodes.length > LINES) log.firstChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  });
  log.source.addEventListener("end", close);
  log.source.addEventListener("error", () => {
    if (log.source.readyState === EventSource.CLOSED) close();
  });
}

function followOpen() {
  document.querySelectorAll("details[open] pre[data-stream]").forEach(follow);
}

async function look() {
  try {
    const answer = await fetch(jobs.dataset.run);
    if (answer.ok) {
      const run = await answer.json();
      const rows = run.jobs.map((job) => [job, jobs.querySelector(`[data-job="${job.key}"]`)]);
      // What was planned meanwhile, and the end, with reasons and times, come with the page.
      if (run.status === "completed" || rows.some(([, row]) => !row)) return location.reload();
      for (const [job, row] of rows) {
        const state = row.querySelector(".state");
        const word = job.conclusion || job.status;
        if (state.textContent === word) continue;
        if (state.textContent === "queued" || state.textContent === "pending") return location.reload();
        state.textContent = word;
        state.className = "state " + word;
      }
    }
  } catch (error) {
    // The server is away; the next look tells.
  }
  setTimeout(look, 2000);
}

if (jobs && jobs.dataset.run) {
  document.querySelectorAll("pre[data-stream]").forEach((log) => { log.scrollTop = log.scrollHeight; });
  document.querySelectorAll("details").forEach((job) => job.addEventListener("toggle", followOpen));
  followOpen();
  setTimeout(look, 2000);
}
