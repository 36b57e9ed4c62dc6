// Segments PNG and plain DICOM images with an exported model in Node, on Dawn.
//
//   node segment_dawn.mjs TOOLS FOLDER OUT IMAGE...
//
// TOOLS has node_modules/webgpu. Writes OUT/NAME-mask.png and OUT/NAME-probability.png.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [tools, folder, out, ...images] = process.argv.slice(2);
const { create, globals } = await import(pathToFileURL(createRequire(`${resolve(tools)}/`).resolve("webgpu")));
Object.assign(globalThis, globals);
const load = (name) => import(pathToFileURL(join(folder, `${name}.js`)));
for (const name of ["runner", "png", "jpeg", "dicom", "segment"]) await load(name);
const { wgseg } = globalThis;
// Dawn dies with this object, so nothing may collect it.
globalThis.gpu = create([]);
const segmenter = await wgseg.Segmenter.open(globalThis.gpu, (name) => load(`data/${name}`));
for (const path of images) {
  const image = await wgseg.decode(new Uint8Array(readFileSync(path)));
  const { width, height } = image;
  const probabilities = await segmenter.probabilities(image);
  const name = join(out, basename(path).replace(/\.[^.]+$/, ""));
  writeFileSync(`${name}-mask.png`, await wgseg.maskFile(probabilities, width, height, segmenter.model.threshold));
  writeFileSync(`${name}-probability.png`, await wgseg.mapFile(probabilities, width, height));
}
segmenter.session.close();
segmenter.machine.close();
// Dawn keeps Node from ending by itself.
process.exit(0);
