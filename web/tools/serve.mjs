// A small static server: `node serve.mjs [folder]`, on http://localhost:8080 or the port in PORT.
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.safetensors': 'application/octet-stream',
};

/** Pages of other sites may embed what is served, as static hosts allow. */
const OPEN = { 'Access-Control-Allow-Origin': '*' };
/** The one part of a page's policy that only a header can hold: no other site may show a whole page in a frame. */
const UNFRAMED = { 'Content-Security-Policy': "frame-ancestors 'self'" };

/** What makes a page `crossOriginIsolated`. */
const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

/**
 * Serves a folder; resolves to the server and its address.
 * @param {string} folder
 * @param {{port?: number, prefix?: string, isolated?: boolean}} options `prefix`: a sub-path such as `/some/where/` to
 *   serve under; `isolated`: with the headers that threads of wasm need
 */
export function serve(folder, { port = 0, prefix = '/', isolated = false } = {}) {
  const root = resolve(folder);
  const server = createServer((request, response) => {
    const file = locate(root, prefix, request.url ?? '/');
    if (!file) {
      response.writeHead(404, { 'Content-Type': 'text/plain', ...OPEN }).end('not found');
      return;
    }
    const { size, mtimeMs } = statSync(file);
    // As static hosts do: asked for again, what has not changed is not sent again.
    const tag = `"${size.toString(36)}-${Math.floor(mtimeMs).toString(36)}"`;
    if (request.headers['if-none-match'] === tag) {
      response.writeHead(304, { ETag: tag, 'Cache-Control': 'no-cache', ...OPEN }).end();
      return;
    }
    const headers = {
      'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
      'Content-Length': size,
      'Cache-Control': 'no-cache',
      ETag: tag,
      ...OPEN,
      ...(extname(file) === '.html' ? UNFRAMED : {}),
      ...(isolated ? ISOLATED : {}),
    };
    response.writeHead(200, headers);
    if (request.method === 'HEAD') response.end();
    else createReadStream(file).pipe(response);
  });
  return new Promise((done, failed) => {
    server.once('error', failed);
    // Only this machine: browsers treat localhost as a secure context, which WebGPU needs.
    server.listen(port, '127.0.0.1', () =>
      done({ server, address: `http://localhost:${server.address().port}${prefix}` }),
    );
  });
}

/** The file that a request means, or nothing: never one outside the folder. */
function locate(root, prefix, url) {
  let path;
  try {
    path = decodeURIComponent(new URL(url, 'http://localhost').pathname);
  } catch {
    return undefined;
  }
  if (!path.startsWith(prefix)) return undefined;
  let file = normalize(join(root, path.slice(prefix.length)));
  if (file !== root && !file.startsWith(root + sep)) return undefined;
  if (existsSync(file) && statSync(file).isDirectory()) file = join(file, 'index.html');
  return existsSync(file) && statSync(file).isFile() ? file : undefined;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    const { address } = await serve(process.argv[2] ?? 'dist', { port: Number(process.env.PORT ?? 8080) });
    console.log(`open ${address}   (Ctrl-C stops)`);
  } catch (error) {
    console.error(
      `cannot serve: ${error.message}${error.code === 'EADDRINUSE' ? '; choose another port, as in PORT=8081 make demo' : ''}`,
    );
    process.exit(1);
  }
}
