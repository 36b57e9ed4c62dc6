#!/usr/bin/env bash
# Sets up on Debian 12 what `wgseg inspect` compiles with: spirv-val and spirv-dis, glslangValidator, Mesa's RADV with its
# null device (from backports, as setup.sh does), and DXC, whose library goes to target/tools/. Says what it installs;
# quiet when all is there.
#
# DXC's library for Linux is taken from the PyPI wheel `compushady-lrtu`; of the wheel nothing else is used. It is for
# x86-64.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
wheel=compushady-lrtu==0.18.0
tools=${CARGO_TARGET_DIR:-$root/target}/tools
library=$tools/libdxcompiler.so

say() { printf 'offline_compilers: %s\n' "$*" >&2; }

# RADV with a null device: Mesa 25.0 has it, 26 has dropped it.
radv_there() {
    compgen -G '/usr/share/vulkan/icd.d/radeon_icd*.json' >/dev/null &&
        [[ $(dpkg-query -W -f '${Version}' mesa-vulkan-drivers 2>/dev/null) == 25.* ]]
}

dxc_there() { [ -e "$library" ] || [ "$(uname -m)" != x86_64 ]; }

install_packages() {
    local packages=()
    { have spirv-val && have spirv-dis; } || packages+=(spirv-tools)
    have glslangValidator || packages+=(glslang-tools)
    radv_there || packages+=(mesa-vulkan-drivers libvulkan1)
    dxc_there || python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
    # In a shell of its own: it sets a trap for when it ends.
    [ ${#packages[@]} -eq 0 ] || (install_with_apt "${packages[@]}")
    radv_there || say "this Mesa's RADV has no null device (25.0's has): the amd targets will be skipped"
}

fetch_dxc() {
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    say "fetching DXC: libdxcompiler.so of the wheel $wheel, to ${library#"$root"/}"
    # For the CPython that the wheel is made for, which need not be the one here.
    if ! python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: \
        --implementation cp --python-version 3.11 --platform manylinux_2_28_x86_64 \
        -d "$folder" "$wheel" </dev/null >"$folder/log" 2>&1; then
        tail -n 20 "$folder/log" >&2
        die "pip download $wheel failed (see above)"
    fi
    mkdir -p "$tools"
    python3 - "$folder" "$library.new" <<'PYTHON'
import pathlib, sys, zipfile

folder, target = map(pathlib.Path, sys.argv[1:])
with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
    target.write_bytes(wheel.read("compushady/backends/libdxcompiler_x86_64.so"))
PYTHON
    mv "$library.new" "$library"
}

have apt-get || die "this is for Debian. Elsewhere install spirv-tools, glslang, Mesa's RADV and DXC by other means."
install_packages
if ! dxc_there; then fetch_dxc; fi
