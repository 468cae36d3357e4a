// When: the time picker, the zone, and the chart that zooms.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explorer, firstRow, status, until } from './explorer.js';
import { send, someRecords } from './harness.js';

const { open, close } = explorer((url) => send(url, 'shop', someRecords(400)));

async function typeTime(page, text) {
  await page.getByTestId('time').click();
  await page.getByTestId('typed-time').fill(text);
  await page.keyboard.press('Enter');
}

test('a typed time is understood before it is taken', async () => {
  const page = await open('/');
  await page.getByTestId('time').click();
  await page.getByTestId('typed-time').fill('soon');
  await page.getByText('Not understood').waitFor();
  await page.getByTestId('typed-time').fill('2h');
  await page.locator('#typed-hint').getByText('Last 2 hours').waitFor();
  await page.keyboard.press('Enter');
  await page.waitForURL(/from=-2h/);
  await typeTime(page, 'yesterday 9-10');
  await page.waitForURL(/to=/);
  assert.match(await page.getByTestId('range').innerText(), /^\d{4}-\d\d-\d\d 09:00 → 10:00$/);
  await typeTime(page, '1763899200000000000');
  await page.getByTestId('range').getByText('2025-11-23 11:55 → 12:05').waitFor();
  await close(page);
});

test('ends can be given one by one', async () => {
  const page = await open('/');
  await page.getByTestId('time').click();
  await page.getByTestId('from').fill('2026-01-01');
  await page.getByTestId('to').fill('');
  await page.getByRole('button', { name: 'Apply' }).click();
  await page.getByTestId('range').getByText('2026-01-01 00:00 → now').waitFor();
  await close(page);
});

test('a day is chosen from the calendar', async () => {
  const page = await open('/');
  await page.getByTestId('time').click();
  await page.getByTestId('calendar').first().fill('2026-01-31');
  assert.equal(await page.getByTestId('from').inputValue(), '2026-01-31 00:00:00');
  await page.getByTestId('to').fill('');
  await page.getByTestId('from').press('Enter');
  await until(page, () => location.search.includes('from=2026-01-31T00'));
  await close(page);
});

test('the zone is printed and changes every clock', async () => {
  const page = await open('/');
  const utc = await firstRow(page).innerText();
  await page.getByTestId('time').click();
  await page.getByTestId('other-zone').fill('Asia/Kolkata');
  await page.keyboard.press('Enter');
  await page.getByTestId('zone').getByText('Asia/Kolkata, UTC+5:30').waitFor();
  assert.match(await page.getByTestId('range-zone').innerText(), /Asia\/Kolkata/);
  const minute = (text) => Number(/:(\d\d):/.exec(text)[1]);
  assert.equal((minute(utc) + 30) % 60, minute(await firstRow(page).innerText()));
  assert.match(page.url(), /tz=Asia%2FKolkata/);
  await close(page);
});

test('a drag over the chart zooms in, a double click out, and Back comes back', async () => {
  const page = await open('/?from=-1h');
  await status(page, '400 of 400 rows');
  const box = await page.getByTestId('histogram').boundingBox();
  await page.mouse.move(box.x + box.width * 0.5, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.7, box.y + 20, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/to=/);
  await status(page, /^(\d\d|1\d\d) of \1 rows/);
  await page.getByTestId('histogram').dblclick();
  await page.waitForURL((url) => !url.search.includes('to='));
  await status(page, '400 of 400 rows');
  await page.goBack();
  await page.waitForURL(/to=/);
  await close(page);
});

test('a bar tells its counts, and the table tells them all', async () => {
  const page = await open('/');
  await page.getByTestId('histogram').focus();
  await page.keyboard.press('ArrowLeft');
  const tip = page.getByTestId('tip');
  await tip.waitFor();
  assert.match(await tip.innerText(), /\d records/);
  await page.getByTestId('chart-table').click();
  const sum = await page.getByTestId('chart-numbers').evaluate((table) =>
    [...table.querySelectorAll('tbody tr')].reduce((all, row) => all + Number(row.cells[1].textContent), 0),
  );
  assert.equal(sum, 400);
  await close(page);
});

test('a hidden chart is not asked for', async () => {
  const page = await open('/');
  await page.getByTestId('hide-chart').click();
  await page.waitForURL(/chart=0/);
  let asked = 0;
  page.on('request', (request) => (asked += request.url().endsWith('/histogram') ? 1 : 0));
  await page.reload();
  await status(page, '400 of 400 rows');
  assert.equal(asked, 0);
  await page.getByTestId('show-chart').click();
  await page.getByTestId('histogram').waitFor();
  await until(page, () => document.querySelector('[data-testid=total]').textContent === '400 records');
  assert.equal(asked, 1);
  await close(page);
});

test('the windows before and after are one key away', async () => {
  const page = await open('/?from=-1h');
  await page.getByTestId('records').focus();
  await page.keyboard.press('[');
  await page.waitForURL(/to=/);
  await status(page, /^0 of 0 rows/);
  await page.getByTestId('empty').getByText('Nothing in this time').waitFor();
  await page.keyboard.press(']');
  await status(page, '400 of 400 rows');
  await close(page);
});

test('a theme is chosen, kept, and there before the first paint', async () => {
  const page = await open('/', { colorScheme: 'light' });
  await page.getByTestId('theme').click();
  await page.getByTestId('theme').click();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
  await page.reload();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
  // It is chosen by a script that the first paint waits for.
  const first = await page.evaluate(() => {
    const script = document.head.querySelector('script');
    return { src: script.src, waits: !script.async && !script.defer && script.type === '' };
  });
  assert.deepEqual(first, { src: new URL('/theme.js', page.url()).href, waits: true });
  await close(page);
});

test('an address whose time or zone is none tells so, and the page goes on', async () => {
  const page = await open('/?q=refused&from=all&tz=Nowhere/Else');
  const error = page.getByTestId('error');
  assert.match(await error.innerText(), /"from" is no time: "all"\s+write -15m/);
  await status(page, 'no answer yet');
  assert.equal(await page.getByTestId('range').innerText(), 'all → now');
  await page.getByTestId('time').click();
  await page.getByRole('button', { name: 'Last 7 days' }).click();
  await status(page, /of \d+ rows/);
  assert.equal(await error.count(), 0);
  await close(page);
});
