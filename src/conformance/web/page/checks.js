// Runs the checks of the data files, judges what comes out and makes report.json. Used by the page and by dawn.mjs.
"use strict";

(() => {
  // A sample is as many runs as take about so long; there are five, or on a slow device as many as take a second.
  const SAMPLE_MS = 60;
  const SAMPLES = 5;
  const ENOUGH_MS = 1_000;
  const PASSES_AT_MOST = 200;

  // Distance between two neighbours among f32 at x.
  function ulp(x) {
    const exponent = (new Uint32Array(Float32Array.of(x).buffer)[0] >>> 23) & 255;
    return 2 ** (Math.max(exponent, 1) - 150);
  }

  // What is found beside what is expected. `compare` takes one number of each, and what it may be off.
  // A NaN is no pass: what is counted is what is not within its bound.
  class Judge {
    wrong = 0;
    notFinite = 0;
    worst = { error: 0, bound: 2 ** -126 };
    maxUlp = 0;

    compare(found, expected, bound) {
      if (!(Number.isFinite(found) && Number.isFinite(expected))) {
        this.notFinite++;
        return;
      }
      const error = Math.abs(found - expected);
      if (!(error <= bound)) this.wrong++;
      if (!(error * this.worst.bound <= this.worst.error * bound)) this.worst = { error, bound };
      this.maxUlp = Math.max(this.maxUlp, error / ulp(expected));
    }

    verdict() {
      const { wrong, notFinite, worst } = this;
      const reasons = [];
      if (notFinite) reasons.push(`${notFinite} not finite`);
      if (wrong) reasons.push(`${wrong} off, the worst by ${worst.error.toExponential(2)} of ${worst.bound.toExponential(2)}`);
      const found = { outcome: reasons.length ? "fail" : "pass", reason: reasons.join("; ") || undefined };
      if (notFinite) return { ...found, not_finite: notFinite };
      return { ...found, max_error: worst.error, bound: worst.bound, max_ulp: this.maxUlp };
    }
  }

  async function judgeResults(session, check, tensors) {
    const judge = new Judge();
    await session.machine.checked(async () => session.run());
    for (const { port, numbers, positions, bounds } of check.expect) {
      const found = await session.read(port);
      const expected = wgseg.numbers(tensors[numbers]);
      const at = positions === undefined ? null : wgseg.numbers(tensors[positions]);
      if (!at && found.length !== expected.length) {
        throw new Error(`${port} has ${found.length} numbers, expected ${expected.length}`);
      }
      const notFinite = judge.notFinite;
      let index = 0;
      for (const [count, bound] of bounds) {
        for (const end = index + count; index < end; index++) {
          judge.compare(found[at ? at[index] : index], expected[index], bound);
        }
      }
      if (index !== expected.length) throw new Error(`${port}: ${index} bounds for ${expected.length} numbers`);
      // Of a large result only some numbers are compared, but none may be NaN or infinite.
      if (at) judge.notFinite = notFinite + found.reduce((count, x) => count + !Number.isFinite(x), 0);
    }
    return judge.verdict();
  }

  // A whole training: the loss of each step.
  async function judgeSteps(session, check, tensors) {
    const judge = new Judge();
    const { port, losses, bounds, feeds } = check.steps;
    const found = [];
    for (const [index, expected] of losses.entries()) {
      await session.machine.checked(async () => {
        feed(session, feeds[index], tensors);
        session.run();
      });
      const [loss] = await session.read(port);
      found.push(loss);
      judge.compare(loss, expected, bounds[index]);
    }
    return { verdict: judge.verdict(), found };
  }

  function feed(session, feeds, tensors) {
    for (const [name, numbers] of feeds) session.write(name, wgseg.numbers(tensors[numbers]));
  }

  // Median time of one run, of a few samples of several runs each.
  async function time(session) {
    let runs = 1;
    const sample = async () => {
      const start = performance.now();
      session.run(runs);
      await session.done();
      return (performance.now() - start) / runs;
    };
    await sample();
    const first = await sample();
    runs = Math.max(1, Math.min(PASSES_AT_MOST, Math.ceil(SAMPLE_MS / first)));
    const times = runs === 1 ? [first] : [];
    const start = performance.now();
    while (times.length < SAMPLES && (times.length === 0 || performance.now() - start < ENOUGH_MS)) {
      times.push(await sample());
    }
    return times.sort((a, b) => a - b)[times.length >> 1];
  }

  // Runs one check. Gives what a report says of it and what a page wants to draw.
  async function run(machine, check, tensors, shaders) {
    const session = await machine.session(check.program, shaders);
    try {
      await machine.checked(async () => feed(session, check.feeds, tensors));
      if (check.steps) {
        const { verdict, found } = await judgeSteps(session, check, tensors);
        return { ...verdict, losses: { found, expected: check.steps.losses } };
      }
      const verdict = await judgeResults(session, check, tensors);
      // What is wrong has no time.
      if (check.flops === undefined || verdict.outcome !== "pass") return verdict;
      const milliseconds = await machine.checked(() => time(session));
      return { ...verdict, milliseconds, gflops: check.flops / milliseconds / 1e6 };
    } finally {
      session.close();
    }
  }

  // What names a check in a report. Of a training, each kernel stands once.
  const nameOf = ({ group, subject, case: name, family, form, program, steps }) => ({
    group,
    subject,
    case: name,
    family,
    form: form || undefined,
    shaders: program.dispatches.map((d) => d.shader).filter((name, i, all) => !steps || all.indexOf(name) === i),
  });

  // Runs all checks of the data files, on a new device after an error.
  //
  // gpu: navigator.gpu. load(name): makes the data file call wgseg.data. started(manifest, device): once.
  // wanted(check): whether it is to be run. before(check), told(result, check): before and after each that is.
  async function runAll({ gpu, load, started, wanted = () => true, before = () => {}, told }) {
    const start = performance.now();
    const take = async (name) => {
      await load(name);
      return wgseg.take(name);
    };
    const manifest = await take("manifest");
    const shaders = await take("shaders");
    let machine = await wgseg.Machine.open(gpu);
    const device = describe(machine.adapter);
    await started(manifest, device);
    const results = [];
    for (const file of manifest.files) {
      const { checks, tensors } = await take(file.name);
      for (const check of checks.filter(wanted)) {
        await before(check);
        let found;
        try {
          machine ??= await wgseg.Machine.open(gpu);
          found = await run(machine, check, tensors, shaders);
        } catch (error) {
          const crashed = error instanceof wgseg.Lost || machine?.isLost;
          found = { outcome: machine ? (crashed ? "crashed" : "fail") : "skipped", reason: error.message };
          machine?.close();
          machine = null;
        }
        const { losses, gflops, ...reported } = found;
        results.push({ ...nameOf(check), ...reported });
        await told({ ...nameOf(check), ...found }, check);
      }
    }
    machine?.close();
    const seconds = (performance.now() - start) / 1000;
    return report(manifest, device, seconds, results);
  }

  function report(manifest, device, seconds, checks) {
    return {
      schema: manifest.schema,
      wgseg: manifest.wgseg,
      kernels: manifest.kernels,
      made: new Date().toISOString(),
      system: globalThis.process?.versions?.node
        ? `${process.platform} ${process.arch}, Node ${process.versions.node}`
        : navigator.userAgent,
      runner: "webgpu",
      quick: false,
      default_limits: true,
      adapters: [{ device, seconds, checks }],
    };
  }

  // Which device it is, as far as WebGPU tells.
  function describe(adapter) {
    const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info ?? {};
    const limits = {};
    for (const name in adapter.limits) {
      if (typeof adapter.limits[name] === "number") limits[name] = adapter.limits[name];
    }
    return {
      name: description || [vendor, architecture, device].filter(Boolean).join(" ") || "a device without a name",
      vendor: vendor ?? "",
      backend: "webgpu",
      device_type: isFallbackAdapter ? "Cpu" : "",
      driver: "",
      family: "tiled",
      limits,
      features: [...adapter.features].sort(),
    };
  }

  Object.assign(wgseg, { runAll, describe, nameOf, report });
})();
