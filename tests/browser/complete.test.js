// What the node offers to whoever types a query: fields, values, pipes, functions; by key and mouse,
// and without holding up the typing where there are very many fields.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, explorer, status } from './explorer.js';
import { send } from './harness.js';

const FIELDS = 10_000;
const { open, close } = explorer(async (url) => {
  const some = (first) => Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`field_${first + n}`, n]));
  const records = Array.from({ length: FIELDS / 100 }, (_, at) => ({
    message: 'wide',
    'odd name': 'one two',
    path: `/var/log/app${at % 3}.log`,
    ...some(at * 100),
  }));
  await send(url, 'wide&host=web1', records);
});

const option = (page, name) => page.getByRole('option', { name });
const text = (page) => page.getByTestId('query').inputValue();

test('fields, values, pipes and functions are offered by the node, and taken by key or mouse', async () => {
  const page = await open('/');
  const query = page.getByTestId('query');
  await query.pressSequentially('odd');
  await option(page, /odd name\s*100 records · 100 % · text/).click();
  assert.equal(await text(page), '"odd name":');
  await option(page, /one two\s*100 records · 100 %/).waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await text(page), '"odd name":"one two" ');
  await query.pressSequentially('| st');
  await option(page, /stats.*aggregates/).waitFor();
  await page.keyboard.press('Tab');
  await query.pressSequentially('count_d');
  await option(page, /count_distinct_estimate\(/).waitFor();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Tab');
  await query.pressSequentially('pat');
  await option(page, /^path/).click();
  await query.pressSequentially(')');
  assert.equal(await text(page), '"odd name":"one two" | stats count_distinct(path)');
  await page.keyboard.press('Enter');
  await page.getByTestId('table').getByText('3', { exact: true }).waitFor();
  await close(page);
});

test('a value is completed with every sign in it, in quotes too; Esc closes and Enter runs', async () => {
  const page = await open('/');
  const query = page.getByTestId('query');
  await query.pressSequentially('-path:/var/log/app1');
  await option(page, '/var/log/app1.log').waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await text(page), '-path:"/var/log/app1.log" ');
  await query.fill('');
  await query.pressSequentially('path:"app2');
  await option(page, '/var/log/app2.log').waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await text(page), 'path:"/var/log/app2.log" ');
  await query.fill('');
  await query.pressSequentially('pat');
  await option(page, /^path/).waitFor();
  await page.keyboard.press('Escape');
  await option(page, /^path/).waitFor({ state: 'detached' });
  await ask(page, 'path:*app2*', '33 of 33 rows');
  await close(page);
});

test('a field that no record has is underlined while typing, and named when nothing is found', async () => {
  const page = await open('/');
  const query = page.getByTestId('query');
  await query.pressSequentially('hots:web1 ');
  assert.match(await page.getByTestId('warning').innerText(), /no record has a field "hots": did you mean host\?/);
  assert.equal(await page.locator('.ink .odd').innerText(), 'hots');
  await page.keyboard.press('Enter');
  assert.match(await page.getByTestId('doubts').innerText(), /did you mean host\?/);
  await ask(page, 'host:web1', '100 of 100 rows');
  await close(page);
});

test('typing is not held up by ten thousand fields, nor by a node that is long at work', async () => {
  const page = await open('/');
  const query = page.getByTestId('query');
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  /** What the page itself spends does not hang on what else the machine does. */
  const spent = async () => {
    const { metrics } = await session.send('Performance.getMetrics');
    const of = (name) => metrics.find((one) => one.name === name).value * 1000;
    return of('ScriptDuration') + of('LayoutDuration') + of('RecalcStyleDuration');
  };
  const before = await spent();
  await query.pressSequentially('field_98', { delay: 30 });
  await option(page, 'field_9800').waitFor();
  assert.ok((await page.getByRole('option').count()) <= 20);
  await query.pressSequentially('7', { delay: 30 });
  await option(page, 'field_9876').waitFor();
  await query.pressSequentially('6', { delay: 30 });
  await option(page, 'field_9876').waitFor({ state: 'detached' });
  const each = ((await spent()) - before) / 'field_9876'.length;
  assert.ok(each < 50, `${each} ms a key`);
  // A question that is never answered ends with the next key.
  let ended = 0;
  page.on('requestfailed', (request) => (ended += Number(request.url().endsWith('/query/parse'))));
  await page.route('**/api/v1/query/parse', () => {});
  await query.pressSequentially(':7', { delay: 150 });
  await page.unroute('**/api/v1/query/parse');
  await query.pressSequentially('6');
  await page.keyboard.press('Enter');
  await status(page, '1 of 1');
  assert.ok(ended > 0);
  await close(page);
});
