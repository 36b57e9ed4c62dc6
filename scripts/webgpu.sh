#!/usr/bin/env bash
# Installs what tests/conformance_web.rs runs the exported checks with: Dawn for Node, and what drives a browser.
# They go to target/tools/webgpu. Needs npm; the browser is the system's Chromium.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v npm >/dev/null || { echo "webgpu: npm not found; install Node 20 or newer" >&2; exit 1; }
mkdir -p target/tools/webgpu
npm install --silent --no-fund --no-audit --prefix target/tools/webgpu webgpu@0.6.2 playwright-core@1.65.1
