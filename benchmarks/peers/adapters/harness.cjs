// What the Node adapters share: the same roles, files and readings as harness.py, which says what they mean.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");

const PADDING = "x".repeat(160);
const BULK = 1000;
const CALLERS = 10;
const OUTSTANDING = 1000;
const COUNT_EVERY_MS = 5;
const FLUSH_MS = 5;
const WARM_UP_CALLS = 200;
const WARM_UP_JOBS = 100;
const WARM_UP_MS = 30_000;
const PAUSE_MS = 20;

const payload = (n) => ({ n, padding: PADDING });
const now = () => process.hrtime.bigint(); // the machine's monotonic clock, as in Python
const number = (ns) => Number(ns); // exact for 104 days of uptime

// Node cannot map a file: the worker keeps the tally in memory and writes what changed every few milliseconds.
function handler(run) {
  const starts = new BigInt64Array(run.capacity);
  const runs = new Uint8Array(run.capacity);
  const file = fs.openSync("tally", "r+");
  let low = run.capacity;
  let high = -1;
  const flush = () => {
    if (high < low) return;
    const [from, to] = [low, high + 1];
    low = run.capacity;
    high = -1;
    fs.writeSync(file, new Uint8Array(starts.buffer, 8 * from, 8 * (to - from)), 0, 8 * (to - from), 8 * from);
    fs.writeSync(file, runs, from, to - from, 8 * run.capacity + from);
  };
  setInterval(flush, FLUSH_MS).unref();
  process.on("exit", flush);
  return (n) => {
    starts[n] = now();
    if (runs[n] < 255) runs[n] += 1;
    if (n < low) low = n;
    if (n > high) high = n;
  };
}

class Tally {
  constructor(run) {
    this.capacity = run.capacity;
    this.file = fs.openSync("tally", "r");
  }

  count(issued) {
    const runs = Buffer.alloc(issued);
    fs.readSync(this.file, runs, 0, issued, 8 * this.capacity);
    let started = 0;
    for (const times of runs) if (times) started += 1;
    return started;
  }

  async untilStarted(n) {
    const one = Buffer.alloc(1);
    const end = Date.now() + WARM_UP_MS;
    for (;;) {
      fs.readSync(this.file, one, 0, 1, 8 * this.capacity + n);
      if (one[0]) return;
      if (Date.now() > end) throw new Error(`job ${n} did not start within ${WARM_UP_MS / 1000} s`);
      await sleep(1);
    }
  }
}

async function callFromMany(client, following) {
  const call = async () => {
    for (;;) {
      const n = following();
      if (n === null) return;
      if (n === undefined) await sleep(COUNT_EVERY_MS);
      else await client.one(n);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, call));
}

const range = (from, to) => Array.from({ length: to - from }, (_, n) => from + n);

async function warmUp(client, tally) {
  for (let n = 0; n < WARM_UP_JOBS; n += 1) await client.one(n);
  for (let n = 0; n < WARM_UP_JOBS; n += 1) await tally.untilStarted(n);
  await sleep(200);
  return WARM_UP_JOBS;
}

const WORKLOADS = {
  async drain(client, run) {
    for (let n = 0; n < run.jobs; n += BULK) await client.many(range(n, Math.min(n + BULK, run.jobs)));
    return { filled: run.jobs };
  },

  async single(client, run) {
    let n = 0;
    while (n < WARM_UP_CALLS) await client.one(n++);
    const took = [];
    const end = now() + BigInt(Math.round(run.seconds * 1e9));
    while (now() < end && n < run.capacity) {
      const begin = now();
      await client.one(n++);
      took.push(number(now() - begin));
    }
    return { took_ns: took };
  },

  async bulk(client, run) {
    await client.many(range(0, BULK));
    const begin = now();
    let n = BULK;
    while (number(now() - begin) < run.seconds * 1e9 && n + BULK <= run.capacity) {
      await client.many(range(n, n + BULK));
      n += BULK;
    }
    return { stored: n - BULK, took_ns: number(now() - begin) };
  },

  async steady(client, run) {
    const tally = new Tally(run);
    const first = await warmUp(client, tally);
    let [issued, counted, countedAt] = [first, first, 0];
    const begin = now();
    const end = begin + BigInt(Math.round(run.seconds * 1e9));
    const following = () => {
      if (now() >= end || issued >= run.capacity) return null;
      if (issued - counted >= OUTSTANDING) {
        if (Date.now() < countedAt + COUNT_EVERY_MS) return undefined;
        [counted, countedAt] = [tally.count(issued), Date.now()];
        if (issued - counted >= OUTSTANDING) return undefined;
      }
      return issued++;
    };
    await callFromMany(client, following);
    return { first, issued, begin_ns: number(begin), end_ns: number(now()) };
  },

  async pickup(client, run) {
    const tally = new Tally(run);
    const first = await warmUp(client, tally);
    const called = [];
    const returned = [];
    const end = now() + BigInt(Math.round(run.seconds * 1e9));
    for (let n = first; now() < end && n < run.capacity; n += 1) {
      await sleep(PAUSE_MS * (1 + Math.random()));
      called.push(number(now()));
      await client.one(n);
      returned.push(number(now()));
      await tally.untilStarted(n);
    }
    return { first, called_ns: called, returned_ns: returned };
  },
};

// `adapter`: packages, settings, setup(url), client(url) → {one, many, close}, worker(url, started) until it is stopped.
async function main(adapter) {
  const role = process.argv[2];
  if (role === "about") {
    const versions = {};
    for (const name of adapter.packages) {
      const description = path.join(process.env.NODE_PATH, name, "package.json"); // not every package exports it
      const { version, engines } = JSON.parse(fs.readFileSync(description, "utf8"));
      versions[name] = engines && engines.node ? `${version} (for Node ${engines.node})` : version;
    }
    console.log(JSON.stringify({ runtime: `Node ${process.versions.node}`, versions, settings: adapter.settings }));
    return;
  }
  const run = JSON.parse(fs.readFileSync("run.json", "utf8"));
  if (role === "setup" && adapter.setup) await adapter.setup(run.url);
  if (role === "worker") await adapter.worker(run.url, handler(run));
  if (role === "produce") {
    const client = await adapter.client(run.url);
    console.log(JSON.stringify(await WORKLOADS[run.workload](client, run)));
    await client.close();
  }
}

function play(adapter) {
  main(adapter).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

module.exports = { CALLERS, payload, play };
