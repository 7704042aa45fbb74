// Tar archives, the same bytes whoever makes them and whenever.

const BLOCK = 512;

/**
 * A file of an archive (POSIX ustar): no owner, and the time 0.
 * @param {string} name
 * @param {Buffer} content
 */
export function tarEntry(name, content) {
  if (Buffer.byteLength(name) > 100) throw new Error(`${name} is too long for a tar`);
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, 100);
  header.write('0000644\0' + '0000000\0'.repeat(2), 100);
  header.write(`${content.length.toString(8).padStart(11, '0')}\0${'0'.repeat(11)}\0${' '.repeat(8)}0`, 124);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return [header, content, Buffer.alloc(-content.length & (BLOCK - 1))];
}

/** An archive of entries. @param {Buffer[]} entries */
export const tarOf = (entries) => Buffer.concat([...entries, Buffer.alloc(2 * BLOCK)]);
