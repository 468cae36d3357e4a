// A built page in front of a node: files from a folder, everything else from the node.
import { readFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** Serves under the same policy as the node does. */
export async function serveFolder(folder, node) {
  const policy = (await fetch(node)).headers.get('content-security-policy');
  const server = createServer(async (asked, answer) => {
    const { pathname } = new URL(asked.url, node);
    if (/^\/(api|livez|readyz|metrics)/.test(pathname)) return forward(asked, answer, node);
    if (pathname.startsWith('/v/')) {
      // A shared view leads on; what is none is the page's to tell.
      const led = await fetch(new URL(asked.url, node), { redirect: 'manual' });
      const location = led.headers.get('location');
      if (location) return void answer.writeHead(led.status, { location }).end();
    }
    const name = extname(pathname) ? normalize(pathname) : 'index.html';
    try {
      const file = await readFile(join(folder, name));
      const type = TYPES[extname(name)] ?? 'application/octet-stream';
      answer.writeHead(200, { 'content-type': type, 'content-security-policy': policy }).end(file);
    } catch {
      answer.writeHead(404).end();
    }
  });
  server.listen(0, '127.0.0.1');
  await new Promise((ready) => server.once('listening', ready));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}

function forward(asked, answer, node) {
  const { method, headers, url } = asked;
  const through = request(new URL(url, node), { method, headers }, (given) => {
    answer.writeHead(given.statusCode, given.headers).flushHeaders();
    given.pipe(answer);
    // A node that dies in the middle of an answer is seen to die here as well.
    given.on('close', () => given.complete || answer.destroy());
  });
  through.on('error', () => answer.destroy());
  // Who goes away here goes away there: the node stops its work.
  answer.on('close', () => through.destroy());
  asked.pipe(through);
}
