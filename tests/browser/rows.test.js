// Many rows of any height: few in the page, none that jumps, the keyboard for everything.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, explorer, firstRow, status, until } from './explorer.js';
import { send } from './harness.js';

const ROWS = 100_000;
const START = Date.now();

/** Every seventh has a stack trace. */
function manyRecords() {
  return Array.from({ length: ROWS }, (_, at) => ({
    timestamp: new Date(START - at * 20).toISOString(),
    level: ['info', 'warn', 'error'][at % 3],
    message: at % 7 ? `line ${at}` : `line ${at}\n  at one.Place(${at})\n  at another.Place\n  at main`,
    number: at,
  }));
}

const { open, close, at } = explorer(async (url) => {
  const records = manyRecords();
  for (let at = 0; at < ROWS; at += 10_000) await send(url, 'many', records.slice(at, at + 10_000));
});

const scrollTo = (page, share) =>
  page.getByTestId('records').evaluate((box, where) => {
    box.scrollTop = where * box.scrollHeight;
  }, share);

/** Where a row is on the screen; null when it is not in the page. */
const topOf = (page, text) =>
  page.evaluate((wanted) => {
    const row = [...document.querySelectorAll('[data-testid=row]')].find((one) =>
      one.textContent.includes(wanted),
    );
    return row ? row.getBoundingClientRect().top : null;
  }, text);

test('100,000 rows of different heights are scrolled to the last one with few in the page', async () => {
  const page = await open('/?view=wrap&chart=0');
  let most = 0;
  for (let turn = 0; turn < 400; turn += 1) {
    await scrollTo(page, 1);
    const nodes = await page.getByTestId('row').count();
    most = Math.max(most, nodes);
    if ((await page.getByTestId('status').innerText()).startsWith('100,000 of')) break;
    await page
      .waitForFunction(
        (before) => document.querySelector('[data-testid=status]').textContent !== before,
        await page.getByTestId('status').innerText(),
        { timeout: 1500 },
      )
      .catch(() => undefined);
  }
  await status(page, '100,000 of 100,000 rows');
  await scrollTo(page, 1);
  await until(page, () =>
    [...document.querySelectorAll('[data-testid=row]')].some((row) => row.textContent.includes('line 99999')),
  );
  await scrollTo(page, 0.9);
  await until(page, () =>
    [...document.querySelectorAll('[data-testid=row]')].some((row) => /line 9\d{4}/.test(row.textContent)),
  );
  most = Math.max(most, await page.getByTestId('row').count());
  assert.ok(most < 300, `${most} rows in the page`);
  // No frame takes long while it is scrolled.
  const slowest = await page.getByTestId('records').evaluate(async (box) => {
    const frames = [];
    let last = performance.now();
    for (let turn = 0; turn < 60; turn += 1) {
      box.scrollTop -= 120;
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      frames.push(now - last);
      last = now;
    }
    return frames.sort((a, b) => a - b)[Math.floor(frames.length / 2)];
  });
  assert.ok(slowest < 50, `half of the frames take over ${slowest} ms`);
  await close(page);
});

test('a row stays where it is while rows above it are measured and fetched', async () => {
  const page = await open('/?view=wrap&from=-3h');
  const box = await page.getByTestId('histogram').boundingBox();
  await page.mouse.click(box.x + box.width * 0.5, box.y + 40);
  await page.getByTestId('newest').waitFor();
  await status(page, '1,000 of');
  const seen = await page.getByTestId('records').evaluate((list) => {
    const top = list.getBoundingClientRect().top + 40;
    const row = [...list.querySelectorAll('[data-testid=row]')].find((one) => one.getBoundingClientRect().top > top);
    return { text: /line \d+/.exec(row.textContent)[0], top: row.getBoundingClientRect().top };
  });
  // Newer rows come before it; it does not move.
  await page.getByTestId('records').hover();
  await page.mouse.wheel(0, -60);
  await until(
    page,
    ({ text, top }) => {
      const row = [...document.querySelectorAll('[data-testid=row]')].find((one) => one.textContent.includes(text));
      return row && Math.abs(row.getBoundingClientRect().top - top - 60) < 2;
    },
    seen,
  );
  await close(page);
});

test('one line, wrap and JSON show the same row, with heights of their own', async () => {
  const page = await open('/?q="line 7"&from=-7d');
  await status(page, '1 of 1 rows');
  const height = async () => Math.round((await firstRow(page).boundingBox()).height);
  assert.ok((await height()) < 24);
  await page.getByTestId('layout-wrap').click();
  assert.ok((await height()) >= 80);
  await page.getByTestId('layout-json').click();
  await firstRow(page).getByText('"number": 7').waitFor();
  assert.match(page.url(), /view=json/);
  await close(page);
});

test('the keyboard walks, opens, excludes, and leaves the list in one step', async () => {
  const page = await open('/?q=warn&from=-7d');
  await ask(page, 'number:[1 TO 30]', '30 of 30 rows');
  await page.getByTestId('run').focus();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  const active = page.locator('[data-testid=row][aria-selected=true]');
  assert.match(await active.innerText(), /line 2\b/);
  await page.keyboard.press('o');
  await page.getByTestId('details').waitFor();
  await page.keyboard.press('ArrowDown');
  await page.getByTestId('message').getByText('line 3').waitFor();
  await page.keyboard.press('Escape');
  await page.getByTestId('details').waitFor({ state: 'detached' });
  await page.keyboard.press('k');
  assert.match(await active.innerText(), /line 2\b/);
  await page.keyboard.press('w');
  await page.waitForURL(/view=wrap/);
  await page.keyboard.press('x');
  await status(page, '29 of 29 rows');
  assert.match(await page.getByTestId('query').inputValue(), /NOT message:"line 2"/);
  await page.keyboard.press('?');
  await page.getByTestId('help').getByText('leave out rows like this one').waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.dataset.testid), 'query');
  await page.getByTestId('records').focus();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => Boolean(document.activeElement.closest('[data-testid=records]'))), false);
  await close(page);
});

test('a record is shown in its context, with a place of its own', async () => {
  const page = await open('/?from=-7d');
  await ask(page, '"line 500"', '1 of 1 rows');
  await firstRow(page).click();
  await page.getByTestId('to-context').click();
  await page.waitForURL(/context=/);
  const lines = page.getByTestId('context-line');
  await lines.nth(20).waitFor();
  assert.equal(await lines.count(), 21);
  assert.match(await lines.nth(0).innerText(), /line 510/);
  assert.match(await lines.nth(20).innerText(), /line 490/);
  assert.match(await page.locator('[data-anchor]').innerText(), /line 500/);
  await page.getByRole('button', { name: '±50' }).click();
  await lines.nth(100).waitFor();
  await page.reload();
  await page.locator('[data-anchor]').getByText('line 500').waitFor();
  await page.goBack();
  await page.getByTestId('context').waitFor({ state: 'detached' });
  await close(page);
});

test('the context is widened, walked from match to match, and its address keeps all of it', async () => {
  const lines = (host) =>
    Array.from({ length: 60 }, (_, n) => ({
      timestamp: new Date(START - n * 1000 - (host === 'two' ? 500 : 0)).toISOString(),
      message: n % 20 === 5 ? `needle ${n} of ${host}` : `hay ${n} of ${host}`,
    }));
  for (const host of ['one', 'two']) await send(at.node.url, `around&host=${host}`, lines(host));
  const page = await open('/?q=needle+host:one');
  await status(page, '3 of 3 rows');
  await page.getByTestId('row').nth(1).click();
  await page.getByTestId('to-context').click();
  const texts = () => page.getByTestId('context-line').evaluateAll((all) => all.map((line) => /(needle|hay) \d+ of \w+/.exec(line.textContent)[0]));
  const around = (count, first) =>
    until(page, ([count, first]) => {
      const all = document.querySelectorAll('[data-testid=context-line]');
      return all.length === count && all[0].textContent.includes(first);
    }, [count, first]);
  await around(21, 'hay 35 of one');
  assert.ok((await texts()).every((text) => text.endsWith('one')));
  const chip = page.getByRole('button', { name: 'host: one' });
  await chip.click();
  await around(21, 'hay 30 of one');
  assert.equal((await texts())[10], 'needle 25 of one');
  assert.equal((await texts())[11], 'hay 24 of two');
  await page.getByTestId('everything').click();
  await page.getByRole('button', { name: '±200' }).click();
  await page.waitForURL(/around=200%2C/);
  await page.reload();
  await page.locator('[data-anchor]').getByText('needle 25 of one').waitFor();
  assert.equal(await page.getByTestId('everything').getAttribute('aria-pressed'), 'true');
  await page.getByTestId('everything').click();
  await page.getByRole('button', { name: '±10' }).click();
  await around(21, 'hay 35 of one');
  // The next match is beyond these lines: its own surroundings are shown, and Back still leads to the results.
  await page.getByRole('button', { name: 'Next match' }).click();
  await page.locator('[data-anchor]').getByText('needle 5 of one').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Next match' }).isDisabled(), true);
  await page.getByRole('button', { name: '±50' }).click();
  await page.getByTestId('context-line').nth(50).waitFor();
  await page.getByRole('button', { name: 'Previous match' }).click();
  await page.locator('.here').getByText('needle 25 of one').waitFor();
  await page.getByTestId('leave-context').click();
  await page.getByTestId('context').waitFor({ state: 'detached' });
  await status(page, '3 of 3 rows');
  await close(page);
});

test('a column is sorted by its head, endless in every order; the address keeps it', async () => {
  const [from, to] = [START - 61_000, START + 1000].map((ms) => new Date(ms).toISOString());
  const page = await open(`/?q=service:many+number:[1+TO+3000]&from=${from}&to=${to}&cols=number,message`);
  const numbers = () =>
    page.getByTestId('row').evaluateAll((rows) => rows.map((row) => Number(row.querySelector('[data-name=number]').textContent)));
  const begins = (first) =>
    until(page, (first) => document.querySelector('[data-testid=row] [data-name=number]')?.textContent.trim() === first, `${first}`);
  const head = (name) => page.getByRole('columnheader', { name });
  const rising = (all) => all.every((one, at) => at === 0 || one > all[at - 1]);
  assert.equal(await head(/Time/).getAttribute('aria-sort'), 'descending');
  await begins(1);

  await head(/Time/).getByTestId('sort').click();
  await begins(3000);
  assert.match(page.url(), /sort=timestamp/);
  assert.equal(await head(/Time/).getAttribute('aria-sort'), 'ascending');
  await scrollTo(page, 1);
  await status(page, '1,000 of 3,000 rows');
  await page.reload();
  await begins(3000);
  assert.ok(rising((await numbers()).reverse()));
  // A bar of the chart leads there, and rows come at both ends.
  const box = await page.getByTestId('histogram').boundingBox();
  await page.mouse.click(box.x + box.width / 2, box.y + 40);
  await status(page, /^1,000 of 3,000 rows/);
  await until(page, () => {
    const at = Number(document.querySelector('[data-testid=row] [data-name=number]')?.textContent);
    return at > 1200 && at < 1800;
  });
  assert.ok(rising((await numbers()).reverse()));

  await head('number').getByTestId('sort').click();
  await page.waitForURL(/sort=-number/);
  await status(page, /^500 of 3,000 rows/);
  await begins(3000);
  await scrollTo(page, 1);
  await status(page, '1,000 of 3,000 rows');
  assert.ok(rising((await numbers()).reverse()));
  await head('number').getByTestId('sort').click();
  await begins(1);
  assert.equal(await head('number').getAttribute('aria-sort'), 'ascending');
  await page.goBack();
  await begins(3000);
  // The keyboard and a phone have it in the picker; the file has it as well.
  await page.getByTestId('columns').click();
  await page.getByTestId('order').selectOption('number ↑');
  await begins(1);
  await page.getByTestId('export').click();
  assert.match(await page.getByTestId('curl').innerText(), /\| sort number'/);
  await page.keyboard.press('Escape');
  await ask(page, 'number:[1 TO 3] | where number > 1', '2 of');
  assert.equal(await page.getByTestId('sort').count(), 2);
  await head(/Time/).getByTestId('sort').click();
  assert.match(await firstRow(page).innerText(), /line 2/);
  await close(page);
});

test('columns and their widths are kept for each index, and reset', async () => {
  const page = await open('/');
  const shown = (names) =>
    until(page, (names) => [...document.querySelectorAll('[data-column]')].map((head) => head.dataset.column).join() === names, names);
  const tick = (name) => page.getByRole('checkbox', { name, exact: true }).click();
  await page.getByTestId('columns').click();
  await tick('service');
  await page.getByRole('spinbutton', { name: 'Width of service' }).fill('300');
  await page.keyboard.press('Enter');
  await shown('service,message');
  // What was never looked at is looked at as the one before.
  await ask(page, 'index:main', 'of');
  await shown('service,message');
  await page.getByTestId('columns').click();
  await tick('service');
  await tick('number');
  await shown('number,message');
  await ask(page, '', 'of');
  await shown('service,message');
  assert.equal(await page.locator('[data-column=service]').evaluate((head) => head.getBoundingClientRect().width), 300);
  await page.goto(new URL('/?q=index:main', page.url()).href);
  await shown('number,message');
  await page.getByTestId('columns').click();
  await page.getByRole('button', { name: 'Reset columns' }).click();
  await shown('message');
  await page.goto(new URL('/', page.url()).href);
  await shown('service,message');
  await close(page);
});

test('columns are resized and moved', async () => {
  const page = await open('/?cols=service,number,message');
  const heads = page.locator('[data-column]');
  const before = (await heads.nth(0).boundingBox()).width;
  const handle = await page.getByRole('button', { name: 'Width of service' }).boundingBox();
  await page.mouse.move(handle.x + 4, handle.y + 8);
  await page.mouse.down();
  await page.mouse.move(handle.x + 54, handle.y + 8, { steps: 3 });
  await page.mouse.up();
  const width = () => heads.nth(0).evaluate((head) => head.getBoundingClientRect().width);
  assert.ok(Math.abs((await width()) - before - 50) < 4);
  await page.getByTestId('columns').click();
  await page.getByRole('spinbutton', { name: 'Width of service' }).fill('300');
  await page.keyboard.press('Enter');
  await until(page, () => document.querySelector('[data-column]').getBoundingClientRect().width === 300);
  await page.getByRole('button', { name: 'Move right: service' }).click();
  await page.waitForURL(/cols=number%2Cservice%2Cmessage/);
  await close(page);
});

test('the name of a field may be of any length, its value stays in sight', async () => {
  const name = 'deep.'.repeat(40);
  await send(at.node.url, 'lengthy', [{ message: 'one', [name]: 'seen', short: 'as well' }]);
  for (const width of [1440, 390]) {
    const page = await open('/?q=service:lengthy', { viewport: { width, height: 800 } });
    await firstRow(page).click();
    for (const value of ['seen', 'as well']) {
      const box = await page.getByTestId('details').getByText(value, { exact: true }).boundingBox();
      assert.ok(box.x + box.width <= width, `${value} at ${box.x} of ${width}`);
    }
    await close(page);
  }
});

test('a value is copied as it is, and as a query that finds it', async () => {
  const permissions = ['clipboard-read', 'clipboard-write'];
  await send(at.node.url, 'copied', [{ message: 'one', path: '/a "b"' }]);
  const page = await open('/?q=service:copied', { permissions });
  await firstRow(page).click();
  const details = page.getByTestId('details');
  const copied = async (name) => {
    await details.getByRole('button', { name }).click();
    return page.evaluate(() => navigator.clipboard.readText());
  };
  assert.equal(await copied('Copy value: path'), '/a "b"');
  const moment = await copied('Copy value: timestamp');
  assert.match(moment, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  const ms = Date.parse(moment);
  const form = async (name) => {
    await details.getByTitle('Copy in another form: timestamp').click();
    await page.getByTestId(`form-${name}`).click();
    return page.evaluate(() => navigator.clipboard.readText());
  };
  assert.equal((await form('seconds')).slice(0, 14), (ms / 1000).toFixed(3));
  assert.equal(await form('millis'), `${ms}`);
  assert.equal((await form('nanos')).slice(0, 13), `${ms}`);
  assert.equal(Date.parse(await form('zoned')), ms);
  await ask(page, await copied('Copy as query: path'), '1 of 1 rows');
  await close(page);
});

test('rows are compact or have more room, by button and key; a browser keeps it, and the row read stays', async () => {
  const page = await open('/?chart=0');
  const heightOf = () => firstRow(page).evaluate((row) => row.getBoundingClientRect().height);
  const density = page.getByTestId('density');
  const compact = await heightOf();
  assert.equal(await density.getAttribute('aria-pressed'), 'false');
  await density.focus();
  await page.keyboard.press('Enter');
  await page.locator('[data-testid=density][aria-pressed=true]').waitFor();
  assert.ok((await heightOf()) >= compact + 8);
  await page.reload();
  await firstRow(page).waitFor();
  assert.ok((await heightOf()) >= compact + 8);

  // Far down, the row at the top stays the one at the top, whatever all others become.
  await scrollTo(page, 0.5);
  const topmost = (wanted) => {
    const box = document.querySelector('[data-testid=records]');
    const { bottom } = box.querySelector('.header').getBoundingClientRect();
    const rows = [...box.querySelectorAll('[data-testid=row]')];
    // Until a place that was jumped to is drawn, no row is in sight.
    const at = rows.findIndex((row) => row.getBoundingClientRect().bottom > bottom + 1);
    const id = at > 0 && box.scrollTop > 3000 ? rows[at].dataset.id : '';
    return wanted === undefined ? id : id === wanted;
  };
  const before = await (await page.waitForFunction(topmost)).jsonValue();
  await page.getByTestId('records').focus();
  await page.keyboard.press('d');
  await page.locator('[data-testid=density][aria-pressed=false]').waitFor();
  await until(page, topmost, before);
  await scrollTo(page, 0);
  // Until the rows there are drawn, one that is gone has no height.
  await until(page, (wanted) => document.querySelector('[data-testid=row]')?.getBoundingClientRect().height === wanted, compact);
  await close(page);
});
