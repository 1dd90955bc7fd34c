// A TaskFlow worker in Node.js (20.3 or newer), without dependencies:
//   TASKFLOW_URL=http://127.0.0.1:3000 TASKFLOW_API_KEY=tf_… node worker.mjs
import { setTimeout as sleep } from "node:timers/promises";

const { TASKFLOW_URL, TASKFLOW_API_KEY, GRACE_MS = "10000" } = process.env;
const CAPACITY = 4; // jobs at once

// What this worker can do. A handler that is to stop sees its signal aborted; fetch and timers throw by themselves then.
const kinds = [{ taskType: "check_link", queue: "links", timeout: 60_000, schema: {
  type: "object", properties: { url: { type: "string" } }, required: ["url"], additionalProperties: false } }];
const handlers = {
  async check_link({ url }, signal) {
    const response = await fetch(url, { signal });
    return { status: response.status, bytes: (await response.arrayBuffer()).byteLength };
  },
};

const running = new Map(); // token → { job, abort, done }
const drain = new AbortController();
let worker = {}; // the last claim's answer: workerId, heartbeatEveryMs, leaseMs
let aliveAt = 0; // when the server last heard of us

async function post(path, body, signal) {
  const headers = { Authorization: `Bearer ${TASKFLOW_API_KEY}`, "Content-Type": "application/json" };
  const request = { method: "POST", headers, body: JSON.stringify(body), signal };
  const response = await fetch(`${TASKFLOW_URL}/api/v1/worker/${path}`, request);
  const answer = await response.json();
  const final = response.status < 500 && response.status !== 429; // not an outage, nor a rate limit: it stays so
  if (!response.ok) throw Object.assign(new Error(answer.detail), { code: answer.code, final });
  return answer;
}

async function insist(path, body) { // until the server has it: a token makes sending an end twice harmless
  for (;;) {
    try { return await post(path, body); } catch (error) { if (error.final) throw error; await sleep(1000); }
  }
}

async function run(job, abort) {
  let path = "complete", said;
  try {
    const signal = AbortSignal.any([abort.signal, AbortSignal.timeout(job.timeout)]);
    said = { result: await handlers[job.taskType](job.payload, signal) };
  } catch (error) {
    path = abort.signal.aborted ? "hand-back" : "fail"; // cancelled, lost or draining; else the job's own failure
    said = abort.signal.aborted ? {} : { error: { type: error.name, message: error.message } };
  }
  const { items: [item] } = await insist(path, { items: [{ token: job.token, ...said }] });
  console.log(`${job.jobId} attempt ${job.attempt}: ${item.status}`);
}

function start(job) {
  const abort = new AbortController();
  const done = run(job, abort).catch((error) => console.error(error)).finally(() => running.delete(job.token));
  running.set(job.token, { job, abort, done });
}

async function stayAlive() {
  for (;; await sleep(worker.heartbeatEveryMs ?? 1000, null, { ref: false })) {
    if (!worker.workerId) continue;
    try {
      const { cancelled, lost } = await post("heartbeat", { workerId: worker.workerId, tokens: [...running.keys()] });
      aliveAt = Date.now();
      const over = new Set([...cancelled, ...lost].map(({ jobId, attempt }) => `${jobId} ${attempt}`));
      for (const { job, abort } of running.values()) if (over.has(`${job.jobId} ${job.attempt}`)) abort.abort();
    } catch (error) { // unknown_worker, or silent for so long that others are about to get our jobs: stop
      if (error.code !== "unknown_worker" && Date.now() - aliveAt < worker.leaseMs - 3000) continue;
      for (const { abort } of running.values()) abort.abort();
      worker = {};
    }
  }
}

process.once("SIGTERM", () => drain.abort());
await insist("kinds", { kinds });
stayAlive();
while (!drain.signal.aborted) {
  if (running.size === CAPACITY) { await Promise.race([...running.values()].map(({ done }) => done)); continue; }
  const wanted = { workerId: worker.workerId, taskTypes: Object.keys(handlers), capacity: CAPACITY - running.size };
  try {
    worker = await post("claim", { ...wanted, waitMs: 30_000 }, drain.signal);
    aliveAt = Date.now();
    worker.jobs.forEach(start);
  } catch (error) {
    if (error.code === "unknown_worker") worker = {};
    else if (!drain.signal.aborted) { console.error(error.message); await sleep(1000); }
  }
}
const ends = Promise.all([...running.values()].map(({ done }) => done));
await Promise.race([ends, sleep(Number(GRACE_MS))]);
for (const { abort } of running.values()) abort.abort();
await ends;
if (worker.workerId) await post("sign-off", { workerId: worker.workerId }).catch(() => {});
process.exit(0);
