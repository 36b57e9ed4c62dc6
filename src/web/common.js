// What the pages of wgseg share.
"use strict";

Object.assign((globalThis.wgseg ??= {}), {
  // Loads a data file by a script, and not by a fetch: that works from disk as well.
  load(name) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `data/${name}.js`;
      script.onload = () => (script.remove(), resolve());
      script.onerror = () => reject(new Error(`cannot load ${script.src}`));
      document.head.append(script);
    });
  },

  // What to do where the browser offers no WebGPU, or no device.
  whyNoWebGpu() {
    if (!globalThis.isSecureContext) {
      return "Browsers offer WebGPU to pages from https:// or from this machine only, and this page is from neither.";
    }
    return (
      "Take a recent Chrome or Edge, Safari 26 or Firefox 141 or newer. On Linux, Chrome may need " +
      "chrome://flags/#enable-unsafe-webgpu. Private windows and old graphics drivers may lack it as well."
    );
  },
});
