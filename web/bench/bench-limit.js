// What this device's GPU could do at best: its rates of multiplication and of copying, for `make bench-web` to compare
// with.

/** Rows and columns of the matrices. */
const SIZE = 1024;
/** Floats that are copied. */
const COPIED = 1 << 24;
const ROUNDS = 3;

/** Products of square matrices: tiles of 64 × 64 in workgroup memory, 4 × 4 sums an invocation. */
const PRODUCT = /* wgsl */ `
@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read> b: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4f>;
const SIZE = ${SIZE}u;
var<workgroup> tile_a: array<array<vec4f, 4>, 64>;
var<workgroup> tile_b: array<array<vec4f, 16>, 16>;
@compute @workgroup_size(16, 16)
fn product(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  var sums: array<vec4f, 4>;
  let index = local.y * 16u + local.x;
  for (var k = 0u; k < SIZE; k += 16u) {
    tile_a[index / 4u][index % 4u] = a[((group.y * 64u + index / 4u) * SIZE + k) / 4u + index % 4u];
    tile_b[index / 16u][index % 16u] = b[((k + index / 16u) * SIZE + group.x * 64u) / 4u + index % 16u];
    workgroupBarrier();
    for (var i = 0u; i < 4u; i++) {
      let columns = array<vec4f, 4>(tile_b[4u * i][local.x], tile_b[4u * i + 1u][local.x], tile_b[4u * i + 2u][local.x], tile_b[4u * i + 3u][local.x]);
      for (var row = 0u; row < 4u; row++) {
        let values = tile_a[local.y * 4u + row][i];
        sums[row] += values.x * columns[0] + values.y * columns[1] + values.z * columns[2] + values.w * columns[3];
      }
    }
    workgroupBarrier();
  }
  for (var row = 0u; row < 4u; row++) {
    c[((group.y * 64u + local.y * 4u + row) * SIZE + group.x * 64u) / 4u + local.x] = sums[row];
  }
}`;

/**
 * The best of some rounds.
 * @returns {Promise<{operations: number, bytes: number}>} a second: of a matrix product in f32, and read and written by
 *   a copy
 */
export async function limits() {
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) throw new Error('this browser found no GPU');
  const device = await adapter.requestDevice();
  const buffer = (/** @type {number} */ floats) =>
    device.createBuffer({
      size: 4 * floats,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
  const pipeline = await device.createComputePipelineAsync({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code: PRODUCT }), entryPoint: 'product' },
  });
  const entries = [0, 1, 2].map((binding) => ({ binding, resource: { buffer: buffer(SIZE * SIZE) } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  const product = (/** @type {GPUCommandEncoder} */ encoder) => {
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(SIZE / 64, SIZE / 64);
    pass.end();
  };
  const [from, to] = [buffer(COPIED), buffer(COPIED)];
  const copy = (/** @type {GPUCommandEncoder} */ encoder) => encoder.copyBufferToBuffer(from, 0, to, 0, 4 * COPIED);
  const seconds = async (/** @type {(encoder: GPUCommandEncoder) => void} */ work) => {
    let best = Infinity;
    for (let round = 0; round <= ROUNDS; round++) {
      const encoder = device.createCommandEncoder();
      work(encoder);
      const started = performance.now();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      // The first round is for what is prepared only once.
      if (round > 0) best = Math.min(best, (performance.now() - started) / 1000);
    }
    return best;
  };
  const result = {
    operations: (2 * SIZE ** 3) / (await seconds(product)),
    bytes: (8 * COPIED) / (await seconds(copy)),
  };
  device.destroy();
  return result;
}
