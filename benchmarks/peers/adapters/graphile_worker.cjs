// Graphile Worker: `addJob`, `addJobs` and a runner, with the settings of its page on performance.
"use strict";

const { makeWorkerUtils, run, runMigrations, Logger } = require("graphile-worker");
const { CALLERS, payload, play } = require("./harness.cjs");

const logger = new Logger(() => (level, message) => {
  if (level === "error") console.error(message);
});

const preset = {
  worker: {
    concurrentJobs: 24,
    maxPoolSize: 25,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};

play({
  packages: ["graphile-worker", "pg"],
  settings:
    "as on its page on performance: concurrentJobs 24, maxPoolSize 25, localQueue.size 500, completeJobBatchDelay 0, " +
    `failJobBatchDelay 0; finished jobs are deleted; callers: pool of ${CALLERS}`,

  setup: (url) => runMigrations({ connectionString: url, logger }),

  async client(url) {
    const utils = await makeWorkerUtils({ connectionString: url, maxPoolSize: CALLERS, logger });
    return {
      one: (n) => utils.addJob("noop", payload(n)),
      many: (numbers) => utils.addJobs(numbers.map((n) => ({ identifier: "noop", payload: payload(n) }))),
      close: () => utils.release(),
    };
  },

  async worker(url, started) {
    const noop = async (job) => started(job.n);
    const runner = await run({ preset, connectionString: url, taskList: { noop }, noHandleSignals: true, logger });
    process.on("SIGTERM", () => runner.stop().then(() => process.exit(0)));
  },
});
