#!/usr/bin/env bash
# Installs what the build and the tests need and the machine lacks. Quick when nothing is missing.
#   setup.sh          what `make build` and `make demo` need
#   setup.sh tests    also browsers
#   setup.sh mpi      Open MPI, and the library by which its bindings are made
set -euo pipefail
source "$(dirname "$0")/wasm-env.sh"
cd "$root"

say() { printf '\033[1m%s\033[0m\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
apt_install() {
  command -v apt-get >/dev/null || { echo "please install: $*" >&2; return 1; }
  as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

command -v cargo >/dev/null || { echo "Rust is missing: install it from https://rustup.rs" >&2; exit 1; }
command -v npm >/dev/null || { say "installing Node.js"; apt_install nodejs npm; }
[ "$(node -p 'const [major, minor] = process.versions.node.split(".").map(Number); major > 20 || (major === 20 && minor >= 19)')" = true ] || { echo "Node.js $(node --version) is too old: 20.19 or newer is needed" >&2; exit 1; }

if ! has_rustup_target; then
  say "adding the wasm32-unknown-unknown target"
  if ! rustup target add wasm32-unknown-unknown 2>/dev/null && ! has_distribution_target; then
    say "rustup cannot add it here; using the distribution's Rust for wasm"
    apt_install rustc-web cargo-web rust-web-src rust-web-llvm
  fi
  has_rustup_target || has_distribution_target || { echo "no wasm32-unknown-unknown target could be installed" >&2; exit 1; }
fi

# Tools that work for seconds: to optimise them takes minutes, of which they would give back seconds.
install_tool() { CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --debug --root .tools "$@"; }

# wasm-bindgen's tool must be of exactly the library's version.
bindgen=$(sed -n '/^name = "wasm-bindgen"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
if [ "$(wasm-bindgen --version 2>/dev/null)" != "wasm-bindgen $bindgen" ]; then
  say "installing wasm-bindgen-cli $bindgen"
  # Its own lock file can name a crate that a mirror does not have yet.
  install_tool wasm-bindgen-cli --version "$bindgen" --locked || {
    say "not as its authors locked it: a crate of its lock file cannot be had here"
    install_tool wasm-bindgen-cli --version "$bindgen"
  }
fi
pack=0.15.1
if [ "$(wasm-pack --version 2>/dev/null)" != "wasm-pack $pack" ]; then
  say "installing wasm-pack $pack"
  install_tool wasm-pack --version "$pack" --locked
fi

if [ ! -e web/node_modules/.package-lock.json ] || [ web/package-lock.json -nt web/node_modules/.package-lock.json ]; then
  say "installing npm packages"
  # Browsers come from the system: the packages must not download their own.
  (cd web && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 PUPPETEER_SKIP_DOWNLOAD=1 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json)
fi

if [ "${1:-}" = tests ]; then
  for tool in clippy rustfmt; do
    cargo "${tool/rustfmt/fmt}" --version >/dev/null 2>&1 || { say "adding $tool"; rustup component add "$tool"; }
  done
  if [ "$(uname)" = Linux ] && ! compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null && ! compgen -G '/etc/vulkan/icd.d/*.json' >/dev/null; then
    say "installing a Vulkan driver, with one that computes on the CPU"
    apt_install mesa-vulkan-drivers libvulkan1
  fi
  if [ "$(uname)" = Linux ] && ! command -v strace >/dev/null; then
    say "installing strace"
    apt_install strace || true
  fi
  if ! node web/tools/browser.mjs >/dev/null 2>&1; then
    say "installing Chromium"
    # Where the distribution has none (Ubuntu, macOS), the build that Playwright offers.
    apt_install chromium 2>/dev/null || web/node_modules/.bin/playwright-core install chromium
    node web/tools/browser.mjs
  fi
  if ! node web/tools/browser.mjs firefox >/dev/null 2>&1; then
    say "installing Firefox"
    apt_install firefox-esr 2>/dev/null || web/node_modules/.bin/browsers install firefox@stable --path .tools/browsers
    node web/tools/browser.mjs firefox
  fi
  if [ "$(uname)" = Linux ] && ! { node web/tools/browser.mjs webkit && command -v xvfb-run; } >/dev/null 2>&1; then
    say "installing WebKit"
    # It has no headless mode: a screen that nobody sees comes with it. Where there is no such package its tests are skipped.
    apt_install webkit2gtk-driver xvfb xauth || true
  fi
fi

if [ "${1:-}" = mpi ] && ! command -v mpicc >/dev/null; then
  say "installing Open MPI"
  apt_install openmpi-bin libopenmpi-dev libclang-dev
fi
