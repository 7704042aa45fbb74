#!/usr/bin/env bash
# Compiles the inference crate with wasm-pack, into web/engine/pkg/cpu, web/engine/pkg/relaxed (the same for browsers that know fused
# multiplications), web/engine/pkg/webgpu and web/engine/pkg/burn (the networks that those do not have); what trains into
# web/engine/pkg/learn; and prints what they are made of.
# A build whose sources have not changed is kept.
set -euo pipefail
source "$(dirname "$0")/wasm-env.sh"
cd "$root"
use_wasm_toolchain

# stamp NAME: of the sources of a build
stamp() {
  local other=()
  [ "$1" = learn ] || other=(-not -path '*/src/learn/*' -not -path '*/wasm/laboratory.rs' -not -path '*/wasm/drawings.rs')
  cat Cargo.toml Cargo.lock crate/Cargo.toml web/tools/build-wasm.sh $(find crate/src \( -name '*.rs' -o -name '*.wgsl' \) -not -path '*/train/*' -not -path '*/src/data/*' -not -path '*/src/io/*' -not -path '*/eval/*' -not -path '*/import/*' -not -path '*/bin/*' ${other[@]+"${other[@]}"} | LC_ALL=C sort) | sha256sum
}

# build NAME FEATURES [WASM_OPT_FLAG], in the target folder of a group of builds
build() {
  local out="web/engine/pkg/$1" want
  want=$(stamp "$1")
  [ "$(cat "$out/.stamp" 2>/dev/null)" = "$want" ] && [ -e "target/wasm/$1.wasm" ] && return
  echo "compiling the $1 build for wasm"
  rm -rf "$out"
  # Two random-number crates below burn need to be told where a browser's randomness comes from.
  RUSTFLAGS='--cfg getrandom_backend="wasm_js" -C target-feature=+simd128' \
    wasm-pack --log-level warn build crate --mode no-install --target web --profile wasm --no-pack --out-name meanflow --out-dir "../$out" -- --no-default-features --features "$2" ${WASM_FLAGS[@]+"${WASM_FLAGS[@]}"}
  # Names say what the module is made of; the browser gets it without them.
  local features=(--enable-simd --enable-bulk-memory --enable-nontrapping-float-to-int --enable-sign-ext --enable-mutable-globals
    --enable-reference-types --enable-multivalue --enable-extended-const ${3:+"$3"})
  # Functions stay apart: browsers compile while a visitor waits, and take more than twice as long for one of twice the size.
  web/node_modules/.bin/wasm-opt -O3 --one-caller-inline-max-function-size=20 -g "${features[@]}" "$out/meanflow_bg.wasm" -o "target/wasm/$1.wasm"
  web/node_modules/.bin/wasm-opt "${features[@]}" --strip-debug "target/wasm/$1.wasm" -o "$out/meanflow_bg.wasm"
  rm -f "$out/.gitignore" "$out/package.json"
  echo "$want" > "$out/.stamp"
}

# Builds of a group compile what they depend on once. The last step of each, which links all that the module is made of,
# takes most of the time and one core: so there are two groups, side by side, and the longer one goes before.
inference() {
  renice -n 10 $BASHPID >/dev/null
  export CARGO_TARGET_DIR="$root/target/wasm/inference"
  build cpu cpu
  build relaxed cpu,relaxed --enable-relaxed-simd
  # Its arithmetic is not in wasm: there code is small rather than fast. Browsers with WebGPU have vectors of 128 bits too.
  CARGO_PROFILE_WASM_OPT_LEVEL=s build webgpu webgpu
}
over_burn() {
  export CARGO_TARGET_DIR="$root/target/wasm/burn"
  build burn burn
  build learn learn
}
mkdir -p target/wasm
inference &
(over_burn)
wait $!
node web/tools/wasm-size.mjs target/wasm/{cpu,relaxed,webgpu,burn,learn}.wasm
