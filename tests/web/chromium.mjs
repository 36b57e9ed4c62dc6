// Opens an exported folder in headless Chromium, on SwiftShader, and prints the report that the page makes.
//
//   node chromium.mjs TOOLS FOLDER HASH [SCREENSHOT WIDTH SCHEME]
//
// TOOLS has node_modules/playwright-core; HASH is `run`, or `run=NAME` for one op.
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [tools, folder, hash, screenshot, width, colorScheme] = process.argv.slice(2);
const { chromium } = createRequire(`${resolve(tools)}/`)("playwright-core");
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--no-sandbox"],
});
const viewport = { width: Number(width ?? 1280), height: 900 };
const page = await browser.newPage({ viewport, colorScheme: colorScheme ?? "light" });
page.on("pageerror", (error) => console.error(error.message));
await page.goto(`${pathToFileURL(folder)}/index.html#${hash}`);
await page.waitForSelector("body[data-state]", { timeout: 1_200_000 });
if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
const refused = await page.evaluate(() => document.body.dataset.state !== "done" && document.body.innerText);
if (refused) console.error(refused);
else console.log(JSON.stringify(await page.evaluate(() => globalThis.wgsegReport)));
await browser.close();
process.exitCode = refused ? 1 : 0;
