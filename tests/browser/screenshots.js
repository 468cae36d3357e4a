// Every view at two widths and in both themes, into the folder SCREENSHOTS.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { send, someRecords, startBrowser, startNode } from './harness.js';

const folder = process.env.SCREENSHOTS ?? 'screenshots';
mkdirSync(folder, { recursive: true });
const node = await startNode();
const browser = await startBrowser();
await send(node.url, 'shop', someRecords(400));
const views = { records: '/', empty: '/?q=nothing', error: '/?q=foo:(bar', table: '/?q=|stats count() by user', patterns: '/?q=* | patterns' };
for (const colorScheme of ['light', 'dark']) {
  for (const width of [1440, 390]) {
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
    const page = await context.newPage();
    for (const [name, path] of Object.entries(views)) {
      await page.goto(node.url + path, { waitUntil: 'networkidle' });
      await page.screenshot({ path: join(folder, `${name}-${width}-${colorScheme}.png`) });
    }
    await context.close();
  }
}
await browser.close();
await node.stop();
