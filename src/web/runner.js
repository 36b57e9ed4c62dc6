// Runs programs of wgseg through WebGPU, in a page or in Node. No dependency, no build.
//
// A program is data: buffers, uniform blocks, dispatches (shader, constants, bindings, grid), and ports, which say
// where the inputs, states and outputs lie. A script of data calls wgseg.data(name, content).
//
//   const machine = await wgseg.Machine.open(navigator.gpu);
//   const session = await machine.session(program, shaders);
//   session.write("input0", numbers);
//   session.run();
//   const result = await session.read("result");
"use strict";

(() => {
  // The device or its driver is gone, or gives no answer: nothing more can be run on this machine.
  class Lost extends Error {}

  // How long a device may be silent.
  const PATIENCE_MS = 120_000;

  const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

  // Numbers of a data file as a typed array.
  function numbers(stored) {
    if (stored.random) return random(...stored.random);
    if (stored.f32 !== undefined) return new Float32Array(bytesOf(stored.f32).buffer);
    if (stored.f64 !== undefined) return new Float64Array(bytesOf(stored.f64).buffer);
    return new Uint32Array(bytesOf(stored.u32).buffer);
  }

  // Numbers in -1..1, the same as the exporting program draws for this seed.
  function random(seed, length) {
    const drawn = new Float32Array(length);
    for (let i = 0; i < length; i++) {
      let hash = (seed + Math.imul(i, 0x9e3779b9)) >>> 0;
      hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
      hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
      hash ^= hash >>> 16;
      drawn[i] = (hash >>> 8) / (1 << 23) - 1;
    }
    return drawn;
  }

  // A device with the pipelines made so far.
  class Machine {
    // Asks for no feature and for no more than the default limits.
    static async open(gpu) {
      const adapter = await gpu.requestAdapter();
      if (!adapter) throw new Error("there is no WebGPU adapter here");
      return new Machine(adapter, await adapter.requestDevice());
    }

    constructor(adapter, device) {
      this.adapter = adapter;
      this.device = device;
      this.pipelines = new Map();
      this.complaint = null;
      device.addEventListener("uncapturederror", (event) => {
        event.preventDefault?.();
        this.complaint ??= event.error.message;
      });
      this.lost = device.lost.then((info) => {
        this.isLost = true;
        throw new Lost(`the device was lost: ${info.message || info.reason}`);
      });
      // It is only ever seen through `alive`.
      this.lost.catch(() => {});
    }

    close() {
      this.device.destroy();
    }

    // Waits for `promise`, as long as the device lives and answers.
    async alive(promise) {
      let timer;
      const silent = new Promise((_, reject) => {
        const seconds = PATIENCE_MS / 1000;
        timer = setTimeout(() => reject(new Lost(`no answer within ${seconds} s`)), PATIENCE_MS);
      });
      try {
        return await Promise.race([promise, this.lost, silent]);
      } finally {
        clearTimeout(timer);
      }
    }

    // Does `work` and throws what the device complains of meanwhile.
    async checked(work) {
      const scopes = ["validation", "out-of-memory", "internal"];
      for (const scope of scopes) this.device.pushErrorScope(scope);
      let result, thrown;
      try {
        result = await work();
      } catch (error) {
        thrown = error;
      }
      if (thrown instanceof Lost) throw thrown;
      const found = await this.alive(Promise.all(scopes.map(() => this.device.popErrorScope())));
      const message = thrown?.message ?? found.find((error) => error)?.message ?? this.complaint;
      this.complaint = null;
      if (message) throw new Error(message);
      return result;
    }

    // The pipeline of a dispatch, made once.
    async pipeline(dispatch, shaders) {
      const writes = dispatch.bindings.map((binding) => binding[3]);
      const key = JSON.stringify([dispatch.shader, dispatch.constants ?? {}, writes]);
      if (!this.pipelines.has(key)) this.pipelines.set(key, await this.#make(dispatch, writes, shaders));
      return this.pipelines.get(key);
    }

    async #make(dispatch, writes, shaders) {
      const { device } = this;
      const code = shaders[dispatch.shader];
      const module = device.createShaderModule({ label: dispatch.shader, code });
      const entry = (binding, type) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } });
      const entries = writes.map((write, i) => entry(i + 1, write ? "storage" : "read-only-storage"));
      const layout = device.createBindGroupLayout({ entries: [entry(0, "uniform"), ...entries] });
      const descriptor = {
        label: dispatch.shader,
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: "main", constants: dispatch.constants ?? {} },
      };
      try {
        return { layout, pipeline: await this.alive(device.createComputePipelineAsync(descriptor)) };
      } catch (error) {
        if (error instanceof Lost) throw error;
        const { messages } = await this.alive(module.getCompilationInfo());
        const wrong = messages.filter((m) => m.type === "error");
        const told = wrong.map((m) => `line ${m.lineNum}, column ${m.linePos}: ${m.message}`);
        throw new Error(`${dispatch.shader} does not compile: ${told.join("; ") || error.message}`);
      }
    }

    // A program with its buffers and pipelines.
    session(program, shaders) {
      return this.checked(async () => {
        const pipelines = [];
        for (const dispatch of program.dispatches) pipelines.push(await this.pipeline(dispatch, shaders));
        return new Session(this, program, pipelines);
      });
    }
  }

  class Session {
    constructor(machine, program, pipelines) {
      const { device } = machine;
      this.machine = machine;
      this.program = program;
      const { STORAGE, UNIFORM, COPY_SRC, COPY_DST } = GPUBufferUsage;
      const buffer = (bytes, usage) => device.createBuffer({ size: Math.max(bytes, 16), usage });
      this.buffers = program.buffers.map((bytes) => buffer(bytes, STORAGE | COPY_SRC | COPY_DST));
      const params = bytesOf(program.params);
      this.params = buffer(params.length, UNIFORM | COPY_DST);
      device.queue.writeBuffer(this.params, 0, params);
      this.steps = program.dispatches.map((dispatch, i) => {
        const entry = (binding, buffer, offset, size) => ({ binding, resource: { buffer, offset, size } });
        const entries = dispatch.bindings.map((b, i) => entry(i + 1, this.buffers[b[0]], b[1], b[2]));
        entries.unshift(entry(0, this.params, ...dispatch.params));
        const { layout, pipeline } = pipelines[i];
        return { pipeline, group: device.createBindGroup({ layout, entries }), grid: dispatch.grid };
      });
    }

    #port(name) {
      const port = this.program.ports[name];
      if (!port) throw new Error(`the program has no input, state or output ${name}`);
      return port;
    }

    // Sets an input or a state.
    write(name, numbers) {
      const port = this.#port(name);
      if (numbers.length !== port.length) throw new Error(`${name}: ${numbers.length} numbers for ${port.length}`);
      this.machine.device.queue.writeBuffer(this.buffers[port.buffer], port.offset, numbers);
    }

    // Submits the program, `times` in line. Returns before the device is done.
    run(times = 1) {
      const encoder = this.machine.device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (let time = 0; time < times; time++) {
        for (const { pipeline, group, grid } of this.steps) {
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, group);
          pass.dispatchWorkgroups(...grid);
        }
      }
      pass.end();
      this.machine.device.queue.submit([encoder.finish()]);
    }

    // Waits until all that was submitted is done.
    done() {
      return this.machine.alive(this.machine.device.queue.onSubmittedWorkDone());
    }

    async read(name) {
      const { device } = this.machine;
      const port = this.#port(name);
      const size = port.length * 4;
      const staging = device.createBuffer({ size: Math.max(size, 16), usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(this.buffers[port.buffer], port.offset, staging, 0, size);
      device.queue.submit([encoder.finish()]);
      await this.machine.alive(staging.mapAsync(GPUMapMode.READ));
      const numbers = new Float32Array(staging.getMappedRange(0, size).slice(0));
      staging.destroy();
      return numbers;
    }

    close() {
      for (const buffer of [...this.buffers, this.params]) buffer.destroy();
    }
  }

  const wgseg = (globalThis.wgseg ??= {});
  const files = new Map();
  Object.assign(wgseg, {
    Lost,
    Machine,
    numbers,
    // Called by a data file.
    data: (name, content) => files.set(name, content),
    // Gives what a data file held, once.
    take(name) {
      const content = files.get(name);
      files.delete(name);
      return content;
    },
  });
})();
