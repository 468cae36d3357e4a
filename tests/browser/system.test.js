// The system page: the node, its indexes, who sends to it and how much.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { explorer, status } from './explorer.js';
import { send, someRecords } from './harness.js';

const { open, close, at } = explorer(async (url) => {
  await send(url, 'shop&host=web1', someRecords(200));
  await send(url, 'cron&host=<b>web2', [{ message: 'x'.repeat(50_000), source: '/var/log/cron' }]);
});

/** The page opens on the explorer; the link beside the keys leads here. */
async function openSystem(options) {
  const page = await open('/', options);
  await page.getByTestId('to-system').click();
  await page.getByTestId('senders').getByText('web1').waitFor();
  await page.getByTestId('volume').getByText('cron').waitFor();
  return page;
}

test('the node tells its indexes, partitions and senders', async () => {
  const page = await openSystem();
  const index = page.getByTestId('indexes').locator('tbody tr');
  assert.match(await index.innerText(), /main\s+201/);
  assert.match(await index.innerText(), /30 days/);
  assert.match(await page.getByTestId('partitions').locator('tbody tr').innerText(), /^0\s+201/);
  const sender = page.getByTestId('senders').locator('tbody tr').filter({ hasText: 'shop' });
  assert.match(await sender.innerText(), /web1\s+shop\s+sending/);
  await close(page);
});

test('who logs how much leads to the records and to what they say', async () => {
  const page = await openSystem({ permissions: ['clipboard-read', 'clipboard-write'] });
  const first = page.getByTestId('volume').locator('tbody tr').first();
  assert.match(await first.innerText(), /cron\s+1\s+48\.8 KiB\s+9\d %/);
  await page.getByTestId('by-level').click();
  const rule = async (row, action) => {
    await page.getByTestId('volume').getByRole('row', { name: row }).getByTestId(`rule-${action}`).click();
    return page.evaluate(() => navigator.clipboard.readText());
  };
  assert.match(await rule('error', 'drop'), /\{ field = "level", is = "error" \}\]\ndrop = true/);
  await page.getByTestId('by-field').fill('user');
  await page.getByTestId('by-field').press('Enter');
  assert.match(await rule('user1', 'sample'), /\{ field = "user", is = "user1" \}\]\nsample_one_in = 100/);
  await page.getByTestId('by-_pattern').click();
  assert.match(await rule('accepted', 'drop'), /matches = "\^payment \\\\S\+ accepted\$"/);
  await page.getByTestId('by-index').click();
  await page.getByTestId('volume').getByText('Keep it for fewer days').waitFor();
  await page.getByTestId('by-service').click();
  await page.getByTestId('volume').getByRole('link', { name: 'shop' }).click();
  await status(page, '200 of 200');
  assert.equal(new URL(page.url()).searchParams.get('q'), 'service:shop');
  await page.goBack();
  await page.getByTestId('volume').getByRole('row', { name: /shop/ }).getByText('See what it says').click();
  await page.getByTestId('pattern').first().waitFor();
  await close(page);
});

test('axe finds nothing on the system page in either theme, nor on a phone', async () => {
  const axe = readFileSync(new URL('./node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1440, 390]) {
      const page = await openSystem({ colorScheme, bypassCSP: true, viewport: { width, height: 800 } });
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
      await page.getByTestId('change-retention').click();
      await page.addScriptTag({ content: axe });
      const { violations } = await page.evaluate(() => window.axe.run());
      assert.deepEqual(violations.map((one) => `${one.id}: ${one.nodes[0].html}`), []);
      await close(page);
    }
  }
});

test('a node that is gone leaves what was told, marked as old', async () => {
  const page = await openSystem();
  await page.route('**/api/v1/status', (route) => route.abort());
  const error = page.getByTestId('system-error');
  await error.waitFor({ timeout: 15_000 });
  assert.match(await error.innerText(), /What is shown is from/);
  assert.equal(await page.locator('section.old').count(), 3);
  // The browser complains of what was refused on purpose.
  page.complaints.splice(0);
  await close(page);
  assert.ok(at.node);
});
