# Sourced: which toolchain compiles for wasm32-unknown-unknown, as the array `wasm_cargo` and WASM_FLAGS for cargo.
#
# The rustup target is the way for everyone who can download it. Where it cannot be had, a distribution's compiler does
# the same with its own source of the standard library (Debian and Ubuntu: rustc-web, cargo-web, rust-web-src).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PATH="$root/.tools/bin:$PATH"
WASM_FLAGS=()

has_rustup_target() {
  [ -d "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/wasm32-unknown-unknown/lib" ]
}

has_distribution_target() {
  [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std" ]
}

# The linker: rustup ships one; distributions call theirs rust-lld or wasm-ld.
find_linker() {
  local sysroot host found
  sysroot=$(rustc --print sysroot)
  host=$(rustc -vV | sed -n 's/^host: //p')
  for found in "$sysroot/lib/rustlib/$host/bin/rust-lld" "$(command -v rust-lld)" "$(command -v wasm-ld)" /usr/lib/llvm-*/bin/wasm-ld; do
    [ -x "$found" ] && { echo "$found"; return; }
  done
  return 1
}

use_wasm_toolchain() {
  if has_rustup_target; then
    return
  elif has_distribution_target; then
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$(find_linker) || { echo "no linker for wasm: install lld" >&2; return 1; }
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER
    # build-std compiles the standard library for wasm; cargo guards it behind this switch on stable compilers.
    export RUSTC_BOOTSTRAP=1 PATH="$root/.tools/bin:/usr/bin:/bin:$PATH"
    WASM_FLAGS=(-Zbuild-std=std,panic_abort)
  else
    echo "no wasm32-unknown-unknown target: run make setup" >&2
    return 1
  fi
}
