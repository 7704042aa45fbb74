// What a wasm module is made of: `node wasm-size.mjs FILE…` prints its largest crates and functions, by the bytes of
// their code. The module must have its names.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

const CRATES = 8;
const FUNCTIONS = 3;

function kilo(bytes) {
  return `${(bytes / 1e3).toFixed(0)} KB`;
}

/** `burn_flex` of `<burn_flex::ops::Matmul as core::fmt::Debug>::fmt::h0123`. */
function crateOf(name) {
  return /(?:^|[<&\s(])([a-z_][a-z0-9_]*)(?:\[[0-9a-f]+\])?::/.exec(name)?.[1] ?? 'others';
}

/** Sizes and names of the functions of a module, and the size of its data. */
function read(bytes) {
  const imported = [];
  const bodies = [];
  const names = new Map();
  let data = 0;
  const reader = new Reader(bytes, 8);
  while (reader.at < bytes.length) {
    const kind = bytes[reader.at++];
    const length = reader.number();
    const end = reader.at + length;
    if (kind === 2) readImports(reader, imported);
    else if (kind === 10) readBodies(reader, bodies);
    else if (kind === 11) data = length;
    else if (kind === 0 && reader.text() === 'name') readNames(reader, end, names);
    reader.at = end;
  }
  const functions = bodies.map((size, i) => ({
    bytes: size,
    name: names.get(imported.length + i) ?? 'without a name',
  }));
  return { functions, data };
}

function readImports(reader, imported) {
  for (let left = reader.number(); left > 0; left--) {
    const name = `${reader.text()}.${reader.text()}`;
    const kind = reader.bytes[reader.at++];
    if (kind === 0) {
      reader.number();
      imported.push(name);
    } else if (kind === 1) {
      reader.at++;
      reader.limits();
    } else if (kind === 2) reader.limits();
    else reader.at += 2;
  }
}

function readBodies(reader, bodies) {
  for (let left = reader.number(); left > 0; left--) {
    const size = reader.number();
    bodies.push(size);
    reader.at += size;
  }
}

/** The subsection of functions. */
function readNames(reader, end, names) {
  while (reader.at < end) {
    const part = reader.bytes[reader.at++];
    const stop = reader.number() + reader.at;
    if (part === 1) for (let left = reader.number(); left > 0; left--) names.set(reader.number(), reader.text());
    reader.at = stop;
  }
}

class Reader {
  constructor(bytes, at) {
    Object.assign(this, { bytes, at });
  }

  /** LEB128. */
  number() {
    let [value, shift] = [0, 0];
    for (;;) {
      const byte = this.bytes[this.at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
      shift += 7;
    }
  }

  text() {
    const length = this.number();
    this.at += length;
    return this.bytes.toString('utf8', this.at - length, this.at);
  }

  limits() {
    const bounded = this.bytes[this.at++] & 1;
    this.number();
    if (bounded) this.number();
  }
}

for (const file of process.argv.slice(2)) {
  const { functions, data } = read(readFileSync(file));
  const total = functions.reduce((sum, { bytes }) => sum + bytes, 0);
  const crates = new Map();
  for (const { name, bytes } of functions) crates.set(crateOf(name), (crates.get(crateOf(name)) ?? 0) + bytes);
  const largest = [...crates].sort((a, b) => b[1] - a[1]).slice(0, CRATES);
  const share = (bytes) => `${((100 * bytes) / total).toFixed(0)} %`;
  console.log(
    `${basename(file, '.wasm')}: ${kilo(total)} of code, ${kilo(data)} of data; ${largest.map(([crate, bytes]) => `${crate} ${share(bytes)}`).join(', ')}`,
  );
  const functionsBySize = functions.sort((a, b) => b.bytes - a.bytes).slice(0, FUNCTIONS);
  for (const { name, bytes } of functionsBySize) console.log(`  ${kilo(bytes)}  ${name.slice(0, 110)}`);
}
