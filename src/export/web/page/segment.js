// From the bytes of an image file to probabilities, as `wgseg predict` makes them: decoded, resized, standardised, through
// the network, resized back. Knows nothing of the page; runs in Node as well.
"use strict";

(() => {
  // Largest side and number of pixels that are read.
  const MAX_SIDE = 16_384;
  const MAX_PIXELS = 100_000_000;

  const f32 = Math.fround;

  function checkSize(width, height) {
    if (!width || !height) throw new Error(`the image has no pixels (${width}×${height})`);
    if (Math.max(width, height) > MAX_SIDE || width * height > MAX_PIXELS) {
      throw new Error(`the image is ${width}×${height}, expected at most ${MAX_SIDE} on a side and ${MAX_PIXELS / 1e6} megapixels`);
    }
  }

  // `{ width, height, channels, white, samples }` of a file. Its kind is told by the content, not by the name.
  function decode(bytes) {
    if (bytes.length === 0) throw new Error("the file is empty, expected a PNG, JPEG or DICOM image");
    const kind = [wgseg.png, wgseg.jpeg, wgseg.dicom].find((kind) => kind.is(bytes));
    if (!kind) throw new Error("this is not a PNG, JPEG or DICOM image");
    return kind.read(bytes);
  }

  // Samples in 0..1, `[height, width, wanted]`. Colour becomes grey by 0.299 R + 0.587 G + 0.114 B, grey becomes colour by
  // repetition.
  function toChannels({ width, height, channels, white, samples }, wanted) {
    const pixels = new Float32Array(width * height * wanted);
    if (channels === wanted) {
      for (let i = 0; i < pixels.length; i++) pixels[i] = samples[i] / white;
    } else if (channels === 1) {
      for (let i = 0; i < pixels.length; i++) pixels[i] = samples[Math.floor(i / wanted)] / white;
    } else {
      for (let i = 0; i < pixels.length; i++) {
        pixels[i] = (0.299 * samples[3 * i] + 0.587 * samples[3 * i + 1] + 0.114 * samples[3 * i + 2]) / white;
      }
    }
    return pixels;
  }

  // For each of `to` places the first of `from` that counts and their weights: a triangle as wide as the reduction, so
  // bilinear with antialiasing. In f32 as in wgseg, so that the same places count.
  function taps(from, to) {
    const ratio = f32(from / to);
    const scale = Math.max(ratio, 1);
    return Array.from({ length: to }, (_, place) => {
      const centre = f32(f32(place + 0.5) * ratio);
      const left = Math.min(Math.max(Math.floor(f32(centre - scale)), 0), from - 1);
      const right = Math.min(Math.max(Math.ceil(f32(centre + scale)), left + 1), from);
      const weights = new Float32Array(right - left);
      for (let i = left; i < right; i++) weights[i - left] = Math.max(0, 1 - Math.abs(f32(f32(i - f32(centre - 0.5)) / scale)));
      const sum = weights.reduce((sum, weight) => f32(sum + weight), 0);
      return { left, weights: weights.map((weight) => weight / sum) };
    });
  }

  // `[height, width, channels]` to `[newHeight, newWidth, channels]`; rows first, then columns.
  function resize(pixels, width, height, channels, newWidth, newHeight) {
    if (width === newWidth && height === newHeight) return pixels;
    const row = width * channels;
    const rows = new Float32Array(row * newHeight);
    for (const [y, { left, weights }] of taps(height, newHeight).entries()) {
      const to = rows.subarray(y * row, (y + 1) * row);
      for (const [i, weight] of weights.entries()) {
        const from = (left + i) * row;
        for (let x = 0; x < row; x++) to[x] += pixels[from + x] * weight;
      }
    }
    const resized = new Float32Array(newWidth * newHeight * channels);
    for (const [x, { left, weights }] of taps(width, newWidth).entries()) {
      for (let y = 0; y < newHeight; y++) {
        for (let c = 0; c < channels; c++) {
          let sum = 0;
          for (let i = 0; i < weights.length; i++) sum += rows[y * row + (left + i) * channels + c] * weights[i];
          resized[(y * newWidth + x) * channels + c] = Math.min(Math.max(sum, 0), 1);
        }
      }
    }
    return resized;
  }

  // To mean 0 and standard deviation 1, in place.
  function standardise(pixels) {
    const mean = pixels.reduce((sum, x) => sum + x, 0) / pixels.length;
    const squares = pixels.reduce((sum, x) => sum + (x - mean) ** 2, 0);
    const deviation = Math.sqrt(squares / Math.max(pixels.length - 1, 1));
    for (let i = 0; i < pixels.length; i++) pixels[i] = (pixels[i] - mean) / (deviation + 1e-6);
    return pixels;
  }

  // Whether a pixel of this probability is marked; the threshold is an f32.
  const isForeground = (threshold) => {
    const least = f32(threshold);
    return (probability) => probability > least;
  };

  // The model on a device.
  class Segmenter {
    // `load` brings the data files; `told` hears of how many there are and have come.
    static async open(gpu, load, told = () => {}) {
      const take = async (name) => {
        await load(name);
        return wgseg.take(name);
      };
      const model = await take("model");
      const shaders = await take("shaders");
      const machine = await wgseg.Machine.open(gpu);
      const session = await machine.session(model.program, shaders);
      for (const [i, name] of model.weights.entries()) {
        told(i, model.weights.length);
        for (const [state, numbers] of await take(name)) session.write(state, wgseg.numbers(numbers));
      }
      return new Segmenter(model, machine, session);
    }

    constructor(model, machine, session) {
      Object.assign(this, { model, machine, session });
    }

    // The probability of each pixel of a decoded image, `[height, width]`.
    async probabilities(image) {
      const { size, channels, input, output } = this.model;
      const { width, height } = image;
      const pixels = resize(toChannels(image, channels), width, height, channels, size, size);
      const map = await this.machine.checked(() => {
        this.session.write(input, standardise(Float32Array.from(pixels)));
        this.session.run();
        return this.session.read(output);
      });
      if (!map.every((p) => p >= 0 && p <= 1)) throw new Error("the network's answer is no probability; does the page of `wgseg conformance --web` pass here?");
      return resize(map, size, size, 1, width, height);
    }
  }

  // The files that `wgseg predict` writes: 0 and 255, and 16 bit, of which 65535 is 1.
  const maskFile = (probabilities, width, height, threshold) => {
    const marked = isForeground(threshold);
    return wgseg.png.write(width, height, Uint8Array.from(probabilities, (p) => (marked(p) ? 255 : 0)));
  };
  const mapFile = (probabilities, width, height) =>
    wgseg.png.write(width, height, Uint16Array.from(probabilities, (p) => Math.round(p * 65535)));

  globalThis.wgseg ??= {};
  Object.assign(wgseg, { Segmenter, checkSize, decode, isForeground, toChannels, maskFile, mapFile });
})();
