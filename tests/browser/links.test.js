// Links outlive what is done to the records they lead to: splits cut, merged, a node started anew.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ask, explorer, firstRow, status } from './explorer.js';
import { send, someRecords } from './harness.js';

const COMING_MS_MAX = 30_000;
const folder = mkdtempSync(join(tmpdir(), 'sawlog-links-'));
const config = join(folder, 'node.toml');
writeFileSync(config, '[index]\nfresh_age_max_s = 1\nmerge_fan_in = 2\n');
after(() => rmSync(folder, { recursive: true, force: true }));
const { at, open, close } = explorer((url) => send(url, 'shop', someRecords(100)), ['--config', config]);

/** Waits for what the node says of its splits. */
async function splits(what) {
  const end = Date.now() + COMING_MS_MAX;
  for (;;) {
    const { indexes, partitions } = await (await fetch(`${at.node.url}/api/v1/status`)).json();
    const found = { splits: indexes[0]?.splits ?? 0, fresh: partitions[0].fresh_records };
    if (what(found)) return;
    assert.ok(Date.now() < end, `still ${JSON.stringify(found)}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

test('links to a line and saved views lead to the same after merges and a restart', async () => {
  const permissions = ['clipboard-read', 'clipboard-write'];
  const page = await open('/?q="payment 40"&from=-1h', { permissions });
  await status(page, '1 of 1 rows');
  await firstRow(page).click();
  await page.getByRole('button', { name: 'Copy link' }).click();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  await page.getByTestId('to-context').click();
  await page.locator('[data-anchor]').waitFor();
  const context = page.url();
  await page.goBack();
  const save = async (name, everybody) => {
    await page.getByTestId('save-view').click();
    await page.getByTestId('view-name').fill(name);
    if (everybody) await page.getByTestId('for-everybody').check();
    await page.getByTestId('view-name').press('Enter');
    await page.getByTestId(everybody ? 'shared-view' : 'saved-view').waitFor();
  };
  await save('Forty', false);
  await save('Forty of all', true);

  // The record is in a split, and then in another one that took its place.
  await splits(({ splits, fresh }) => splits === 1 && fresh === 0);
  await send(at.node.url, 'late', someRecords(20));
  await splits(({ splits, fresh }) => splits === 1 && fresh === 0);
  const merged = await (await fetch(`${at.node.direct}/metrics`)).text();
  assert.match(merged, /index_splits_merged_total [1-9]/);
  await at.node.restart();

  const led = async (to) => {
    await page.goto(to);
    await page.getByTestId('message').getByText('payment 40 refused').waitFor();
  };
  await led(link);
  await page.goto(context);
  await page.locator('[data-anchor]').getByText('payment 40').waitFor();
  for (const view of ['saved-view', 'shared-view']) {
    await page.goto(at.node.url);
    await page.getByTestId(view).click();
    await status(page, '1 of 1 rows');
    assert.match(await firstRow(page).innerText(), /payment 40/);
  }
  await ask(page, 'accepted', /of \d+ rows/);
  page.complaints.length = 0;
  await close(page);
});
