// What is made of the found records besides rows: patterns, files, history and saved views.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ask, explorer, status, until } from './explorer.js';
import { send, someRecords } from './harness.js';

const { open, close, at } = explorer(async (url) => {
  await send(url, 'shop', someRecords(300));
  const hour = 3_600_000;
  const record = (message, ago) => ({ timestamp: new Date(Date.now() - ago).toISOString(), message });
  const old = Array.from({ length: 20 }, (_, n) => record(`backup ${n} begun`, 3 * hour + n * 1000));
  const both = Array.from({ length: 20 }, (_, n) => record(`backup ${n + 50} begun`, n * 1000));
  const fresh = Array.from({ length: 20 }, (_, n) => record(`(disk) /dev/sd${n} 99% full?`, n * 1000));
  await send(url, 'cron', [...old, ...both, ...fresh]);
});

const patternRow = (page, text) => page.getByTestId('pattern').filter({ hasText: text });

test('patterns count the whole query, draw when, and mark what is new', async () => {
  const page = await open('/?q=service:cron&from=-2h&tab=patterns');
  const disk = patternRow(page, 'full?');
  await disk.waitFor();
  assert.equal(await page.getByTestId('pattern').count(), 2);
  assert.match(await disk.innerText(), /20/);
  assert.equal(await disk.getByTestId('pattern-new').count(), 1);
  assert.equal(await patternRow(page, 'backup').getByTestId('pattern-new').count(), 0);
  assert.match(await disk.locator('svg[role=img] path').getAttribute('d'), /^M/);
  assert.match(await disk.locator('svg[role=img]').getAttribute('aria-label'), /First seen .* last seen/);
  await close(page);
});

test('a pattern is looked into, left out and singled out without leaving the tab', async () => {
  const page = await open('/?q=service:cron&from=-2h&tab=patterns');
  await patternRow(page, 'full?').locator('.text').click();
  await page.getByTestId('examples').getByText('99% full?').first().waitFor();
  await patternRow(page, 'full?').getByTestId('pattern-exclude').click();
  await patternRow(page, 'full?').waitFor({ state: 'detached' });
  assert.equal(await page.getByTestId('pattern').count(), 1);
  assert.match(page.url(), /tab=patterns/);
  await page.goBack();
  await patternRow(page, 'full?').getByTestId('pattern-only').click();
  await patternRow(page, 'backup').waitFor({ state: 'detached' });
  await page.getByTestId('tab-records').click();
  await status(page, '20 of 20 rows');
  await close(page);
});

test('history finds what was asked before', async () => {
  const page = await open('/');
  await ask(page, 'refused status:502', '30 of 30');
  await ask(page, 'user:user3', /of 60/);
  await page.getByTestId('history').click();
  await page.getByPlaceholder('Find a query').fill('refused');
  await page.getByTestId('asked-before').click();
  await status(page, '30 of 30');
  assert.equal(await page.getByTestId('query').inputValue(), 'refused status:502');
  await close(page);
});

test('a view is saved under a name, restores everything, and goes', async () => {
  const page = await open('/?q=refused&cols=status,message&view=wrap&tz=Asia/Tokyo');
  await page.getByTestId('save-view').click();
  await page.getByTestId('view-name').fill('Refused cards');
  await page.getByTestId('view-name').press('Enter');
  const saved = page.getByTestId('saved-view');
  assert.equal(await saved.getAttribute('aria-current'), 'page');
  await ask(page, 'accepted', /of 270/);
  assert.equal(await saved.getAttribute('aria-current'), null);
  await saved.click();
  await status(page, '30 of 30');
  const address = new URL(page.url()).searchParams;
  assert.equal(address.get('q'), 'refused');
  assert.equal(address.get('cols'), 'status,message');
  assert.equal(address.get('view'), 'wrap');
  assert.equal(address.get('tz'), 'Asia/Tokyo');
  await page.getByTestId('save-view').click();
  await page.getByRole('button', { name: 'Remove: Refused cards' }).click();
  await saved.waitFor({ state: 'detached' });
  await close(page);
});

test('the whole result is saved, in the columns shown, and the command beside it does the same', async () => {
  const page = await open('/?q=service:shop&cols=status,user&from=-2h');
  await page.getByTestId('export').click();
  await page.getByTestId('format-csv').click();
  await page.getByLabel('Only the columns shown').check();
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByTestId('download').click()]);
  const lines = readFileSync(await file.path(), 'utf8').trim().split(/\r?\n/);
  assert.equal(lines[0], 'timestamp,level,status,user');
  assert.equal(lines.length, 301);
  assert.equal(file.suggestedFilename(), 'sawlog.csv');
  const command = await page.getByTestId('curl').innerText();
  assert.match(command, /^curl .*\/api\/v1\/export/);
  assert.ok(command.includes('fields timestamp, level, status, user'));
  await close(page);
});

test('axe finds nothing in either theme: patterns, export, history, saved', async () => {
  const source = readFileSync(new URL('./node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
  for (const colorScheme of ['light', 'dark']) {
    const page = await open('/?from=-2h&tab=patterns', { colorScheme, bypassCSP: true });
    await page.getByTestId('pattern').first().waitFor();
    await page.addScriptTag({ content: source });
    for (const view of [null, 'history', 'save-view', 'export']) {
      if (view === 'export') await page.getByTestId('tab-records').click();
      if (view) await page.getByTestId(view).click();
      await until(page, () => document.getAnimations().length === 0);
      const found = await page.evaluate(() => window.axe.run());
      assert.deepEqual(found.violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), [], view);
    }
    await close(page);
  }
  assert.ok(at.node);
});

test('a time is compared with the one before, a brushed one with the rest', async () => {
  const page = await open('/?q=service:shop&from=-5m&tab=compare');
  const first = page.getByTestId('difference').first();
  await first.waitFor();
  await page.goto(`${at.node.url}/?from=-4h&tab=compare`);
  await page.getByText('There are no records to compare with.').waitFor();
  await page.getByTestId('histogram').waitFor();
  const chart = await page.getByTestId('histogram').boundingBox();
  // The old backups lie alone in the first part of the chart.
  await page.mouse.move(chart.x + chart.width * 0.2, chart.y + 30);
  await page.mouse.down();
  await page.mouse.move(chart.x + chart.width * 0.3, chart.y + 30, { steps: 4 });
  await page.mouse.up();
  await page.getByTestId('difference').filter({ hasText: 'cron' }).waitFor();
  const cron = page.getByTestId('difference').filter({ hasText: 'cron' });
  assert.match(await cron.innerText(), /service\s+cron[\s\S]*100 %\s+20[\s\S]*\d+ %\s+40/);
  await page.getByTestId('difference').filter({ hasText: 'backup' }).waitFor();
  await cron.getByRole('button', { name: 'Only this value: service' }).click();
  await until(page, () => location.search.includes('service'));
  assert.match(page.url(), /tab=compare/);
  await close(page);
});

test('axe finds nothing on the comparison in either theme', async () => {
  const source = readFileSync(new URL('./node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
  for (const colorScheme of ['light', 'dark']) {
    const page = await open('/?from=-5m&tab=compare', { colorScheme, bypassCSP: true });
    await page.getByTestId('difference').first().waitFor();
    await page.addScriptTag({ content: source });
    const { violations } = await page.evaluate(() => window.axe.run());
    assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), []);
    await close(page);
  }
});

test('a pattern of many lines is folded until it is looked into', async () => {
  await send(at.node.url, 'long', [{ message: `{"name":"long", ${'"part":"text", '.repeat(200)}}` }]);
  const page = await open('/?q=service:long&tab=patterns');
  const text = page.getByTestId('pattern').locator('.text');
  const folded = (await text.boundingBox()).height;
  assert.ok(folded < 4 * 24, `${folded}`);
  await text.click();
  await page.getByTestId('examples').waitFor();
  assert.ok((await text.boundingBox()).height > folded);
  await close(page);
});
