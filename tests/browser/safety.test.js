// Texts of strangers, and what everybody must be able to use: markup, control characters, axe.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ask, explorer, firstRow, status } from './explorer.js';
import { send, someRecords, startNode } from './harness.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const HOSTILE = '<img src=x onerror="window.broken=1"><script>window.broken=1</script>';
const { at, open, close } = explorer(async (url) => {
  await send(url, 'shop', someRecords(400));
  const message = `hostile ${HOSTILE} \u001b[31mred\u001b[0m \u001b[2J\u202egnp\u0000\ufffd`;
  const evil = { message, level: 'error', [HOSTILE]: HOSTILE, 'a\u202eb': '\u001b]0;title\u0007' };
  await send(url, HOSTILE, [evil]);
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
  phone: { path: '/?q=refused', options: { viewport: { width: 390, height: 800 } } },
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
  await firstRow(page).click();
  await page.getByTestId('details').waitFor();
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
