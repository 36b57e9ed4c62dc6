// JPEG files to samples, by the browser's decoder.
"use strict";

(() => {
  // Rows that are read from a canvas at once: some browsers have no large ones.
  const ROWS = 512;

  // Start-of-frame markers: all of C0..CF but tables and arithmetic conditioning.
  const isFrame = (marker) => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);

  // Size and components, and the file without what a browser would turn or colour the image by: EXIF and colour profiles.
  function parse(bytes) {
    const kept = [bytes.subarray(0, 2)];
    const cut = () => new Error("the JPEG file is cut short: its end marker is missing");
    let frame;
    // Segments are walked rather than searched, for a thumbnail in the metadata has an end marker of its own.
    for (let at = 2; ; ) {
      let marker = at;
      // Within compressed pixels ff is followed by 00 or a restart marker.
      while (marker < bytes.length && (bytes[marker] !== 0xff || bytes[marker + 1] === 0 || bytes[marker + 1] === 0xff || (bytes[marker + 1] >= 0xd0 && bytes[marker + 1] <= 0xd8))) {
        marker++;
      }
      if (marker + 1 >= bytes.length) throw cut();
      kept.push(bytes.subarray(at, marker));
      const kind = bytes[marker + 1];
      if (kind === 0xd9) {
        kept.push(bytes.subarray(marker, marker + 2));
        break;
      }
      if (marker + 4 > bytes.length) throw cut();
      const end = marker + 2 + ((bytes[marker + 2] << 8) | bytes[marker + 3]);
      if (end > bytes.length) throw cut();
      if (kind !== 0xe1 && kind !== 0xe2) kept.push(bytes.subarray(marker, end));
      if (isFrame(kind)) {
        const [precision, h1, h0, w1, w0, components] = bytes.subarray(marker + 4, marker + 10);
        frame = { precision, height: (h1 << 8) | h0, width: (w1 << 8) | w0, components };
      }
      at = Math.max(end, marker + 4);
    }
    if (!frame) throw new Error("the JPEG file is damaged: it does not say its size");
    return { ...frame, plain: new Blob(kept, { type: "image/jpeg" }) };
  }

  function canvas(width, height) {
    const made = globalThis.OffscreenCanvas ? new OffscreenCanvas(width, height) : Object.assign(document.createElement("canvas"), { width, height });
    return made.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  }

  // Some browsers change what is read from a canvas, so that pages cannot tell visitors apart by it.
  function checkCanvas() {
    const put = new ImageData(16, 16);
    put.data.forEach((_, i) => (put.data[i] = i % 4 === 3 ? 255 : (i * 37) % 256));
    const context = canvas(16, 16);
    context.putImageData(put, 0, 0);
    const got = context.getImageData(0, 0, 16, 16);
    if (got.data.some((value, i) => value !== put.data[i])) {
      throw new Error(
        "this browser alters the pixels of a JPEG image to protect against tracking; switch that protection off for this page, or save the image as PNG",
      );
    }
  }

  // `{ width, height, channels, white, samples }`.
  async function read(bytes) {
    const { width, height, components, precision, plain } = parse(bytes);
    if (precision !== 8) throw new Error(`the JPEG file has ${precision} bits; browsers read 8`);
    if (components !== 1 && components !== 3) throw new Error(`the JPEG file has ${components} components; expected grey or colour`);
    wgseg.checkSize(width, height);
    if (!globalThis.createImageBitmap) throw new Error("JPEG is read in a browser alone");
    checkCanvas();
    const bitmap = await createImageBitmap(plain, { colorSpaceConversion: "none", premultiplyAlpha: "none" }).catch(() => {
      throw new Error("the JPEG file is damaged, or of a kind that this browser does not read");
    });
    const samples = new Uint8Array(width * height * components);
    const rows = Math.min(ROWS, height);
    const context = canvas(width, rows);
    for (let top = 0; top < height; top += rows) {
      context.drawImage(bitmap, 0, -top);
      const { data } = context.getImageData(0, 0, width, Math.min(rows, height - top));
      let to = top * width * components;
      for (let from = 0; from < data.length; from += 4) {
        for (let c = 0; c < components; c++) samples[to++] = data[from + c];
      }
    }
    bitmap.close();
    return { width, height, channels: components, white: 255, samples };
  }

  globalThis.wgseg ??= {};
  wgseg.jpeg = { is: (bytes) => bytes[0] === 0xff && bytes[1] === 0xd8, read };
})();
