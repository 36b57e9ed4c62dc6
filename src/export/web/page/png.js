// PNG files to samples and back, by the specification. No canvas: that would round 16 bits to 8, multiply colours by
// their alpha, and in some browsers blur what it gives back.
"use strict";

(() => {
  const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
  // Samples of a pixel, by colour type: grey, colour, palette, grey with alpha, colour with alpha.
  const SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
  // First column and row of each pass of an interlaced image, and the steps between.
  const PASSES = [
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
  ];

  const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });

  function crc(bytes) {
    let sum = 0xffffffff;
    for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
    return ~sum >>> 0;
  }

  // The first `length` bytes of what `bytes` unpack to: a small file may claim to be a huge one.
  async function unpack(bytes, format, length) {
    const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format)).getReader();
    const unpacked = new Uint8Array(length);
    let at = 0;
    while (at < length) {
      const { done, value } = await reader.read();
      if (done) break;
      const part = value.subarray(0, length - at);
      unpacked.set(part, at);
      at += part.length;
    }
    reader.cancel().catch(() => {});
    return unpacked.subarray(0, at);
  }

  async function pack(bytes) {
    const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // The chunks that count.
  function chunks(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const found = { data: [] };
    for (let at = 8; at + 12 <= bytes.length; ) {
      const length = view.getUint32(at);
      const end = at + 12 + length;
      if (end > bytes.length) break;
      const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
      const body = bytes.subarray(at + 8, end - 4);
      if (["IHDR", "PLTE", "IDAT", "IEND"].includes(name)) {
        if (crc(bytes.subarray(at + 4, end - 4)) !== view.getUint32(end - 4)) {
          throw new Error(`the PNG file is damaged: the checksum of its ${name} does not fit`);
        }
        if (name === "IEND") return found;
        if (name === "IDAT") found.data.push(body);
        else found[name] = body;
      }
      at = end;
    }
    throw new Error("the PNG file is cut short: its end marker is missing");
  }

  // Undoes the filter of each row of `width` × `height` pixels, in place. Returns the bytes without the filters' numbers.
  function unfilter(bytes, rowBytes, height, pixelBytes) {
    const rows = new Uint8Array(rowBytes * height);
    for (let y = 0; y < height; y++) {
      const filter = bytes[y * (rowBytes + 1)];
      const from = y * (rowBytes + 1) + 1;
      const to = y * rowBytes;
      if (filter > 4) throw new Error("the PNG file is damaged: a row has an unknown filter");
      for (let i = 0; i < rowBytes; i++) {
        const a = i >= pixelBytes ? rows[to + i - pixelBytes] : 0;
        const b = y > 0 ? rows[to + i - rowBytes] : 0;
        let predicted = 0;
        if (filter === 1) predicted = a;
        else if (filter === 2) predicted = b;
        else if (filter === 3) predicted = (a + b) >> 1;
        else if (filter === 4) {
          const c = i >= pixelBytes && y > 0 ? rows[to + i - rowBytes - pixelBytes] : 0;
          const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
          predicted = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
        }
        rows[to + i] = bytes[from + i] + predicted;
      }
    }
    return rows;
  }

  // `{ width, height, channels, white, samples }`: 1 or 3 channels, alpha dropped, white 255 or 65535.
  async function read(bytes) {
    const { IHDR, PLTE, data } = chunks(bytes);
    if (!IHDR || IHDR.length !== 13) throw new Error("the PNG file is damaged: it does not say its size");
    const header = new DataView(IHDR.buffer, IHDR.byteOffset, 13);
    const [width, height] = [header.getUint32(0), header.getUint32(4)];
    const [depth, colour, , , interlaced] = IHDR.subarray(8);
    wgseg.checkSize(width, height);
    const stored = SAMPLES[colour];
    const depths = { 0: [1, 2, 4, 8, 16], 3: [1, 2, 4, 8] }[colour] ?? [8, 16];
    if (!stored || !depths.includes(depth)) {
      throw new Error(`the PNG file is damaged: there is no colour type ${colour} with ${depth} bits`);
    }
    if (colour === 3 && !PLTE) throw new Error("the PNG file is damaged: its palette is missing");

    const passes = (interlaced ? PASSES : [[0, 0, 1, 1]])
      .map(([x, y, dx, dy]) => ({ x, y, dx, dy, w: Math.ceil((width - x) / dx), h: Math.ceil((height - y) / dy) }))
      .filter(({ w, h }) => w > 0 && h > 0)
      .map((pass) => ({ ...pass, rowBytes: Math.ceil((pass.w * stored * depth) / 8) }));
    const length = passes.reduce((sum, { rowBytes, h }) => sum + (rowBytes + 1) * h, 0);
    const packed = new Uint8Array(await new Blob(data).arrayBuffer());
    const unpacked = await unpack(packed, "deflate", length).catch(() => {
      throw new Error("the PNG file is damaged: its pixels do not unpack");
    });
    if (unpacked.length < length) throw new Error("the PNG file is cut short: it ends before its last pixel");

    const channels = colour === 2 || colour === 3 || colour === 6 ? 3 : 1;
    const white = depth === 16 ? 65535 : 255;
    const samples = new (depth === 16 ? Uint16Array : Uint8Array)(width * height * channels);
    // Fewer bits than 8 are spread over 0..255, but not the places of a palette.
    const scale = depth < 8 && colour !== 3 ? 255 / (2 ** depth - 1) : 1;
    let start = 0;
    for (const { x, y, dx, dy, w, h, rowBytes } of passes) {
      const part = unpacked.subarray(start, (start += (rowBytes + 1) * h));
      const rows = unfilter(part, rowBytes, h, Math.max(1, (stored * depth) / 8));
      // Sample `i` of row `r`.
      const sample =
        depth === 16
          ? (r, i) => (rows[r * rowBytes + 2 * i] << 8) | rows[r * rowBytes + 2 * i + 1]
          : depth === 8
            ? (r, i) => rows[r * rowBytes + i]
            : (r, i) => ((rows[r * rowBytes + ((i * depth) >> 3)] >> (8 - depth - ((i * depth) & 7))) & ((1 << depth) - 1)) * scale;
      for (let row = 0; row < h; row++) {
        for (let column = 0; column < w; column++) {
          const to = ((y + row * dy) * width + x + column * dx) * channels;
          const from = colour === 3 ? sample(row, column) * 3 : column * stored;
          if (colour === 3 && from + 3 > PLTE.length) {
            throw new Error("the PNG file is damaged: a pixel is not in its palette");
          }
          for (let c = 0; c < channels; c++) samples[to + c] = colour === 3 ? PLTE[from + c] : sample(row, from + c);
        }
      }
    }
    return { width, height, channels, white, samples };
  }

  function chunk(name, body) {
    const bytes = new Uint8Array(body.length + 12);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, body.length);
    for (let i = 0; i < 4; i++) bytes[4 + i] = name.charCodeAt(i);
    bytes.set(body, 8);
    view.setUint32(body.length + 8, crc(bytes.subarray(4, body.length + 8)));
    return bytes;
  }

  // The bytes of a grey PNG, of 8 bit or, where `samples` is a Uint16Array, 16.
  async function write(width, height, samples) {
    const bytesPerSample = samples.BYTES_PER_ELEMENT;
    const header = new Uint8Array(13);
    new DataView(header.buffer).setUint32(0, width);
    new DataView(header.buffer).setUint32(4, height);
    header[8] = 8 * bytesPerSample;
    const rowBytes = width * bytesPerSample + 1;
    const rows = new Uint8Array(rowBytes * height);
    const view = new DataView(rows.buffer);
    for (let y = 0; y < height; y++) {
      const row = samples.subarray(y * width, (y + 1) * width);
      if (bytesPerSample === 1) rows.set(row, y * rowBytes + 1);
      else row.forEach((sample, x) => view.setUint16(y * rowBytes + 1 + 2 * x, sample));
    }
    const parts = [Uint8Array.from(SIGNATURE), chunk("IHDR", header), chunk("IDAT", await pack(rows)), chunk("IEND", new Uint8Array())];
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  }

  globalThis.wgseg ??= {};
  wgseg.png = { is: (bytes) => SIGNATURE.every((byte, i) => bytes[i] === byte), read, write, unpack };
})();
