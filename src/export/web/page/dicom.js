// DICOM files to samples: one frame, grey or RGB, 8 or 16 bit, plain, deflated or JPEG baseline.
"use strict";

(() => {
  const IMPLICIT = "1.2.840.10008.1.2";
  const EXPLICIT = "1.2.840.10008.1.2.1";
  const DEFLATED = "1.2.840.10008.1.2.1.99";
  const JPEG = ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"];
  const OTHERS = {
    "1.2.840.10008.1.2.2": "big-endian",
    "1.2.840.10008.1.2.4.57": "JPEG lossless",
    "1.2.840.10008.1.2.4.70": "JPEG lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS",
    "1.2.840.10008.1.2.4.81": "JPEG-LS",
    "1.2.840.10008.1.2.4.90": "JPEG 2000",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.5": "run lengths",
  };
  // A deflated data set unpacks to this many bytes at most.
  const MOST_BYTES = 1 << 29;

  // Value representations whose length takes four bytes, after two that are reserved.
  const LONG = ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"];
  const UNKNOWN = 0xffffffff;
  const [MODALITY_LUT, VOI_LUT] = [0x00283000, 0x00283010];
  const [PIXELS, ITEM, END_OF_ITEM, END_OF_SEQUENCE] = [0x7fe00010, 0xfffee000, 0xfffee00d, 0xfffee0dd];

  const cut = () => new Error("the DICOM file is cut short");

  class Reader {
    constructor(bytes, at, explicit) {
      Object.assign(this, { bytes, at, explicit });
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }

    get ended() {
      return this.at + 8 > this.bytes.length;
    }

    // Tag, length and representation of the next element; its value comes next.
    head() {
      if (this.ended) throw cut();
      const { view, at } = this;
      const tag = view.getUint16(at, true) * 0x10000 + view.getUint16(at + 2, true);
      // Items have no representation.
      const explicit = this.explicit && tag < 0xfffe0000;
      const vr = explicit ? String.fromCharCode(view.getUint8(at + 4), view.getUint8(at + 5)) : "";
      const long = LONG.includes(vr);
      if (long && at + 12 > this.bytes.length) throw cut();
      const length = long ? view.getUint32(at + 8, true) : explicit ? view.getUint16(at + 6, true) : view.getUint32(at + 4, true);
      this.at = at + (long ? 12 : 8);
      return { tag, vr, length };
    }

    value(length) {
      if (this.at + length > this.bytes.length) throw cut();
      return this.bytes.subarray(this.at, (this.at += length));
    }

    // Goes past the value of an element that is not needed.
    skip({ vr, length }, depth = 0) {
      if (length !== UNKNOWN) return void this.value(length);
      if (depth > 64) throw new Error("the DICOM file is damaged: its sequences do not end");
      // What is unknown and of unknown length is written without representations.
      const explicit = this.explicit;
      if (vr === "UN") this.explicit = false;
      for (;;) {
        const item = this.head();
        if (item.tag === END_OF_SEQUENCE) break;
        if (item.tag !== ITEM) throw new Error("the DICOM file is damaged: a sequence holds something else than items");
        if (item.length !== UNKNOWN) this.value(item.length);
        else for (let inner = this.head(); inner.tag !== END_OF_ITEM; inner = this.head()) this.skip(inner, depth + 1);
      }
      this.explicit = explicit;
    }

    // The fragments of compressed pixels, put together; the first item is a table.
    fragments() {
      const parts = [];
      for (let item = this.head(); item.tag !== END_OF_SEQUENCE; item = this.head()) {
        if (item.tag !== ITEM || item.length === UNKNOWN) throw new Error("the DICOM file is damaged: its pixels are not in items");
        parts.push(this.value(item.length));
      }
      const whole = new Uint8Array(parts.slice(1).reduce((sum, part) => sum + part.length, 0));
      let at = 0;
      for (const part of parts.slice(1)) {
        whole.set(part, at);
        at += part.length;
      }
      return whole;
    }
  }

  const text = (value) => (value ? String.fromCharCode(...value).replace(/[\0 ]+$/, "").trim() : "");
  const whole = (value) => (value && value.length >= 2 ? value[0] | (value[1] << 8) : undefined);
  // The first of several decimals; undefined where there is none.
  const decimal = (value) => {
    const number = Number.parseFloat(text(value).split("\\")[0]);
    return Number.isFinite(number) ? number : undefined;
  };

  // The elements of the image pixel module and of its window, and where the pixels are.
  async function elements(bytes) {
    const meta = new Reader(bytes, 132, true);
    let syntax = IMPLICIT;
    while (!meta.ended && meta.view.getUint16(meta.at, true) === 2) {
      const head = meta.head();
      const value = meta.value(head.length);
      if (head.tag === 0x00020010) syntax = text(value);
    }
    if (![IMPLICIT, EXPLICIT, DEFLATED, ...JPEG].includes(syntax)) {
      const name = OTHERS[syntax] ? `${OTHERS[syntax]} (${syntax})` : syntax;
      throw new Error(`the DICOM file is compressed or ordered in a way that this page does not read: ${name}; expected plain pixels or JPEG baseline`);
    }
    let reader = new Reader(bytes, meta.at, syntax !== IMPLICIT);
    if (syntax === DEFLATED) {
      const unpacked = await wgseg.png.unpack(bytes.subarray(meta.at), "deflate-raw", MOST_BYTES).catch(() => {
        throw new Error("the DICOM file is damaged: it does not unpack");
      });
      reader = new Reader(unpacked, 0, true);
    }
    const found = new Map();
    while (!reader.ended) {
      const head = reader.head();
      if (head.tag === PIXELS) {
        return { syntax, found, pixels: head.length === UNKNOWN ? reader.fragments() : reader.value(head.length) };
      }
      if (head.tag >= 0x00280000 && head.tag < 0x00290000 && head.length !== UNKNOWN) found.set(head.tag, reader.value(head.length));
      else {
        if (head.tag === MODALITY_LUT || head.tag === VOI_LUT) found.set(head.tag, null);
        reader.skip(head);
      }
    }
    throw new Error("the DICOM file holds no pixels");
  }

  // From stored numbers to levels in 0..white, as they are to be seen (PS3.3 C.11): rescaled, in the first window if there is
  // one, else over all numbers that the stored bits have; MONOCHROME1 turned over.
  function levels(found, bits, signed, white) {
    if (found.has(MODALITY_LUT)) throw new Error("the DICOM file has a table of its levels (Modality LUT), which is not read here");
    const [slope, intercept] = [decimal(found.get(0x00281053)) ?? 1, decimal(found.get(0x00281052)) ?? 0];
    if (slope === 0) throw new Error("the DICOM file has a rescale slope of 0, expected another number");
    const low = signed ? -(2 ** (bits - 1)) : 0;
    const seen = shape(found, slope, intercept, low, low + 2 ** bits - 1);
    const inverted = text(found.get(0x00280004)) === "MONOCHROME1";
    return (stored) => {
      const level = Math.min(Math.max(seen(stored * slope + intercept), 0), 1);
      return Math.round((inverted ? 1 - level : level) * white);
    };
  }

  // From a rescaled number to 0..1, or beyond where it is outside of the window.
  function shape(found, slope, intercept, low, high) {
    const [centre, width] = [decimal(found.get(0x00281050)), decimal(found.get(0x00281051))];
    if (centre === undefined || width === undefined) {
      if (found.has(VOI_LUT)) throw new Error("the DICOM file has a table of its levels (VOI LUT) and no window, which is not read here");
      const ends = [low * slope + intercept, high * slope + intercept].sort((a, b) => a - b);
      return (x) => (x - ends[0]) / (ends[1] - ends[0]);
    }
    const kind = text(found.get(0x00281056)) || "LINEAR";
    if (!["LINEAR", "LINEAR_EXACT", "SIGMOID"].includes(kind)) {
      throw new Error(`the window of the DICOM file is ${kind}, expected LINEAR, LINEAR_EXACT or SIGMOID`);
    }
    if (!(width >= 1 || (width > 0 && kind !== "LINEAR"))) throw new Error(`the window of the DICOM file is ${width} wide, expected 1 or more`);
    if (kind === "LINEAR_EXACT") return (x) => (x - centre) / width + 0.5;
    if (kind === "SIGMOID") return (x) => 1 / (1 + Math.exp((-4 * (x - centre)) / width));
    // A width of 1 is a threshold.
    if (width === 1) return (x) => (x > centre - 0.5 ? 1 : 0);
    return (x) => (x - (centre - 0.5)) / (width - 1) + 0.5;
  }

  // `{ width, height, channels, white, samples }`; white is 255 or, of more than 8 stored bits, 65535.
  async function read(bytes) {
    const { syntax, found, pixels } = await elements(bytes);
    const [height, width] = [whole(found.get(0x00280010)), whole(found.get(0x00280011))];
    if (!width || !height) throw new Error("the DICOM file does not say the size of its image");
    wgseg.checkSize(width, height);
    const frames = decimal(found.get(0x00280008)) ?? 1;
    if (frames !== 1) throw new Error(`the DICOM file has ${frames} frames, expected one`);
    const channels = whole(found.get(0x00280002)) ?? 1;
    const meaning = text(found.get(0x00280004));
    const packed = JPEG.includes(syntax);
    const isGrey = channels === 1 && meaning.startsWith("MONOCHROME");
    const isColour = channels === 3 && (meaning === "RGB" || (packed && meaning.startsWith("YBR")));
    if (!isGrey && !isColour) throw new Error(`the pixels of the DICOM file are ${meaning || "of no said kind"}, expected MONOCHROME1, MONOCHROME2 or RGB`);
    const allocated = whole(found.get(0x00280100)) ?? 8;
    const bits = whole(found.get(0x00280101)) ?? allocated;
    const signed = whole(found.get(0x00280103)) === 1;
    if ((allocated !== 8 && allocated !== 16) || bits < 1 || bits > allocated || (isColour && allocated !== 8)) {
      throw new Error(`the DICOM file has ${bits} of ${allocated} bits a sample; expected grey of 8 or 16 bits or colour of 8`);
    }
    const white = bits <= 8 ? 255 : 65535;
    const level = isGrey ? levels(found, bits, signed, white) : null;

    if (packed) {
      const image = await wgseg.jpeg.read(pixels);
      if (image.width !== width || image.height !== height || image.channels !== channels) {
        throw new Error("the DICOM file is damaged: its image is of another size than it says");
      }
      return isColour ? image : { ...image, white, samples: Uint16Array.from(image.samples, level) };
    }
    const count = width * height * channels;
    if (pixels.length < (count * allocated) / 8) throw cut();
    if (isColour) {
      // Colour by colour, or pixel by pixel.
      const planes = whole(found.get(0x00280006)) === 1;
      const place = planes ? (i) => (i % 3) * width * height + Math.floor(i / 3) : (i) => i;
      return { width, height, channels, white: 255, samples: Uint8Array.from({ length: count }, (_, i) => pixels[place(i)]) };
    }
    const view = new DataView(pixels.buffer, pixels.byteOffset, pixels.byteLength);
    const shift = Math.max((whole(found.get(0x00280102)) ?? bits - 1) + 1 - bits, 0);
    const mask = 2 ** bits - 1;
    const samples = new Uint16Array(count);
    for (let i = 0; i < count; i++) {
      let stored = ((allocated === 8 ? pixels[i] : view.getUint16(2 * i, true)) >> shift) & mask;
      if (signed && stored > mask >> 1) stored -= mask + 1;
      samples[i] = level(stored);
    }
    return { width, height, channels, white, samples };
  }

  globalThis.wgseg ??= {};
  wgseg.dicom = { is: (bytes) => String.fromCharCode(...bytes.subarray(128, 132)) === "DICM", read };
})();
