// A real node with known records, and a real browser that looks at it.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { serveFolder } from './proxy.js';

// Below those that the system gives to whoever connects, and for each process others.
let nextPort = 15_000 + (process.pid % 100) * 50;

async function freePort() {
  for (;;) {
    const port = nextPort;
    nextPort = 15_000 + ((nextPort + 1 - 15_000) % 5_000);
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await new Promise((done) => {
      server.once('listening', () => done(true));
      server.once('error', () => done(false));
    });
    if (!isFree) continue;
    await new Promise((closed) => server.close(closed));
    return port;
  }
}

/**
 * Starts a node; `stop` ends it and removes its folder. With SAWLOG_DIST, the page comes from that
 * folder instead of the program, so that a change of it can be tried without building the program.
 */
export async function startNode(more = []) {
  const program = process.env.SAWLOG_BIN;
  if (!program) throw new Error('SAWLOG_BIN names no program: run `make test-browser`');
  const folder = mkdtempSync(join(tmpdir(), 'sawlog-browser-'));
  const url = `http://127.0.0.1:${await freePort()}`;
  const args = ['node', '--data-dir', join(folder, 'data'), '--listen', url.slice(7), ...more];
  let child = await started(program, args);
  const page = process.env.SAWLOG_DIST && (await serveFolder(process.env.SAWLOG_DIST, url));
  /** The same node again, with the same data. */
  const restart = async () => {
    await ended(child);
    child = await started(program, args);
  };
  /** Ends it at once, as a machine does that loses its power. */
  const kill = () => ended(child, 'SIGKILL');
  const stop = async () => {
    page?.close();
    await ended(child);
    rmSync(folder, { recursive: true, force: true });
  };
  return { url: page ? page.url : url, direct: url, restart, kill, stop };
}

/** Three nodes that are one cluster, each with its page. */
export async function startCluster() {
  const peers = await Promise.all([freePort(), freePort(), freePort()]);
  const peerOf = (at) => `127.0.0.1:${peers[at]}`;
  const first = await startNode(['--peer-listen', peerOf(0), '--bootstrap']);
  const join = (at) => startNode(['--peer-listen', peerOf(at), '--join', peerOf(0)]);
  const nodes = [first, ...(await Promise.all([join(1), join(2)]))];
  return { nodes, stop: () => Promise.all(nodes.map((node) => node.stop())) };
}

async function started(program, args) {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let words = '';
  await new Promise((ready, failed) => {
    child.once('exit', () => failed(new Error(`the node ended: ${words}`)));
    child.stderr.on('data', (data) => {
      words += data;
      if (words.includes('Sawlog is ready')) ready();
    });
  });
  return child;
}

async function ended(child, signal = 'SIGTERM') {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.removeAllListeners('exit');
  const end = new Promise((done) => child.once('exit', done));
  child.kill(signal);
  await end;
}

/** Sends records of one service. */
export async function send(url, service, records) {
  const body = records.map((record) => JSON.stringify(record)).join('\n');
  const answer = await fetch(`${url}/api/v1/ingest?service=${service}`, { method: 'POST', body });
  if (!answer.ok) throw new Error(await answer.text());
}

/** Records of the last hour: every tenth an error, with fields. */
export function someRecords(count) {
  const now = Date.now();
  return Array.from({ length: count }, (_, at) => ({
    timestamp: new Date(now - at * 7000).toISOString(),
    level: at % 10 === 0 ? 'error' : 'info',
    message: at % 10 === 0 ? `payment ${at} refused by bank` : `payment ${at} accepted`,
    status: at % 10 === 0 ? 502 : 200,
    user: `user${at % 5}`,
  }));
}

export function startBrowser() {
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
  args.push('--disable-background-networking', '--disable-component-update', '--disable-sync');
  return chromium.launch({ executablePath: '/usr/bin/chromium', args });
}
