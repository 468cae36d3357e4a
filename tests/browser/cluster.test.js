// Three real nodes on the system page: how they are, what is done with them, and what is said when
// they are gone.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { send, someRecords, startBrowser, startCluster, startNode } from './harness.js';

const WAIT = { timeout: 60_000 };
let cluster;
let browser;
before(async () => {
  [cluster, browser] = await Promise.all([startCluster(), startBrowser()]);
  await send(cluster.nodes[0].url, 'shop', someRecords(200));
});
after(async () => {
  await browser?.close();
  await cluster?.stop();
});

/** The system page of a node. */
async function openSystem(node, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.errors = [];
  page.on('pageerror', (error) => page.errors.push(String(error)));
  await page.goto(`${node.url}/system`);
  return page;
}

async function close(page) {
  assert.deepEqual(page.errors, []);
  await page.context().close();
}

const rowsOf = (page, table) => page.getByTestId(table).locator('tbody tr');
const nodeAt = (page, node) => rowsOf(page, 'nodes').filter({ hasText: node.direct.slice(7) });

/** Waits until every partition has its three replicas, a leader and an indexer. */
async function settled(page) {
  const partitions = rowsOf(page, 'cluster-partitions');
  await page.waitForFunction(
    () => {
      const rows = [...document.querySelectorAll('[data-testid=cluster-partitions] tbody tr')];
      return rows.length > 0 && rows.every((row) => row.querySelectorAll('li').length === 3 && !row.querySelector('.late'));
    },
    null,
    WAIT,
  );
  return partitions;
}

test('the cluster tells its nodes, who leads, its partitions and how far replicas are behind', async () => {
  const page = await openSystem(cluster.nodes[0]);
  const partitions = await settled(page);
  assert.equal(await partitions.count(), 6);
  assert.equal(await rowsOf(page, 'nodes').count(), 3);
  const here = await nodeAt(page, cluster.nodes[0]).innerText();
  assert.match(here, /this node/);
  assert.match(here, /● up\s+for /);
  assert.match(here, /ingest · index · query\s+votes/);
  await page.getByTestId('cluster').getByText('3 of 3 up').waitFor();
  assert.match(await page.getByTestId('nodes').innerText(), /leads/);
  assert.match(await partitions.first().innerText(), /^0\s+[0-9a-f]{8}\s+[0-9a-f]{8}\s/);
  assert.match(await partitions.first().innerText(), /[0-9a-f]{8} \(0\)/);
  assert.equal(await page.getByTestId('nobody-leads').count(), 0);
  assert.equal(await page.getByTestId('silent').count(), 0);
  await close(page);
});

test('axe finds nothing on the cluster in either theme, nor on a phone, and it speaks Chinese', async () => {
  const axe = readFileSync(new URL('./node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1440, 390]) {
      const page = await openSystem(cluster.nodes[0], {
        colorScheme,
        bypassCSP: true,
        locale: 'zh-CN',
        viewport: { width, height: 800 },
      });
      await settled(page);
      await page.getByTestId('drain-node').first().click();
      await page.getByTestId('confirm').getByText('排空').first().waitFor();
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
      await page.addScriptTag({ content: axe });
      const { violations } = await page.evaluate(() => window.axe.run());
      assert.deepEqual(violations.map((one) => `${one.id}: ${one.nodes[0].html}`), []);
      await close(page);
    }
  }
});

test('a refusal of the cluster is shown where it was asked', async () => {
  const page = await openSystem(cluster.nodes[0]);
  await settled(page);
  // The node was drained by somebody else meanwhile, and is up again.
  await page.route('**/api/v1/cluster', async (route) => {
    const told = await (await route.fetch()).json();
    const last = cluster.nodes[2].direct.slice(7);
    const nodes = told.nodes.map((node) => (node.http === last ? { ...node, health: 'down' } : node));
    await route.fulfill({ json: { ...told, nodes } });
  });
  const row = nodeAt(page, cluster.nodes[2]);
  await row.getByText('down').waitFor();
  await row.getByTestId('remove-node').click();
  assert.match(await page.getByTestId('confirm').innerText(), /What nobody else keeps is lost/);
  await page.getByTestId('confirm-change').click();
  assert.match(await page.getByTestId('change-wrong').innerText(), /is up: drain it first/);
  await page.unrouteAll();
  await close(page);
});

test('a node of three that is drained keeps its replicas, one of four would not, and it is taken back', async () => {
  const page = await openSystem(cluster.nodes[0]);
  await settled(page);
  const row = nodeAt(page, cluster.nodes[2]);
  await row.getByTestId('drain-node').click();
  assert.match(await page.getByTestId('confirm').innerText(), /keeps its replicas until another one has come/);
  await page.getByTestId('confirm-change').click();
  await page.getByTestId('confirm').waitFor({ state: 'detached' });
  await row.getByText('draining').waitFor(WAIT);
  await settled(page);
  assert.equal(await row.getByText('keeps nothing any more').count(), 0);
  // With a fourth node it would be empty after a while.
  await page.route('**/api/v1/cluster', async (route) => {
    const told = await (await route.fetch()).json();
    const last = cluster.nodes[2].direct.slice(7);
    const empty = { replicas: 0, indexing: 0, splits: 0 };
    const nodes = told.nodes.map((node) => (node.http === last ? { ...node, ...empty } : node));
    await route.fulfill({ json: { ...told, nodes } });
  });
  await row.getByText('keeps nothing any more').waitFor(WAIT);
  await page.unrouteAll();
  await row.getByTestId('undrain-node').click();
  await row.getByText('● up').waitFor(WAIT);
  await settled(page);
  await close(page);
});

test('a node that loses its power is down here, and one that is left alone says that nobody leads', async () => {
  const [first, second, third] = cluster.nodes;
  const page = await openSystem(first);
  await settled(page);
  await third.kill();
  const row = nodeAt(page, third);
  await row.getByText('down').waitFor(WAIT);
  assert.match(await row.innerText(), /✕ down/);
  await page.getByTestId('cluster').getByText('2 of 3 up').waitFor();
  await page.getByTestId('cluster-partitions').getByText('no answer').first().waitFor();
  // Nothing is lost of what was acknowledged: the others answer for it.
  const asked = await fetch(`${second.direct}/api/v1/query`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query: '| stats count() as n' }),
  });
  assert.match(await asked.text(), /"n":200/);
  await second.kill();
  await page.getByTestId('nobody-leads').waitFor(WAIT);
  await page.getByTestId('silent').waitFor(WAIT);
  assert.match(await page.getByTestId('silent').innerText(), /heard nothing of its cluster for \d/);
  assert.match(await nodeAt(page, second).innerText(), /\? not heard|✕ down/);
  // And so does every answer.
  const explorer = await page.context().newPage();
  await explorer.goto(first.url);
  await explorer.getByTestId('partial').first().waitFor(WAIT);
  const said = (await explorer.getByTestId('partial').allInnerTexts()).join('\n');
  assert.match(said, /without the newest records: this node has heard nothing of its cluster for \d/);
  await close(page);
});

test('a node on its own tells the commands that make a cluster of it', async () => {
  const alone = await startNode();
  const page = await openSystem(alone);
  await page.getByTestId('alone').getByText('This node is on its own').click();
  const commands = await page.getByTestId('alone').getByTestId('command').allInnerTexts();
  assert.equal(commands.length, 3);
  assert.match(commands[0], /^sawlog node --data-dir \S+\/data --listen 127\.0\.0\.1:\d+ --bootstrap$/);
  assert.match(commands[1], /--join 127\.0\.0\.1:\d+$/);
  await close(page);
  await alone.stop();
});
