// Texts of strangers, and what everybody must be able to use: markup, control characters, axe.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ask, explorer, firstRow, status, until } from './explorer.js';
import { send, someRecords, startNode } from './harness.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const HOSTILE = '<img src=x onerror="window.broken=1"><script>window.broken=1</script>';
const { at, open, close } = explorer(async (url) => {
  await send(url, 'shop', someRecords(400));
  const message = `hostile ${HOSTILE} \u001b[31mred\u001b[0m \u001b[2J\u202egnp\u0000\ufffd`;
  const evil = { message, level: 'error', [HOSTILE]: HOSTILE, 'a\u202eb': '\u001b]0;title\u0007' };
  await send(url, HOSTILE, [evil]);
  await send(url, 'traced', [{ message: `step ${HOSTILE}`, trace_id: HOSTILE, pattern: HOSTILE }]);
  // What is no UTF-8 is kept all the same, as bytes that were understood by nobody.
  const broken = Buffer.concat([Buffer.from('{"message":"torn '), Buffer.from([0xff, 0xc3, 0x28]), Buffer.from(' apart"}\n')]);
  await fetch(`${url}/api/v1/ingest?service=torn`, { method: 'POST', body: broken });
  await send(url, 'long', [{ message: `enormous ${'x'.repeat(900_000)} end`, level: 'info' }]);
});

test('log text is never markup, in no view', async () => {
  const page = await open('/?q=hostile');
  const untouched = async () => {
    assert.equal(await page.evaluate(() => window.broken), undefined);
    assert.equal(await page.locator('#app img, #app script').count(), 0);
  };
  assert.match(await firstRow(page).innerText(), /<img src=x.*red ⟨U\+202E⟩gnp␀/);
  assert.equal(await firstRow(page).locator('.fg-1').innerText(), 'red');
  await firstRow(page).click();
  await page.getByTestId('details').waitFor();
  for (const tab of ['JSON', 'Raw', 'Fields'])
    await page.getByTestId('details').getByRole('button', { name: tab, exact: true }).click();
  await untouched();
  for (const layout of ['wrap', 'json']) await page.getByTestId(`layout-${layout}`).click();
  await page.getByTestId('fields').getByRole('button', { name: '<img' }).click();
  await page.getByTestId('fields').getByRole('button', { name: 'Without <img' }).waitFor();
  await page.getByTestId('to-context').click();
  await page.getByTestId('context-line').first().waitFor();
  await untouched();
  await page.goBack();
  await ask(page, '| stats count() by service');
  await page.getByTestId('table').getByText('<img').waitFor();
  await untouched();
  await close(page);
});

test('log text is never markup where it is counted, compared, traced, followed, kept or offered', async () => {
  const page = await open('/?q=hostile+OR+step&from=-1h');
  const untouched = async (where) => {
    assert.equal(await page.evaluate(() => window.broken), undefined, where);
    assert.equal(await page.locator('#app img, #app script').count(), 0, where);
    assert.equal(await page.evaluate(() => document.title.includes('Sawlog')), true, where);
  };
  await page.getByTestId('tab-patterns').click();
  await page.getByTestId('pattern').filter({ hasText: '<img' }).first().locator('.text').click();
  await page.getByTestId('examples').getByText('<img').first().waitFor();
  await untouched('patterns');
  await page.getByTestId('tab-compare').click();
  await page.getByTestId('compare').waitFor();
  await page.goto(new URL('/?from=-5m&q=NOT+service:shop&tab=compare', at.node.url).href);
  await page.getByTestId('compare').locator('[role=status]').filter({ hasText: /differences|0/ }).waitFor();
  await untouched('compare');

  await page.goto(new URL('/?q=step', at.node.url).href);
  await firstRow(page).click();
  await page.getByTestId('to-trace').first().click();
  await page.getByTestId('step').getByText('<img').waitFor();
  await untouched('trace');
  await page.goBack();

  await page.getByTestId('query').fill('service:');
  await page.getByTestId('query').press('End');
  await page.getByRole('option', { name: '<img' }).waitFor();
  await untouched('completion');
  await page.getByTestId('query').press('Escape');
  await ask(page, `"${HOSTILE.replaceAll('"', '\\"')}"`, /row/);
  for (const panel of ['export', 'history']) {
    await page.getByTestId(panel).click();
    await page.getByRole('dialog').getByText('<img').first().waitFor();
    await untouched(panel);
    await page.keyboard.press('Escape');
  }
  await page.getByTestId('save-view').click();
  await page.getByTestId('view-name').fill(HOSTILE);
  await page.getByTestId('view-name').press('Enter');
  await page.getByTestId('saved-view').getByText('<img').waitFor();
  await untouched('saved');

  await page.goto(new URL('/?q=follow&tail=1', at.node.url).href);
  await page.locator('[data-testid=live][data-state=live]').waitFor();
  await send(at.node.url, 'follow', [{ message: `follow ${HOSTILE} \u202e\u001b[5m` }]);
  await firstRow(page).getByText('<img').waitFor();
  await untouched('tail');

  await page.goto(new URL('/?q=service:torn', at.node.url).href);
  assert.match(await firstRow(page).innerText(), /torn.*apart/);
  await untouched('torn');
  await page.goto(new URL('/system', at.node.url).href);
  await page.getByTestId('volume').getByText('<img').waitFor();
  await page.getByTestId('senders').getByText('<img').waitFor();
  await untouched('system');
  await close(page);
});

test('a line of a megabyte is folded until it is wanted', async () => {
  const page = await open('/?q=enormous&view=wrap');
  const row = firstRow(page);
  assert.ok((await row.innerText()).length < 5000);
  await row.getByRole('button', { name: 'show all 879 KiB' }).click();
  await page.waitForFunction(() => document.querySelector('[data-testid=row]').textContent.trim().endsWith(' end'));
  await close(page);
});

test('matches are marked, in the text and in the value asked for', async () => {
  const page = await open('/?q=refused+user:user0&cols=user,message');
  assert.deepEqual(await firstRow(page).locator('mark').allInnerTexts(), ['user0', 'refused']);
  await ask(page, 'accepted', /of \d+ rows/);
  await until(page, () => document.querySelector('[data-testid=row] mark')?.textContent === 'accepted');
  await close(page);
});

test('levels are told by words and not by colour alone', async () => {
  const page = await open('/?q=level:error');
  assert.match(await firstRow(page).innerText(), /error/);
  await page.locator('.levels').getByText('error').waitFor();
  await close(page);
});

const views = {
  records: { path: '/?q=refused' },
  details: { path: '/?q=refused', act: (page) => firstRow(page).click() },
  json: { path: '/?q=refused&view=json&cols=user,message' },
  error: { path: '/', act: (page) => ask(page, 'foo:(bar', '') },
  empty: { path: '/?q=nowhere' },
  table: { path: '/?q=%7C+stats+count()+as+n+by+level,+bin(timestamp,+5m)' },
  time: { path: '/', act: (page) => page.getByTestId('time').click() },
  columns: { path: '/', act: (page) => page.getByTestId('columns').click() },
  help: { path: '/', act: (page) => page.getByRole('button', { name: 'Help and keys' }).click() },
  context: {
    path: '/?q=refused',
    act: async (page) => {
      await firstRow(page).click();
      await page.getByTestId('to-context').click();
      await page.getByTestId('context-line').first().waitFor();
    },
  },
  field: {
    path: '/',
    act: async (page) => {
      await page.getByTestId('fields').getByRole('button', { name: /^status/ }).click();
      await page.getByRole('button', { name: 'Without 502' }).waitFor();
    },
  },
  tail: {
    path: '/?tail=1',
    act: async (page) => {
      await page.locator('[data-testid=live][data-state=live]').waitFor();
      await page.keyboard.press('j');
      await page.getByTestId('resume').waitFor();
    },
  },
  comfortable: { path: '/?q=refused', act: (page) => page.keyboard.press('d') },
  counts: { path: '/', act: (page) => page.getByTestId('chart-table').click() },
  phone: { path: '/?q=refused', options: { viewport: { width: 390, height: 800 } } },
  sheet: {
    path: '/?q=refused',
    options: { viewport: { width: 390, height: 800 } },
    act: async (page) => {
      await firstRow(page).click();
      await page.getByTitle('Copy in another form: timestamp').click();
    },
  },
};

for (const [name, { path, act, options }] of Object.entries(views)) {
  test(`axe finds nothing in either theme: ${name}`, async () => {
    const viewport = { width: 1440, height: 560 };
    const page = await open(path, { colorScheme: 'light', bypassCSP: true, reducedMotion: 'reduce', viewport, ...options });
    await act?.(page);
    await page.evaluate(axe);
    const complaints = async (asked) => {
      const { violations } = await page.evaluate((wanted) => window.axe.run(wanted), asked);
      return violations.map((one) => `${one.id}: ${one.nodes[0].html}`);
    };
    assert.deepEqual(await complaints({}), []);
    // Of its rules, only this one can see the theme.
    await page.emulateMedia({ colorScheme: 'dark' });
    assert.deepEqual(await complaints({ runOnly: ['color-contrast'] }), []);
    await close(page);
  });
}

test('a phone has everything in reach, and nothing sticks out', async () => {
  const page = await open('/?q=refused', { viewport: { width: 390, height: 800 }, hasTouch: true });
  await status(page, '40 of 40 rows');
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);
  await page.getByTestId('show-fields').click();
  await page.getByTestId('fields').getByRole('button', { name: /^user/ }).click();
  await page.getByTestId('fields').getByRole('button', { name: /^user0/ }).click();
  assert.match(await page.getByTestId('query').inputValue(), /user:user0/);
  await page.getByRole('button', { name: 'Hide fields' }).click();
  // Details lie over the rows, up to the lower edge; the row below is as near as before.
  await firstRow(page).click();
  const sheet = page.getByTestId('sheet');
  await sheet.waitFor();
  const { y, height } = await sheet.boundingBox();
  assert.deepEqual([Math.round(y + height), y > 100], [800, true]);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);
  await sheet.getByRole('button', { name: 'Close' }).click();
  await sheet.waitFor({ state: 'detached' });
  await page.getByTestId('tail').click();
  await page.locator('[data-testid=live][data-state=live]').waitFor();
  await page.getByTestId('export').click();
  await page.getByTestId('copy-link').waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);
  await close(page);
});

test('an empty store tells a command that works, and shows its record without a reload', async () => {
  // A store of its own: the other has records.
  const fresh = await startNode();
  const context = await at.browser.newContext();
  const page = await context.newPage();
  await page.goto(fresh.url);
  await page.getByText('Nothing is stored yet').waitFor();
  const command = await page.getByTestId('command').first().innerText();
  assert.ok(command.includes(new URL(fresh.url).host));
  await promisify(execFile)('bash', ['-c', command]);
  await firstRow(page).getByText('hello from').waitFor();
  await context.close();
  await fresh.stop();
});

test('where the node wants a token, its commands show where it goes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sawlog-token-'));
  const file = join(folder, 'token');
  writeFileSync(file, 'a-long-secret-of-this-test\n');
  const guarded = await startNode(['--token-file', file]);
  const httpCredentials = { username: 'any', password: 'a-long-secret-of-this-test' };
  const context = await at.browser.newContext({ httpCredentials });
  const page = await context.newPage();
  await page.goto(guarded.url);
  await page.getByTestId('wants-token').waitFor();
  const [command, shipper] = await page.getByTestId('command').allInnerTexts();
  assert.match(shipper, /--token-file TOKEN_FILE/);
  const { stdout } = await promisify(execFile)('bash', ['-c', command]);
  assert.match(stdout, /unauthorized/);
  await promisify(execFile)('bash', ['-c', command.replace('TOKEN', httpCredentials.password)]);
  await firstRow(page).getByText('hello from').waitFor();
  await page.getByTestId('export').click();
  await page.getByTestId('curl').getByText('Authorization: Bearer TOKEN').waitFor();
  await context.close();
  await guarded.stop();
  rmSync(folder, { recursive: true, force: true });
});
