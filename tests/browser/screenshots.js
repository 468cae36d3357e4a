// Every view at two widths and in both themes, into the folder SCREENSHOTS.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { send, someRecords, startBrowser, startCluster, startNode } from './harness.js';

const folder = process.env.SCREENSHOTS ?? 'screenshots';
mkdirSync(folder, { recursive: true });
const fresh = await startNode();
const node = await startNode();
const { nodes, stop } = await startCluster();
const browser = await startBrowser();
await send(node.url, 'shop', someRecords(2000));

const fleet = [
  { host: 'web1', version: '0.1.0', files: 12, lag_bytes: 0, patterns: ['/var/log/**/*.log'] },
  { host: 'db1', version: '0.1.0', files: 3, lag_bytes: 5 << 20, gaps: 1, lost_bytes: 4096, patterns: ['/var/log/pg/*.log'] },
];
for (const report of fleet)
  await fetch(`${node.url}/api/v1/shippers/${report.host}`, { method: 'POST', body: JSON.stringify(report) });

const row = (page) => page.getByTestId('row').nth(2).click();
const context = async (page) => {
  await row(page);
  await page.getByTestId('to-context').click();
};
const views = {
  records: ['/'],
  columns: ['/?q=refused&cols=service,status,user,message'],
  details: ['/?q=refused', row],
  wrap: ['/?q=refused&view=wrap'],
  json: ['/?q=refused&view=json'],
  context: ['/?q=refused', context],
  table: ['/?q=|stats count() as n by user'],
  timeline: ['/?q=|stats count() as n by level, bin(timestamp, 10m)'],
  time: ['/', (page) => page.getByTestId('time').click()],
  tail: ['/?tail=1'],
  empty: ['/?q=nothing'],
  error: ['/?q=foo:(bar'],
  patterns: ['/?tab=patterns'],
  compare: ['/?from=-30m&tab=compare'],
  trace: ['/?trace=user:user3'],
  export: ['/', (page) => page.getByTestId('export').click()],
  history: ['/?q=refused', (page) => page.getByTestId('history').click()],
  save: ['/?q=refused', (page) => page.getByTestId('save-view').click()],
  share: [
    '/?q=refused',
    async (page) => {
      await page.getByTestId('save-view').click();
      await page.getByTestId('for-everybody').check();
    },
  ],
  system: ['/system'],
  retention: ['/system', (page) => page.getByTestId('change-retention').click()],
  alone: ['/system', (page) => page.getByTestId('alone').locator('summary').click()],
  complete: [
    '/',
    async (page) => {
      await page.getByTestId('query').pressSequentially('refused | stats c');
      await page.getByRole('option').first().waitFor();
    },
  ],
  cluster: [`${nodes[0].url}/system`, (page) => page.getByTestId('cluster-partitions').waitFor()],
  drain: [`${nodes[0].url}/system`, (page) => page.getByTestId('drain-node').nth(1).click()],
  help: ['/', (page) => page.keyboard.press('?')],
  fresh: [fresh.url],
};
await take(views);
await nodes[2].kill();
const lost = (page) => page.getByTestId('nodes').getByText('down').waitFor();
await take({ down: [`${nodes[0].url}/system`, lost] });
await browser.close();
await Promise.all([node.stop(), fresh.stop(), stop()]);

async function take(views) {
  const looks = [1440, 390].flatMap((width) => ['light', 'dark'].map((colorScheme) => ({ width, colorScheme })));
  for (const { width, colorScheme } of looks) {
    for (const [name, [path, act]] of Object.entries(views)) {
      const opened = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
      const page = await opened.newPage();
      await page.goto(new URL(path, node.url).href);
      await page.getByText(/\d+ (rows|patterns|differences)|Nothing is stored|Column \d|Who sends/).first().waitFor();
      await act?.(page);
      await page.evaluate(() => document.fonts.ready);
      await page.waitForLoadState(name === 'tail' ? 'load' : 'networkidle');
      await page.screenshot({ path: join(folder, `${name}-${width}-${colorScheme}.png`) });
      await opened.close();
    }
  }
}
