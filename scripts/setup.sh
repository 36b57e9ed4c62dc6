#!/usr/bin/env bash
# Makes ready what wgseg needs to be built and run: cargo, a C linker and a Vulkan driver.
# What is missing is installed where apt is; elsewhere it says what to install. Quiet when all is there.
# On Linux it also makes /dev/null the null device again if a plain file has its place.
#
#   WGSEG_MESA=system   on Debian 12: the distribution's own Mesa, not the newer one of its backports
set -euo pipefail
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
system=$(uname -s)
name=bookworm-backports
. "$root/scripts/mirror.sh"

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

check_cargo() {
    have cargo || die "cargo not found. Install Rust from https://rustup.rs and start again."
    local need version
    need=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml")
    version=$(cd "$root" && cargo --version 2>/dev/null | cut -d' ' -f2) || true
    [ -n "$version" ] || die "cargo is there but does not run. With rustup: rustup default stable"
    awk -v need="$need" -v version="$version" 'BEGIN {
        split(need, n, "."); split(version, v, ".")
        exit !(v[1] + 0 > n[1] + 0 || (v[1] + 0 == n[1] + 0 && v[2] + 0 >= n[2] + 0))
    }' ||
        die "cargo $version is too old: wgseg needs Rust $need or newer (with rustup: rustup update)."
}

# A C linker, which Rust calls as `cc`.
linker_there() {
    if [ "$system" = Darwin ]; then xcode-select -p >/dev/null 2>&1; else have cc; fi
}

# A program that runs as root can put a plain file in place of /dev/null: it then hands compilers,
# as input, what other programs threw away.
mend_null_device() {
    local new=/dev/null.new
    if [ -c /dev/null ]; then return; fi
    if as_root mknod -m 666 $new c 1 3 && : <$new && as_root mv -f $new /dev/null; then
        say "/dev/null was a plain file; it is the null device again"
    else
        as_root rm -f $new
        die "/dev/null is a plain file. Make it the null device: rm /dev/null && mknod -m 666 /dev/null c 1 3"
    fi
}

library_there() {
    case $1 in
    */*) [ -e "$1" ] ;;
    *) { ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null; } | grep -F "$1" >/dev/null ||
        compgen -G "/usr/lib*/$1*" >/dev/null || compgen -G "/usr/lib/*/$1*" >/dev/null ;;
    esac
}

# A driver's JSON file in one of the places where the Vulkan loader looks, and the library it names.
driver_there() {
    local dir file library
    local -a dirs files=()
    IFS=: read -ra files <<<"${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}}"
    if [ ${#files[@]} -eq 0 ]; then
        dir=${XDG_CONFIG_HOME:-$HOME/.config}:${XDG_DATA_HOME:-$HOME/.local/share}:${XDG_DATA_DIRS:-}
        IFS=: read -ra dirs <<<"$dir"
        for dir in "${dirs[@]}" /etc /usr/local/etc /usr/share /usr/local/share /run/opengl-driver/share; do
            for file in "$dir"/vulkan/icd.d/*.json; do files+=("$file"); done
        done
    fi
    for file in "${files[@]}"; do
        [ -r "$file" ] || continue
        library=$(sed -n 's/.*"library_path" *: *"\([^"]*\)".*/\1/p' "$file" | head -n 1)
        case $library in
        /*) ;;
        */*) library=$(dirname "$file")/$library ;;
        esac
        if [ -n "$library" ] && library_there "$library"; then return 0; fi
    done
    return 1
}

vulkan_there() {
    { library_there libvulkan.so.1 && driver_there; } ||
        { have vulkaninfo && vulkaninfo --summary >/dev/null 2>&1; }
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then env DEBIAN_FRONTEND=noninteractive "$@"; else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

apt_quiet() {
    as_root apt-get -y -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null >"$log" 2>&1
}

apt_install() { apt_quiet install --no-install-recommends "$@"; }

# Adds Debian 12's backports from the mirror already in use. Leaves nothing behind when that fails.
add_backports() {
    if apt-get indextargets --format '$(RELEASE)' | grep -x "$name" >/dev/null; then return; fi
    local text form path
    text=$(mirror_source "$name")
    form=${text##*$'\n'}
    [ -n "$text" ] || return 1
    path=/etc/apt/sources.list.d/wgseg-backports.sources
    [ "$form" = deb822 ] || path=${path%.sources}.list
    printf '%s\n' "${text%$'\n'*}" | as_root tee "$path" >/dev/null
    apt_quiet update -o Dir::Etc::sourcelist="$path" -o Dir::Etc::sourceparts=- \
        -o APT::Get::List-Cleanup=0 -o APT::Update::Error-Mode=any && return
    as_root rm -f "$path"
    return 1
}

install_with_apt() {
    local packages=("$@") backports=0 distribution what="$*"
    distribution=$(. /etc/os-release && echo "${ID:-}-${VERSION_ID:-}")
    case "$what/$distribution/${WGSEG_MESA:-}" in
    */system) ;;
    *mesa*/debian-12/*) backports=1 ;;
    esac
    what=${what/mesa-vulkan-drivers/mesa-vulkan-drivers (with lavapipe, a Vulkan driver for the CPU)}
    if [ $backports = 1 ]; then what+=", Mesa from $name"; fi
    [ "$(id -u)" -eq 0 ] || have sudo || die "something is missing. As root: apt-get install ${packages[*]}"
    say "installing with apt: $what"

    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    apt_quiet update || say "apt-get update had errors; going on with the lists there are"
    if [ $backports = 1 ]; then
        if ! add_backports; then
            say "$name cannot be had from this mirror: taking the distribution's own Mesa (older, slower)"
        elif apt_install -t "$name" mesa-vulkan-drivers libvulkan1; then
            :
        else
            say "Mesa from $name does not install: taking the distribution's own (older, slower)"
        fi
    fi
    # Packages that are already there by now, in whatever version, are left as they are.
    if ! apt_install --no-upgrade "${packages[@]}"; then
        tail -n 20 "$log" >&2
        die "apt-get install ${packages[*]} failed (see above)"
    fi
}

install_vulkan_hint() {
    if have dnf; then echo "sudo dnf install mesa-vulkan-drivers vulkan-loader"
    elif have pacman; then echo "sudo pacman -S vulkan-swrast vulkan-icd-loader"
    elif have zypper; then echo "sudo zypper install libvulkan_lvp libvulkan1"
    elif have apk; then echo "sudo apk add mesa-vulkan-swrast vulkan-loader"
    else echo "the Vulkan loader and Mesa's lavapipe (software) driver, or your GPU's own driver"
    fi
}

install_linker_hint() {
    if [ "$system" = Darwin ]; then echo "xcode-select --install"
    elif have dnf; then echo "sudo dnf install gcc"
    elif have pacman; then echo "sudo pacman -S base-devel"
    elif have zypper; then echo "sudo zypper install gcc"
    elif have apk; then echo "sudo apk add build-base"
    else echo "a C compiler that can be called as cc"
    fi
}

main() {
    case $system in
    MINGW* | MSYS* | CYGWIN*)
        check_cargo
        say "Windows: nothing to install; wgseg uses the DX12 or Vulkan of the graphics driver."
        return
        ;;
    esac
    if [ "$system" = Linux ]; then mend_null_device; fi
    check_cargo
    local missing=() failed=0
    linker_there || missing+=(build-essential)
    if [ "$system" != Darwin ] && ! vulkan_there; then
        missing+=(mesa-vulkan-drivers libvulkan1)
        if [ -e /dev/nvidiactl ]; then
            say "an NVIDIA GPU is there, but not NVIDIA's Vulkan driver. Without it the CPU does the work."
        fi
    fi
    if [ ${#missing[@]} -gt 0 ]; then
        if have apt-get && [ -r /etc/os-release ]; then
            install_with_apt "${missing[@]}"
        else
            linker_there || { say "no C linker (cc). Install it: $(install_linker_hint)"; failed=1; }
            [ "$system" = Darwin ] || vulkan_there ||
                { say "no Vulkan driver. Install one: $(install_vulkan_hint)"; failed=1; }
            [ $failed = 0 ] || exit 1
        fi
        [ "$system" = Darwin ] || vulkan_there || die "still no Vulkan driver after installing ${missing[*]}"
        linker_there || die "still no C linker after installing ${missing[*]}"
    fi
}

# Other scripts take the functions alone.
if [ "${BASH_SOURCE[0]}" = "$0" ]; then main; fi
