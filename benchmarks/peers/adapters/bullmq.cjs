// BullMQ on Redis: `Queue.add`, `addBulk` and a `Worker`, over ioredis.
"use strict";

const { Queue, Worker } = require("bullmq");
const { payload, play } = require("./harness.cjs");

const CONCURRENCY = 100;
const QUEUE = "benchmark";

function connection(url) {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port), maxRetriesPerRequest: null };
}

play({
  packages: ["bullmq", "ioredis"],
  settings: `Worker with concurrency ${CONCURRENCY}, removeOnComplete; the rest as it comes`,

  async client(url) {
    const queue = new Queue(QUEUE, { connection: connection(url), defaultJobOptions: { removeOnComplete: true } });
    await queue.waitUntilReady();
    return {
      one: (n) => queue.add("noop", payload(n)),
      many: (numbers) => queue.addBulk(numbers.map((n) => ({ name: "noop", data: payload(n) }))),
      close: () => queue.close(),
    };
  },

  async worker(url, started) {
    const worker = new Worker(QUEUE, async (job) => started(job.data.n), {
      connection: connection(url),
      concurrency: CONCURRENCY,
    });
    process.on("SIGTERM", () => worker.close(true).then(() => process.exit(0)));
  },
});
