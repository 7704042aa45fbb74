// Runs the ONNX files that `meanflow export --onnx` writes in TensorFlow.js, for the bench: the operators that occur in
// them, as its own converter would put them, with bias added in the product.

/** The fields of a protocol buffer: numbers, or bytes of what is longer. */
function* fields(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = () => {
    for (let value = 0n, shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(BigInt.asIntN(64, value));
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const kind = key & 7;
    let value;
    if (kind === 0) value = varint();
    else if (kind === 2) {
      const length = varint();
      value = bytes.subarray(at, (at += length));
    } else if (kind === 5) {
      value = view.getFloat32(at, true);
      at += 4;
    } else throw new Error(`no field of kind ${kind} was expected`);
    yield [key >> 3, value];
  }
}

const text = (bytes) => new TextDecoder().decode(bytes);
const all = (bytes, wanted) => [...fields(bytes)].filter(([field]) => field === wanted).map(([, value]) => value);

function readAttribute(bytes) {
  const of = (field) => all(bytes, field);
  // The kinds that are written: 1 a float, 2 an integer, 3 a text, 7 integers.
  return [
    text(of(1)[0]),
    { 1: () => of(2)[0], 2: () => of(3)[0], 3: () => text(of(4)[0]), 7: () => of(8) }[of(20)[0]](),
  ];
}

function readNode(bytes) {
  const names = (field) => all(bytes, field).map(text);
  return {
    kind: names(4)[0],
    inputs: names(1),
    outputs: names(2),
    attributes: Object.fromEntries(all(bytes, 5).map(readAttribute)),
  };
}

/** Numbers in half precision. */
function fromHalf(data) {
  const value = new Float32Array(1);
  const bits = new Uint32Array(value.buffer);
  return Float32Array.from(new Uint16Array(data), (half) => {
    // Its exponent and fraction lie 13 bits higher in single precision, and 112 powers of two lower.
    bits[0] = ((half & 0x8000) << 16) | ((half & 0x7fff) << 13);
    return value[0] * 2 ** 112;
  });
}

function readTensor(bytes) {
  const [raw] = all(bytes, 9);
  const data = raw.slice().buffer;
  // The kinds that are written: 1 single precision, 7 whole numbers, 10 half precision.
  const values = {
    1: () => new Float32Array(data),
    7: () => Array.from(new BigInt64Array(data), Number),
    10: () => fromHalf(data),
  }[all(bytes, 2)[0]]();
  return { name: text(all(bytes, 8)[0]), shape: all(bytes, 1), values };
}

/** What each operator is in TensorFlow.js; `x` are its inputs, tensors or lists of whole numbers. */
const operators = (tf) => ({
  Identity: ([x]) => x,
  Reshape: ([x, shape]) => tf.reshape(x, shape.map((length, axis) => (length === 0 ? x.shape[axis] : length))),
  Transpose: ([x], { perm }) => tf.transpose(x, perm),
  Split: ([x], { axis, num_outputs: parts }) => tf.split(x, parts, axis),
  Squeeze: ([x, axes]) => tf.squeeze(x, axes),
  Concat: (x, { axis }) => tf.concat(x, axis),
  Gather: ([table, rows]) => tf.gather(table, rows),
  Add: ([a, b]) => tf.add(a, b),
  Sub: ([a, b]) => tf.sub(a, b),
  Mul: ([a, b]) => tf.mul(a, b),
  Div: ([a, b]) => tf.div(a, b),
  Max: ([a, b]) => tf.maximum(a, b),
  Cos: ([x]) => tf.cos(x),
  Sin: ([x]) => tf.sin(x),
  Sigmoid: ([x]) => tf.sigmoid(x),
  Softmax: ([x]) => tf.softmax(x),
  MatMul: ([a, b]) => tf.matMul(a, b),
  Affine: ([x, weight, bias]) => {
    const product = tf.fused.matMul({ a: tf.reshape(x, [-1, x.shape.at(-1)]), b: weight, bias });
    return tf.reshape(product, [...x.shape.slice(0, -1), weight.shape[1]]);
  },
  Gelu: ([x]) => {
    const twice = 2 * Math.sqrt(2 / Math.PI);
    return tf.mul(x, tf.sigmoid(tf.mul(x, tf.add(tf.mul(tf.square(x), 0.044715 * twice), twice))));
  },
  LayerNormalization: ([x, scale], { epsilon }) => {
    const { mean, variance } = tf.moments(x, -1, true);
    return tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, epsilon))), scale);
  },
});

/**
 * @param tf TensorFlow.js, its backend chosen
 * @param {Uint8Array} bytes an ONNX file
 * @returns a function from inputs by name to the tensor `u`
 */
export function readOnnx(tf, bytes) {
  const [graph] = all(bytes, 7);
  const constants = new Map(
    all(graph, 5)
      .map(readTensor)
      .map(({ name, shape, values }) => [name, Array.isArray(values) ? values : tf.tensor(values, shape)]),
  );
  const nodes = all(graph, 1)
    .map(readNode)
    .filter(({ kind, inputs: [from], outputs: [to] }) => kind !== 'Cast' || !constants.set(to, constants.get(from)));
  // A product whose next step adds a constant vector is one of theirs with a bias.
  const fused = nodes.flatMap((node, i) => {
    const next = nodes[i + 1];
    const adds = (product, sum) =>
      product?.kind === 'MatMul' &&
      sum?.kind === 'Add' &&
      sum.inputs[0] === product.outputs[0] &&
      constants.get(sum.inputs[1])?.rank === 1;
    if (adds(node, next)) return [{ ...next, kind: 'Affine', inputs: [...node.inputs, next.inputs[1]] }];
    return adds(nodes[i - 1], node) ? [] : [node];
  });
  const known = operators(tf);
  const strange = fused.find(({ kind }) => !known[kind]);
  if (strange) throw new Error(`the operator ${strange.kind} is not known`);
  return (inputs) =>
    tf.tidy(() => {
      const values = new Map([...constants, ...Object.entries(inputs)]);
      for (const { kind, inputs: from, outputs, attributes } of fused) {
        const result = known[kind](from.map((name) => values.get(name)), attributes);
        outputs.forEach((name, i) => values.set(name, Array.isArray(result) ? result[i] : result));
      }
      return values.get('u');
    });
}
