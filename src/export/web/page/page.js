// The page: takes an image, shows what the model marks in it, saves mask and probability map.
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);
  // Longer side of the pictures; a larger image is shown smaller, and saved whole.
  const SHOWN = 1024;
  // As in the overlays of `wgseg predict`.
  const MARKED = [255, 60, 50];
  const ALPHA = 0.45;
  // Probabilities from 0 to 1: the colours of matplotlib's inferno.
  const RAMP = [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];

  let segmenter = null;
  // The image that is shown: name, size, probabilities, threshold, and at the size of the pictures probabilities and greys.
  let shown = null;

  function tell(title, more = "", bad = false) {
    byId("status").classList.toggle("bad", bad);
    byId("status-title").textContent = title;
    byId("status-more").textContent = more;
  }

  // `ready`, `busy` or `off`: whether an image can be given. Kept in the page for tests and styles.
  function setState(state) {
    document.body.dataset.state = state;
    byId("file").disabled = state !== "ready";
    byId("drop").classList.toggle("off", state === "off");
    document.body.setAttribute("aria-busy", String(state === "busy"));
  }

  function refuse(title, reason, again = false) {
    tell(title, reason, true);
    byId("bar").hidden = true;
    byId("again").hidden = !again;
    setState("off");
  }

  function lost(error) {
    segmenter = null;
    refuse("The graphics device was lost", `${sentence(error.message)} Start again; if it happens once more, close other pages that use the device, or take another browser.`, true);
  }

  async function open() {
    setState("busy");
    byId("again").hidden = true;
    byId("bar").hidden = false;
    if (!navigator.gpu) return refuse("This browser offers no WebGPU", wgseg.whyNoWebGpu());
    const adapter = await navigator.gpu.requestAdapter().catch(() => null);
    if (!adapter) return refuse("WebGPU finds no device here", wgseg.whyNoWebGpu());
    if (!globalThis.DecompressionStream) return refuse("This browser is too old", "It cannot unpack PNG files: take a newer one.");
    tell("Loading the model…");
    try {
      segmenter = await wgseg.Segmenter.open(navigator.gpu, wgseg.load, (done, all) => (byId("bar").value = done / all));
    } catch (error) {
      return refuse("The model could not be loaded", error.message, true);
    }
    const opened = segmenter;
    opened.machine.lost.catch((error) => opened === segmenter && lost(error));
    byId("bar").hidden = true;
    describe(opened.model);
    ready();
  }

  function ready() {
    const { size } = segmenter.model;
    tell("Ready", `The network sees an image at ${size}×${size} pixels; what is smaller than a pixel of that, it cannot mark.`);
    setState("ready");
  }

  function describe(model) {
    byId("title").textContent = model.title;
    document.title = `${model.title} · wgseg`;
    byId("about").hidden = false;
    const { vendor, architecture, description } = segmenter.machine.adapter.info ?? {};
    const facts = {
      "Sees": `${model.size}×${model.size} pixels, ${model.channels === 1 ? "grey" : "colour"}; the shape of an image is not kept`,
      "Threshold": `${short(model.threshold)}, chosen on validation images`,
      "Mean Dice there": model.val_dice.toFixed(3),
      "Trained": `${model.epoch} ${model.epoch === 1 ? "epoch" : "epochs"}`,
      "Runs on": description || [vendor, architecture].filter(Boolean).join(" ") || "a WebGPU device",
    };
    byId("facts").replaceChildren(
      ...Object.entries(facts).flatMap(([name, value]) => {
        const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
        [dt.textContent, dd.textContent] = [name, value];
        return [dt, dd];
      }),
    );
    byId("version").textContent = `wgseg ${model.wgseg}, kernels ${model.kernels.slice(0, 8)}.`;
  }

  const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1).replace(/\.+$/, "")}.`;

  const short = (x) => x.toFixed(2);

  // Lets the browser draw, but does not wait for it where the page is hidden.
  const painted = () => new Promise((resolve) => setTimeout(resolve, 20));

  async function take(files) {
    if (document.body.dataset.state !== "ready" || files.length === 0) return;
    const [file] = files;
    setState("busy");
    tell(`Reading ${file.name}…`);
    await painted();
    try {
      const begun = performance.now();
      const bytes = new Uint8Array(await file.arrayBuffer());
      const image = await wgseg.decode(bytes);
      tell(`Segmenting ${file.name}…`);
      await painted();
      const probabilities = await segmenter.probabilities(image);
      const seconds = (performance.now() - begun) / 1000;
      show(file.name, image, probabilities);
      const rest = files.length > 1 ? ` One image at a time: of ${files.length} the first was taken.` : "";
      tell("Done", `${image.width}×${image.height} pixels in ${seconds.toFixed(1)} s.${rest}`);
      setState("ready");
    } catch (error) {
      if (error instanceof wgseg.Lost) return lost(error);
      tell(`${file.name} could not be segmented`, sentence(error.message), true);
      setState("ready");
    }
  }

  // Every picture's pixel takes that of the image in its middle.
  function show(name, image, probabilities) {
    const { width, height } = image;
    const scale = Math.min(1, SHOWN / Math.max(width, height));
    const [w, h] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
    const picked = (at, of, from) => Math.min(from - 1, Math.floor(((at + 0.5) * from) / of));
    const grey = wgseg.toChannels(image, 3);
    const [low, high] = grey.reduce(([low, high], x) => [Math.min(low, x), Math.max(high, x)], [1, 0]);
    const picture = new Uint8ClampedArray(w * h * 4);
    const small = new Float32Array(w * h);
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < w; x++) {
        const from = picked(y, h, height) * width + picked(x, w, width);
        const to = y * w + x;
        small[to] = probabilities[from];
        for (let c = 0; c < 3; c++) picture[4 * to + c] = high > low ? ((grey[3 * from + c] - low) / (high - low)) * 255 : 0;
        picture[4 * to + 3] = 255;
      }
    }
    shown = { name, width, height, probabilities, w, h, picture, small, threshold: segmenter.model.threshold };
    byId("drop").classList.add("small");
    byId("result").hidden = false;
    byId("name").textContent = name;
    for (const id of ["overlay", "mask", "map"]) Object.assign(byId(id), { width: w, height: h });
    byId("threshold").value = shown.threshold;
    const map = new ImageData(w, h);
    small.forEach((p, i) => map.data.set([...colour(p), 255], 4 * i));
    byId("map").getContext("2d").putImageData(map, 0, 0);
    byId("map").setAttribute("aria-label", `Probability of each pixel of ${name}`);
    byId("probe").textContent = "Point at a picture to read a probability.";
    draw();
  }

  function colour(p) {
    const at = p * (RAMP.length - 1);
    const from = Math.min(Math.floor(at), RAMP.length - 2);
    return RAMP[from].map((value, c) => value + (RAMP[from + 1][c] - value) * (at - from));
  }

  // Overlay and mask at the threshold.
  function draw() {
    const { w, h, small, picture, name } = shown;
    const isMarked = wgseg.isForeground(shown.threshold);
    const mask = Uint8Array.from(small, (p) => (isMarked(p) ? 1 : 0));
    const inner = shrink(mask, w, h, Math.max(1, Math.floor(Math.max(w, h) / 256)));
    const overlay = new ImageData(picture.slice(), w, h);
    const white = new ImageData(w, h);
    for (let i = 0; i < mask.length; i++) {
      white.data.fill(mask[i] * 255, 4 * i, 4 * i + 3);
      white.data[4 * i + 3] = 255;
      if (!mask[i]) continue;
      const alpha = inner[i] ? ALPHA : 1;
      for (let c = 0; c < 3; c++) overlay.data[4 * i + c] = picture[4 * i + c] * (1 - alpha) + MARKED[c] * alpha;
    }
    byId("overlay").getContext("2d").putImageData(overlay, 0, 0);
    byId("mask").getContext("2d").putImageData(white, 0, 0);
    const count = shown.probabilities.reduce((sum, p) => sum + isMarked(p), 0);
    const share = `${((100 * count) / shown.probabilities.length).toFixed(2)} %`;
    byId("value").textContent = short(shown.threshold);
    byId("summary").textContent = `${share} of the image is marked: pixels with a probability above ${short(shown.threshold)}.`;
    byId("overlay").setAttribute("aria-label", `${name} with the marked ${share} in red`);
    byId("mask").setAttribute("aria-label", `Mask of ${name}, ${share} white`);
    byId("reset").disabled = shown.threshold === segmenter?.model.threshold;
  }

  // The pixels of a mask that lie deeper in it than `reach`; what is outside the image is outside the mask.
  function shrink(mask, w, h, reach) {
    const along = (from, lines, length, place) => {
      const to = new Uint8Array(mask.length);
      for (let line = 0; line < lines; line++) {
        let run = 0;
        for (let i = 0; i < length; i++) {
          run = from[place(line, i)] ? run + 1 : 0;
          if (run > 2 * reach) to[place(line, i - reach)] = 1;
        }
      }
      return to;
    };
    const rows = along(mask, h, w, (line, i) => line * w + i);
    return along(rows, w, h, (line, i) => i * w + line);
  }

  function probe({ target, offsetX, offsetY }) {
    const x = Math.floor((offsetX / target.clientWidth) * shown.width);
    const y = Math.floor((offsetY / target.clientHeight) * shown.height);
    if (x < 0 || y < 0 || x >= shown.width || y >= shown.height) return;
    byId("probe").textContent = `Column ${x}, row ${y}: probability ${shown.probabilities[y * shown.width + x].toFixed(3)}`;
  }

  async function save(ending, bytes) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([await bytes], { type: "image/png" }));
    link.download = `${shown.name.replace(/\.[^.]+$/, "")}-${ending}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  function listen() {
    byId("again").addEventListener("click", open);
    byId("file").addEventListener("change", async ({ target }) => {
      await take([...target.files]);
      // The same file can be chosen again.
      target.value = "";
    });
    // Anywhere on the page; else a browser would leave the page for the image.
    let inside = 0;
    const over = (by) => byId("drop").classList.toggle("over", (inside = Math.max(0, inside + by)) > 0);
    addEventListener("dragenter", (event) => (event.preventDefault(), over(1)));
    addEventListener("dragleave", () => over(-1));
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      over(-inside);
      take([...(event.dataTransfer?.files ?? [])]);
    });
    const set = (threshold) => {
      shown.threshold = threshold;
      byId("threshold").value = threshold;
      requestAnimationFrame(draw);
    };
    byId("threshold").addEventListener("input", ({ target }) => set(Number(target.value)));
    byId("reset").addEventListener("click", () => set(segmenter.model.threshold));
    for (const id of ["overlay", "mask", "map"]) {
      byId(id).addEventListener("pointermove", probe);
      byId(id).addEventListener("pointerdown", probe);
    }
    byId("save-mask").addEventListener("click", () => {
      const { probabilities, width, height, threshold } = shown;
      save("mask", wgseg.maskFile(probabilities, width, height, threshold));
    });
    byId("save-map").addEventListener("click", () => save("probability", wgseg.mapFile(shown.probabilities, shown.width, shown.height)));
  }

  listen();
  open();
})();
