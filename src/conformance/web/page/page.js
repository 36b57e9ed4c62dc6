// The page: starts the checks and shows what they find. #run starts them at once; #run=NAME those of one op alone.
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);
  const WORDS = { pass: "passed", fail: "failed", crashed: "crashed", skipped: "skipped" };
  // Rows shown at once; a search finds the others.
  const ROWS = 300;
  const results = [];

  function make(tag, text = "", classes = "") {
    const made = document.createElement(tag);
    made.textContent = text;
    made.className = classes;
    return made;
  }

  function refuse(title, reason) {
    byId("device").classList.add("bad");
    byId("device-name").textContent = title;
    byId("device-more").textContent = reason;
    document.body.dataset.state = "refused";
  }

  function showDevice({ name, vendor, limits }) {
    byId("device-name").textContent = name;
    const mebibytes = Math.floor(limits.maxStorageBufferBindingSize / 2 ** 20);
    byId("device-more").textContent =
      `${vendor && !name.includes(vendor) ? `${vendor}. ` : ""}Binds up to ${mebibytes} MiB, ` +
      `${limits.maxComputeInvocationsPerWorkgroup} invocations a workgroup; the checks stay within WebGPU's default limits.`;
  }

  function showCounts(seconds) {
    const count = (outcome) => results.filter((result) => result.outcome === outcome).length;
    const shown = Object.entries(WORDS).filter(([outcome]) => outcome === "pass" || outcome === "fail" || count(outcome));
    byId("counts").replaceChildren(
      ...shown.map(([outcome, word]) => {
        const box = make("div", word);
        box.prepend(make("b", count(outcome), count(outcome) ? outcome : ""));
        return box;
      }),
      (() => {
        const box = make("div", "seconds");
        box.prepend(make("b", seconds.toFixed(0)));
        return box;
      })(),
    );
  }

  const isShown = (result) => {
    const outcome = byId("outcome").value;
    const words = byId("search").value.toLowerCase().split(/\s+/);
    const text = [result.subject, result.case, result.family, result.form, result.group, ...result.shaders].join(" ").toLowerCase();
    const fits = outcome === "" || (outcome === "bad" ? result.outcome !== "pass" : result.outcome === outcome);
    return fits && words.every((word) => text.includes(word));
  };

  function row(result) {
    const tr = document.createElement("tr");
    const kernels = make("td", [result.family, result.form].filter(Boolean).join(", "));
    if (result.reason) kernels.append(make("span", result.reason, "why"));
    const number = (x) => make("td", x === undefined ? "" : x.toExponential(1), "number");
    tr.append(
      make("td", WORDS[result.outcome], `outcome ${result.outcome}`),
      make("td", result.subject),
      make("td", result.case),
      kernels,
      number(result.max_error),
      number(result.bound),
    );
    return tr;
  }

  function showRows() {
    const shown = results.filter(isShown);
    byId("rows").replaceChildren(...shown.slice(0, ROWS).map(row));
    byId("table").hidden = shown.length === 0;
    byId("none").textContent =
      shown.length === 0 ? "None." : shown.length > ROWS ? `${ROWS} of ${shown.length} are shown; search for others.` : "";
  }

  // Three digits that count, and no power of ten.
  const short = (x) => x.toLocaleString("en", { maximumSignificantDigits: 3, useGrouping: false });

  function showTime(result) {
    byId("speed").hidden = false;
    const tr = document.createElement("tr");
    tr.append(
      make("td", result.subject),
      make("td", result.case),
      make("td", short(result.milliseconds), "number"),
      make("td", short(result.gflops), "number"),
    );
    byId("times").append(tr);
  }

  function showCurve({ family, losses: { found, expected } }) {
    byId("training").hidden = false;
    const [width, height, left, bottom] = [360, 170, 34, 20];
    const top = Math.max(...expected) * 1.05;
    const x = (i) => left + (i / (expected.length - 1)) * (width - left - 8);
    const y = (loss) => (1 - loss / top) * (height - bottom - 8) + 8;
    const points = expected.map((loss, i) => `${x(i)},${y(loss)}`).join(" ");
    const dots = found.map((loss, i) => (Number.isFinite(loss) ? `<circle class="found" cx="${x(i)}" cy="${y(loss)}" r="3"/>` : ""));
    const labels = [0, top / 2, top].map((at) => `<text x="${left - 6}" y="${y(at) + 4}" text-anchor="end">${at.toFixed(1)}</text>`);
    const figure = make("figure");
    figure.style.margin = 0;
    figure.innerHTML =
      `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Loss of each step"><line class="axis" x1="${left}" y1="${y(0)}" x2="${width}" y2="${y(0)}"/>` +
      `${labels.join("")}<text x="${width - 8}" y="${height - 4}" text-anchor="end">step ${expected.length}</text>` +
      `<polyline class="reference" points="${points}"/>${dots.join("")}</svg>`;
    figure.prepend(make("h3", `${family} kernels: ${expected[0].toFixed(3)} → ${found.at(-1).toFixed(3)}`));
    byId("curves").append(figure);
  }

  async function start() {
    byId("start").disabled = true;
    for (const id of ["progress", "counts", "results"]) byId(id).hidden = false;
    const op = /^#run=(.+)$/.exec(location.hash)?.[1];
    const begun = performance.now();
    let total = 1;
    let painted = 0;
    try {
      const report = await wgseg.runAll({
        gpu: navigator.gpu,
        load: wgseg.load,
        wanted: (check) => !op || check.subject === op,
        started: (manifest, device) => {
          showDevice(device);
          total = manifest.files.reduce((sum, file) => sum + file.checks, 0);
        },
        told: async (result) => {
          results.push(result);
          if (result.milliseconds) showTime(result);
          if (result.losses) showCurve(result);
          const now = performance.now();
          if (result.outcome === "pass" && now - painted < 100) return;
          painted = now;
          byId("bar").value = results.length / total;
          byId("now").textContent = `${results.length} of ${total}: ${result.subject} ${result.case} ${result.family} ${result.form ?? ""}`;
          showCounts((now - begun) / 1000);
          if (result.outcome !== "pass") showRows();
          // Lets the browser draw.
          await new Promise((resolve) => setTimeout(resolve));
        },
      });
      byId("bar").value = 1;
      byId("now").textContent = `All ${results.length} checks are done.`;
      showCounts(report.adapters[0].seconds);
      showRows();
      globalThis.wgsegReport = report;
      byId("download").disabled = false;
      document.body.dataset.state = "done";
    } catch (error) {
      refuse("The checks could not be run", error.message);
    }
  }

  function download() {
    const text = JSON.stringify(globalThis.wgsegReport, null, 2) + "\n";
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "report.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  async function open() {
    byId("outcome").addEventListener("change", showRows);
    byId("search").addEventListener("input", showRows);
    byId("download").addEventListener("click", download);
    byId("start").addEventListener("click", start);
    if (!navigator.gpu) return refuse("This browser offers no WebGPU", wgseg.whyNoWebGpu());
    const adapter = await navigator.gpu.requestAdapter().catch(() => null);
    if (!adapter) return refuse("WebGPU finds no device here", wgseg.whyNoWebGpu());
    showDevice(wgseg.describe(adapter));
    await wgseg.load("manifest");
    const manifest = wgseg.take("manifest");
    const sum = (key) => manifest.files.reduce((total, file) => total + file[key], 0);
    byId("version").textContent =
      `wgseg ${manifest.wgseg}, kernels ${manifest.kernels.slice(0, 8)}: ${sum("checks")} checks, ${(sum("bytes") / 1e6).toFixed(1)} MB of data.`;
    byId("start").disabled = false;
    if (location.hash.startsWith("#run")) start();
  }

  open();
})();
