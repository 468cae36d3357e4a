// A built page in front of a node: files from a folder, everything else from the node.
import { readFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { connect, createServer as createLink } from 'node:net';
import { extname, join, normalize } from 'node:path';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** Serves under the same policy as the node does. */
export async function serveFolder(folder, node) {
  // A node that wants a token says nothing of its policy without one.
  const policy = (await fetch(node)).headers.get('content-security-policy') ?? "default-src 'self'";
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

/**
 * A way to a node that can go silent as a network does: `hush` carries nothing more and closes
 * nothing; `heal` lets new connections through and resets the old ones, as a firewall does that
 * has forgotten them.
 */
export async function linkTo(node) {
  const { hostname, port } = new URL(node);
  const ends = new Set();
  let isSilent = false;
  const server = createLink((here) => {
    const there = connect(port, hostname);
    for (const [one, other] of [[here, there], [there, here]]) {
      ends.add(one);
      one.on('data', (data) => other.write(data));
      one.on('error', () => other.destroy());
      one.on('close', () => {
        ends.delete(one);
        other.destroy();
      });
    }
    if (isSilent) mute(here, there);
  });
  const mute = (...sockets) => sockets.forEach((socket) => socket.removeAllListeners('data').pause());
  server.listen(0, '127.0.0.1');
  await new Promise((ready) => server.once('listening', ready));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    hush: () => {
      isSilent = true;
      mute(...ends);
    },
    heal: () => {
      isSilent = false;
      ends.forEach((end) => end.resetAndDestroy());
    },
    close: () => {
      server.close();
      ends.forEach((end) => end.destroy());
    },
  };
}

/**
 * A node whose streamed answers to queries come a line at a time: `next` lets one through, and says
 * which; `free` lets everything through.
 */
export async function slowly(node) {
  const held = [];
  let isFree = false;
  const server = createServer((asked, answer) => {
    forward(asked, answer, node, asked.url === '/api/v1/query' ? holdLines : undefined);
  });
  function holdLines(given, answer) {
    let left = '';
    const pass = (line) => answer.write(`${line}\n`);
    given.setEncoding('utf8');
    given.on('data', (text) => {
      const lines = (left + text).split('\n');
      left = lines.pop();
      for (const line of lines) isFree ? pass(line) : held.push({ line, pass });
    });
    given.on('end', () => (isFree ? answer.end() : held.push({ line: '', pass: () => answer.end() })));
  }
  server.listen(0, '127.0.0.1');
  await new Promise((ready) => server.once('listening', ready));
  const next = () => {
    const one = held.shift();
    one?.pass(one.line);
    return one?.line;
  };
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    next,
    hold: () => (isFree = false),
    free: () => {
      isFree = true;
      while (held.length) next();
    },
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function forward(asked, answer, node, carry = (given) => given.pipe(answer)) {
  const { method, headers, url } = asked;
  const through = request(new URL(url, node), { method, headers }, (given) => {
    answer.writeHead(given.statusCode, given.headers).flushHeaders();
    carry(given, answer);
    // A node that dies in the middle of an answer is seen to die here as well.
    given.on('close', () => given.complete || answer.destroy());
  });
  through.on('error', () => answer.destroy());
  // Who goes away here goes away there: the node stops its work.
  answer.on('close', () => through.destroy());
  asked.pipe(through);
}
