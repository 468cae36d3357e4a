// Asking: queries, their errors, what narrows them, and the address that keeps it all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, explorer, firstRow, status } from './explorer.js';
import { send, someRecords } from './harness.js';

const { at, open, close } = explorer((url) => send(url, 'shop', someRecords(400)));

test('a search shows its records, newest first, and the address keeps it', async () => {
  const page = await open('/');
  await ask(page, 'refused level:error', '40 of 40 rows');
  assert.match(await firstRow(page).innerText(), /payment 0 refused/);
  assert.match(page.url(), /q=refused/);
  await page.goBack();
  await status(page, '400 of 400 rows');
  assert.equal(await page.getByTestId('query').inputValue(), '');
  await page.goForward();
  await status(page, '40 of 40 rows');
  assert.equal(await page.getByTestId('query').inputValue(), 'refused level:error');
  await close(page);
});

test('an exclusion alone is a search', async () => {
  const page = await open('/');
  await ask(page, 'NOT refused', '360 of 360 rows');
  await close(page);
});

test('a wrong query is underlined where it is wrong; the last good answer stays, greyed', async () => {
  const page = await open('/?q=refused');
  await ask(page, 'foo:(bar');
  const error = page.getByTestId('error');
  await error.waitFor();
  assert.match(await error.innerText(), /Column 9: expected '\)'/);
  const underlined = page.locator('.ink .bad');
  assert.equal(await underlined.count(), 1);
  const before = await underlined.evaluate((bad) => {
    const range = document.createRange();
    range.setStart(bad.parentElement, 0);
    range.setEndBefore(bad);
    return range.toString();
  });
  assert.equal(before, 'foo:(bar');
  assert.equal(await page.getByTestId('query').evaluate((area) => area.selectionStart), 8);
  await status(page, 'last good answer');
  assert.match(await firstRow(page).innerText(), /refused/);
  assert.equal(await page.locator('.results.stale').count(), 1);
  await ask(page, 'accepted', '360 of 360 rows');
  assert.equal(await error.count(), 0);
  await close(page);
  // The order shown adds nothing to what the error speaks of.
  const sorted = await open('/?q=foo%3A(bar&sort=timestamp');
  await sorted.getByTestId('error').waitFor();
  assert.match(await sorted.getByTestId('error').innerText(), /Column 9: expected '\)'/);
});

test('characters that look like others are named', async () => {
  const page = await open('/');
  await ask(page, '“refused”');
  const named = page.getByTestId('lookalike').first();
  await named.waitFor();
  assert.match(await named.innerText(), /Column 1 holds a left double quotation mark \(U\+201C\)/);
  await close(page);
});

test('a value of an open row narrows the search, and Ctrl+Z takes it back', async () => {
  const page = await open('/?q=refused');
  await firstRow(page).click();
  const details = page.getByTestId('details');
  await details.waitFor();
  await details.getByRole('button', { name: 'Only this value: user' }).click();
  await status(page, '40 of 40 rows');
  const query = page.getByTestId('query');
  assert.equal(await query.inputValue(), 'refused user:user0');
  await query.focus();
  await page.keyboard.press('Control+z');
  assert.equal(await query.inputValue(), 'refused');
  await close(page);
});

test('a field lists its top values; add, only, exclude and exists work from there', async () => {
  const page = await open('/');
  const fields = page.getByTestId('fields');
  await fields.getByRole('button', { name: /^status/ }).click();
  const share = fields.getByRole('button', { name: /^502 40 10 %/ });
  await share.waitFor();
  // The figures are a question of their own.
  await fields.getByText('p95').first().waitFor();
  assert.match(await fields.innerText(), /min\s+200\s+mean\s+230\.2\s+p95\s+502\s+max\s+502/);
  await share.click();
  await status(page, '40 of 40 rows');
  assert.equal(await page.getByTestId('query').inputValue(), 'status:502');
  await page.goBack();
  await status(page, '400 of 400 rows');
  await fields.getByRole('button', { name: 'Without 502' }).click();
  await status(page, '360 of 360 rows');
  await fields.getByRole('button', { name: 'Lacks it' }).click();
  await status(page, /^0 of 0 rows/);
  await ask(page, 'user:* status:200', '360 of 360 rows');
  await fields.getByRole('button', { name: /^user/ }).click();
  await fields.getByRole('button', { name: 'Only user1' }).click();
  await status(page, '80 of 80 rows');
  assert.equal(await page.getByTestId('query').inputValue(), 'status:200 user:user1');
  await close(page);
});

test('a field becomes a column, and the address keeps it', async () => {
  const page = await open('/');
  await page.getByTestId('fields').getByRole('button', { name: /^user/ }).click();
  await page.getByRole('button', { name: 'Show as column' }).click();
  await page.getByRole('columnheader', { name: /user/ }).waitFor();
  assert.match(await firstRow(page).innerText(), /error\s+user0\s+payment 0/);
  assert.match(page.url(), /cols=user%2Cmessage/);
  await page.reload();
  await page.getByRole('columnheader', { name: /user/ }).waitFor();
  await close(page);
});

test('fields and values are completed; Enter runs all the same', async () => {
  const page = await open('/');
  const query = page.getByTestId('query');
  await query.pressSequentially('us');
  await page.getByRole('option', { name: /user/ }).waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await query.inputValue(), 'user:');
  await page.getByRole('option', { name: 'user3' }).waitFor();
  await query.pressSequentially('user3');
  await page.keyboard.press('Enter');
  await status(page, '80 of 80 rows');
  assert.equal(await query.inputValue(), 'user:user3');
  await close(page);
});

test('stats are a table whose rows lead back to their records', async () => {
  const page = await open('/');
  await ask(page, '| stats count() as n by level | sort n desc');
  const table = page.getByTestId('table');
  await table.waitFor();
  assert.match(await table.innerText(), /level\s+n\s+info\s+360\s+error\s+40/);
  await table.getByRole('button', { name: 'error' }).click();
  await status(page, '40 of 40 rows');
  assert.equal(await page.getByTestId('query').inputValue(), 'level:error');
  await close(page);
});

test('stats over time draw themselves, and a click shows that time', async () => {
  const page = await open('/');
  await ask(page, '| stats count() as n by level, bin(timestamp, 5m)');
  const chart = page.getByTestId('result-chart');
  await chart.waitFor();
  assert.equal(await chart.locator('path').count(), 2);
  const box = await chart.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + 60);
  await page.mouse.down();
  await page.mouse.up();
  await page.waitForURL(/to=/);
  await status(page, /of \d+ rows/);
  await close(page);
});

test('everything in the address is restored', async () => {
  const page = await open('/?q=refused&view=json&tz=Asia%2FTokyo&chart=0');
  await status(page, '40 of 40 rows');
  assert.match(await firstRow(page).innerText(), /"status": 502/);
  assert.match(await page.getByTestId('zone').innerText(), /Asia\/Tokyo, UTC\+9/);
  assert.equal(await page.getByTestId('histogram').count(), 0);
  await close(page);
});

test('a link to one line shows it open', async () => {
  const found = await fetch(`${at.node.url}/api/v1/query`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ query: '"payment 390"', limit: 1 }),
  });
  const { row } = JSON.parse((await found.text()).split('\n')[1]);
  const page = await open(`/?from=-7d&open=${row.id}`);
  await page.getByTestId('details').waitFor();
  assert.match(await page.getByTestId('message').innerText(), /payment 390/);
  await close(page);
});
