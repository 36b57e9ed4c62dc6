#!/usr/bin/env bash
# Software drivers side by side, to see wgseg on each without a GPU: fetched with apt from the Debian mirror that this
# machine uses, unpacked in target/drivers, nothing installed. Quiet when all is there.
#
#   scripts/drivers.sh [NAME...]             fetches those drivers, or all; one that cannot be had is left out, and said
#   scripts/drivers.sh list                  the names, and which are there
#   scripts/drivers.sh run NAME COMMAND...   runs a command that sees this driver alone
#
# `run mesa-26.1` starts the command by that tree's own C library, as the driver needs a newer one than Debian 12's: it
# takes a program, and of scripts none but cargo, whose tests and programs it starts so.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
trees=$root/target/drivers
. "$root/scripts/mirror.sh"

all=(mesa-22.3 mesa-25.0 mesa-26.1 llvmpipe-gl swiftshader)

say() { printf 'drivers: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

what() {
    case $1 in
    mesa-22.3) echo "lavapipe of Debian 12's own Mesa, Vulkan" ;;
    mesa-25.0) echo "lavapipe of Debian 12's backports, Vulkan; what scripts/setup.sh installs" ;;
    mesa-26.1) echo "lavapipe of Debian 13's backports, Vulkan" ;;
    llvmpipe-gl) echo "llvmpipe of Debian 12's backports, OpenGL" ;;
    swiftshader) echo "SwiftShader of Debian 12's chromium-common, Vulkan" ;;
    *) die "there is no driver $1; there are ${all[*]}" ;;
    esac
}

# The folder in which a driver lies; two that are of the same packages share it.
tree() {
    case $1 in
    mesa-25.0 | llvmpipe-gl) echo "$trees/bookworm-backports" ;;
    mesa-26.1) echo "$trees/trixie-backports" ;;
    mesa-22.3) echo "$trees/bookworm" ;;
    swiftshader) echo "$trees/chromium" ;;
    esac
}

# The one file that a glob names, or nothing.
one() { compgen -G "$1" | head -n 1 || true; }

# What the loader is given: the driver's JSON file for Vulkan, that of EGL for OpenGL.
json() {
    case $1 in
    swiftshader) one "$(tree "$1")/usr/lib/chromium/vk_swiftshader_icd.json" ;;
    llvmpipe-gl) one "$(tree "$1")/usr/share/glvnd/egl_vendor.d/50_mesa.json" ;;
    *) one "$(tree "$1")/lavapipe.json" ;;
    esac
}

# apt with lists of its own and nothing installed, so that it fetches all that a package needs.
apt_apart() {
    local dir=$trees/apt/$1
    shift
    apt-get -y -qq -o Dir::State="$dir" -o Dir::State::status="$dir/status" -o Dir::State::lists="$dir/lists" \
        -o Dir::Cache="$dir/cache" -o Dir::Etc::sourcelist="$(one "$dir/mirror.*")" -o Dir::Etc::sourceparts=- \
        -o Dir::Etc::preferencesparts=/dev/null -o Dir::Etc::preferences=/dev/null -o APT::Update::Error-Mode=any \
        -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=3 "$@" </dev/null >>"$trees/apt/log" 2>&1
}

# Fetches packages of a release, and with `alone` 0 what they need, and unpacks them as one tree. The folder appears
# when it is whole.
fetch() {
    local to=$1 release=$2 suites=$3 alone=$4 text dir deb packages
    shift 4
    dir=$trees/apt/$release
    text=$(mirror_source $suites)
    [ -n "$text" ] || { say "no source of apt serves Debian 12, whose mirror would have $release"; return 1; }
    rm -rf "$dir" "$to.new"
    mkdir -p "$dir"/{lists,cache/archives}/partial "$to.new"
    : >"$dir/status"
    : >"$trees/apt/log"
    printf '%s\n' "${text%$'\n'*}" >"$dir/mirror.$([ "${text##*$'\n'}" = line ] && echo list || echo sources)"
    if [ $alone = 1 ]; then packages=(download "$@"); else
        packages=(install --no-install-recommends --download-only -t "$release" "$@")
    fi
    apt_apart "$release" update && (cd "$dir/cache/archives" && apt_apart "$release" "${packages[@]}") ||
        { say "apt does not give $* of $release:"; tail -n 3 "$trees/apt/log" >&2; return 1; }
    for deb in "$dir"/cache/archives/*.deb; do
        case $release/${deb##*/} in
        # These are the machine's own where the driver runs by its C library.
        bookworm*/libc6_* | bookworm*/libgcc-s1_* | bookworm*/libstdc++6_*) ;;
        *) dpkg -x "$deb" "$to.new" || return 1 ;;
        esac
    done
    rm -rf "$dir"
    mv "$to.new" "$to"
}

# The driver's own JSON file, less the place where it would be installed.
write_json() {
    local tree=$1 library
    library=$(cd "$tree" && one "usr/lib/*/libvulkan_lvp.so")
    [ -n "$library" ] || { say "no lavapipe in $tree"; return 1; }
    sed "s|\"library_path\": *\"[^\"]*\"|\"library_path\": \"./$library\"|" \
        "$(one "$tree/usr/share/vulkan/icd.d/lvp_icd*.json")" >"$tree/lavapipe.json"
}

set_up() {
    local name=$1 tree
    tree=$(tree "$name")
    if [ -n "$(json "$name")" ]; then return; fi
    # Not wholly there: `fetch` makes the folder last.
    rm -rf "$tree"
    say "fetching $name: $(what "$name")"
    case $name in
    mesa-22.3)
        fetch "$tree" bookworm "bookworm" 0 mesa-vulkan-drivers libvulkan1 && write_json "$tree"
        ;;
    mesa-25.0 | llvmpipe-gl)
        fetch "$tree" bookworm-backports "bookworm bookworm-backports" 0 \
            mesa-vulkan-drivers libvulkan1 libegl1 libegl-mesa0 libgl1-mesa-dri libgles2 && write_json "$tree"
        ;;
    mesa-26.1)
        fetch "$tree" trixie-backports "trixie trixie-backports" 0 mesa-vulkan-drivers libvulkan1 &&
            write_json "$tree"
        ;;
    swiftshader)
        fetch "$tree" bookworm "bookworm" 1 chromium-common libvulkan1
        ;;
    esac && [ -n "$(json "$name")" ] || { say "$name is left out"; return 1; }
}

fetch_all() {
    local name failed=0
    have_tools
    mkdir -p "$trees/apt"
    for name in "$@"; do what "$name" >/dev/null; done
    for name in "$@"; do set_up "$name" || failed=1; done
    return $failed
}

have_tools() {
    local tool
    for tool in apt-get dpkg; do
        command -v $tool >/dev/null || die "$tool not found: these drivers are packages of Debian"
    done
}

list() {
    local name
    for name in "${all[@]}"; do
        printf '%-12s %-8s %s\n' "$name" "$([ -n "$(json "$name")" ] && echo there || echo missing)" "$(what "$name")"
    done
}

run() {
    local name=$1 json tree libraries start target
    shift
    what "$name" >/dev/null
    [ $# -gt 0 ] || die "run $name: what?"
    json=$(json "$name")
    [ -n "$json" ] || die "$name is not there: scripts/drivers.sh $name"
    tree=$(tree "$name")
    libraries=$(one "$tree/usr/lib/*-linux-gnu")
    # A layer of Mesa asks a display which driver to put first.
    export NODEVICE_SELECT=1
    unset VK_ICD_FILENAMES VK_ADD_DRIVER_FILES DISPLAY WAYLAND_DISPLAY
    # The Vulkan drivers of the machine must not be seen by way of OpenGL, nor the other way round.
    export WGPU_BACKEND=vulkan VK_DRIVER_FILES=$json
    if [ "$name" = llvmpipe-gl ]; then
        export WGPU_BACKEND=gl LIBGL_ALWAYS_SOFTWARE=1 EGL_PLATFORM=surfaceless
        export __EGL_VENDOR_LIBRARY_FILENAMES=$json LIBGL_DRIVERS_PATH=$libraries/dri
        unset VK_DRIVER_FILES
    fi
    if [ "$name" != mesa-26.1 ]; then
        export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
        exec "$@"
    fi
    start=("$(one "$libraries/ld-linux*.so.*")" --library-path "$libraries")
    if [ "$(basename "$1")" = cargo ]; then
        target=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
        export "CARGO_TARGET_${target}_RUNNER=${start[*]}"
        exec "$@"
    fi
    command -v "$1" >/dev/null || die "$1 not found"
    exec "${start[@]}" "$(command -v "$1")" "${@:2}"
}

case ${1:-} in
list) list ;;
run)
    [ $# -ge 2 ] || die "run which? There are ${all[*]}"
    run "${@:2}"
    ;;
-*) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" ;;
*) if [ $# -eq 0 ]; then fetch_all "${all[@]}"; else fetch_all "$@"; fi ;;
esac
