// Opens an exported model in headless Chromium, on SwiftShader, gives it images, and saves what the page offers.
//
//   node segment_chromium.mjs TOOLS FOLDER OUT IMAGE...
//
// TOOLS has node_modules/playwright-core. Writes OUT/NAME-mask.png and OUT/NAME-probability.png, and prints one JSON object:
// what the page said of each image, what it loaded, and what it complained of. --shot FILE takes a picture of the page in the
// end, --without-webgpu opens it without WebGPU, --drop drops the images, --lose loses the device and starts again.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values: options, positionals } = parseArgs({
  options: {
    shot: { type: "string" },
    width: { type: "string", default: "1280" },
    scheme: { type: "string", default: "light" },
    "without-webgpu": { type: "boolean" },
    drop: { type: "boolean" },
    lose: { type: "boolean" },
  },
  allowPositionals: true,
});
const [tools, folder, out, ...images] = positionals;
const { chromium } = createRequire(`${resolve(tools)}/`)("playwright-core");
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--no-sandbox"],
});
const page = await browser.newPage({ viewport: { width: Number(options.width), height: 900 }, colorScheme: options.scheme });
// Software drivers on a busy machine take their time.
page.setDefaultTimeout(120_000);
const told = { loaded: [], complaints: [], results: [] };
page.on("request", (request) => told.loaded.push(request.url()));
page.on("pageerror", (error) => told.complaints.push(error.message));
page.on("console", (message) => message.type() === "error" && told.complaints.push(message.text()));
const settled = () => page.waitForSelector("body[data-state=ready], body[data-state=off]", { timeout: 300_000 });
const status = () => page.evaluate(() => ["status-title", "status-more", "summary"].map((id) => document.getElementById(id).textContent));
if (options["without-webgpu"]) await page.addInitScript(() => Object.defineProperty(Navigator.prototype, "gpu", { value: undefined }));
if (options.lose) {
  await page.addInitScript(() => {
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...args) {
      return (globalThis.opened = await request.apply(this, args));
    };
  });
}
await page.goto(`${pathToFileURL(folder)}/index.html`);
await settled();

async function give(path) {
  if (!options.drop) return page.setInputFiles("#file", path);
  const base64 = readFileSync(path).toString("base64");
  await page.evaluate(
    ([name, base64]) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
      for (const type of ["dragenter", "dragover", "drop"]) {
        document.body.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
      }
    },
    [basename(path), base64],
  );
}

async function save(button, path) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click(button)]);
  await download.saveAs(path);
}

for (const path of images) {
  await give(path);
  await page.waitForFunction(() => document.body.dataset.state !== "busy", null, { timeout: 300_000 });
  const [title, more, summary] = await status();
  told.results.push({ image: basename(path), title, more, summary });
  if (title !== "Done") continue;
  const name = basename(path).replace(/\.[^.]+$/, "");
  await save("#save-mask", join(out, `${name}-mask.png`));
  await save("#save-map", join(out, `${name}-probability.png`));
}
if (options.lose) {
  // What a page sees of a driver that dies.
  await page.evaluate(() => globalThis.opened.destroy());
  await page.waitForSelector("body[data-state=off]");
  [told.lostTitle, told.lostMore] = await status();
  await page.click("#again");
  await settled();
}
// A page that asks the network is refused by its own policy.
told.fetched = await page.evaluate(() => fetch("http://localhost:9/").then(() => "answered", (error) => error.message));
[told.title, told.more] = await status();
await page.evaluate(() => scrollTo(0, 0));
if (options.shot) await page.screenshot({ path: options.shot, fullPage: true });
console.log(JSON.stringify(told));
await browser.close();
