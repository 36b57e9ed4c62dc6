// Runs the checks in Node, on Dawn, the WebGPU of Chromium:
//
//   npm install webgpu
//   node dawn.mjs [--out report.json] [--op NAME]...
//
// The checks run in a process of their own: where the driver takes that down, the check is told as crashed and a new
// process goes on with the next.
import { fork } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import "./runner.js";
import "./checks.js";

const { wgseg } = globalThis;
const options = { out: { type: "string" }, op: { type: "string", multiple: true }, skip: { type: "string" } };
const { values: args } = parseArgs({ options });

if (args.skip === undefined) await lead();
else await work(Number(args.skip));

// Starts processes until all checks are done.
async function lead() {
  const start = performance.now();
  const results = [];
  let head, current;
  for (let ended = false; !ended; ) {
    current = null;
    const ops = (args.op ?? []).flatMap((op) => ["--op", op]);
    const child = fork(fileURLToPath(import.meta.url), ["--skip", String(results.length), ...ops]);
    child.on("message", ({ started, before, told, end }) => {
      if (started) head = started;
      if (before) current = before;
      if (told) {
        results.push(told);
        current = null;
        say(told);
      }
      if (end) ended = true;
    });
    const [code, signal] = await new Promise((resolve) => child.on("close", (...how) => resolve(how)));
    if (ended) break;
    if (!current) {
      console.error(`the checks could not be run: ${signal ?? `exit code ${code}`}`);
      process.exit(1);
    }
    results.push({ ...current, outcome: "crashed", reason: `the process ended by ${signal ?? `exit code ${code}`}` });
    say(results.at(-1));
  }
  const [manifest, device] = head;
  const seconds = (performance.now() - start) / 1000;
  const count = (outcome) => results.filter((result) => result.outcome === outcome).length;
  console.log(
    `${device.name}: ${count("pass")} passed, ${count("fail")} failed, ${count("crashed")} crashed, ` +
      `${count("skipped")} skipped, ${seconds.toFixed(1)} s`,
  );
  if (args.out) writeFileSync(args.out, JSON.stringify(wgseg.report(manifest, device, seconds, results), null, 2) + "\n");
  process.exitCode = count("pass") === results.length && results.length > 0 ? 0 : 1;
}

// Prints what did not pass, and times.
function say({ outcome, subject, case: name, family, form, reason, milliseconds }) {
  const what = [outcome, subject, name, family, form].filter(Boolean).join("  ");
  if (outcome !== "pass") console.log(`${what}: ${reason}`);
  else if (milliseconds) console.log(`${what}: ${milliseconds.toFixed(3)} ms`);
}

// Runs the checks after the first `skip`, and tells of each.
async function work(skip) {
  const { create, globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  const send = (message) => new Promise((resolve) => process.send(message, resolve));
  let seen = 0;
  await wgseg.runAll({
    gpu: create([]),
    load: (name) => import(`./data/${name}.js`),
    wanted: (check) => (!args.op || args.op.includes(check.subject)) && seen++ >= skip,
    started: (manifest, device) => send({ started: [manifest, device] }),
    before: (check) => send({ before: wgseg.nameOf(check) }),
    told: ({ losses, gflops, ...result }) => send({ told: result }),
  });
  await send({ end: true });
  // Dawn keeps Node from ending by itself.
  process.exit(0);
}
