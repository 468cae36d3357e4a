// What is changed for everybody from the page: shared views, how long an index keeps its records;
// and what the shippers tell of themselves.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { ask, explorer, status } from './explorer.js';
import { send, someRecords } from './harness.js';

const { open, close, at } = explorer((url) => send(url, 'shop', someRecords(100)));

/** Saves what is shown for everybody; where its link leads. */
async function share(page, name, author) {
  await page.getByTestId('save-view').click();
  await page.getByTestId('view-name').fill(name);
  await page.getByTestId('for-everybody').check();
  await page.getByTestId('view-author').fill(author);
  await page.getByTestId('view-name').press('Enter');
  await page.getByTestId('shared-view').filter({ hasText: name }).waitFor();
  const { views } = await (await fetch(`${at.node.url}/api/v1/views`)).json();
  return `/v/${views.find((view) => view.name === name).id}`;
}

test('a view is shared: another browser has it, its short link leads there, and a restart keeps it', async () => {
  const page = await open('/?q=refused&cols=status,message&tz=Asia/Tokyo');
  const link = await share(page, 'Refused <b>cards</b>', 'Ada');
  await close(page);
  await at.node.restart();
  const other = await open(link);
  await status(other, '10 of 10');
  const address = new URL(other.url());
  assert.equal(address.pathname, '/');
  assert.equal(address.searchParams.get('cols'), 'status,message');
  assert.equal(address.searchParams.get('tz'), 'Asia/Tokyo');
  const tab = other.getByTestId('shared-view');
  assert.equal(await tab.getAttribute('aria-current'), 'page');
  await ask(other, 'accepted', /of 90/);
  await tab.click();
  await status(other, '10 of 10');
  await other.getByTestId('save-view').click();
  await other.getByText('Ada').waitFor();
  await close(other);
});

test('a name that is taken is told, and nothing is lost', async () => {
  const page = await open('/?q=accepted');
  await share(page, 'Accepted', '');
  await page.getByTestId('save-view').click();
  await page.getByTestId('view-name').fill('Accepted');
  await page.getByTestId('for-everybody').check();
  await page.getByTestId('view-name').press('Enter');
  assert.match(await page.getByTestId('view-wrong').innerText(), /"Accepted".*another name/);
  assert.equal(await page.getByTestId('view-name').inputValue(), 'Accepted');
  await close(page);
});

test('the link to a view that was removed says so and shows the usual one', async () => {
  const page = await open('/?q=user:user1');
  const link = await share(page, 'Short', 'Bob');
  await page.getByTestId('save-view').click();
  await page.getByRole('button', { name: 'Remove: Short' }).click();
  await page.getByTestId('shared-view').filter({ hasText: 'Short' }).waitFor({ state: 'detached' });
  await close(page);
  const other = await open(link);
  await other.getByTestId('view-gone').waitFor();
  assert.equal(new URL(other.url()).pathname, '/');
  await close(other);
});

test('how long an index keeps its records is changed after telling what that deletes', async () => {
  const page = await open('/');
  await page.goto(`${at.node.url}/system`);
  const row = page.getByTestId('indexes').locator('tbody tr').first();
  await row.filter({ hasText: '30 days' }).waitFor();
  await page.getByTestId('change-retention').click();
  const form = page.getByTestId('retention');
  const days = form.getByRole('spinbutton');
  await days.fill('0');
  await days.press('Enter');
  assert.equal(await days.evaluate((input) => input.validity.rangeUnderflow), true);
  await days.fill('7');
  await days.press('Enter');
  await form.getByText('nothing is deleted now').waitFor();
  assert.match(await row.innerText(), /30 days/);
  await form.getByRole('button', { name: 'Change' }).click();
  await row.filter({ hasText: '7 days' }).waitFor();
  const { indexes } = await (await fetch(`${at.node.url}/api/v1/status`)).json();
  assert.deepEqual([indexes[0].retention_days, indexes[0].retention_is_own], [7, true]);
  await page.getByTestId('change-retention').click();
  await form.getByRole('button', { name: 'As usual' }).click();
  await form.getByRole('button', { name: 'Change' }).click();
  await row.filter({ hasText: '30 days' }).waitFor();
  await close(page);
});

test('a shipper tells its files, lag and version; one that is silent or lost text is marked', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sawlog-shipper-'));
  const file = join(folder, 'app.log');
  writeFileSync(file, 'begun\n');
  const program = join(dirname(process.env.SAWLOG_BIN), 'sawlog-shipper');
  const args = ['--to', at.node.direct, '--state-dir', join(folder, 'state'), '--path', file];
  const child = spawn(program, args, { stdio: 'ignore' });
  after(async () => {
    const ended = new Promise((done) => child.once('exit', done));
    child.kill();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  const page = await open('/');
  await page.goto(`${at.node.url}/system`);
  const row = page.getByTestId('shippers').locator('tbody tr');
  await row.filter({ hasText: file }).waitFor({ timeout: 30_000 });
  assert.match(await row.innerText(), /sending\s+1\s+0 B\s+0\s+\d+\.\d+\.\d+/);
  await page.route('**/api/v1/shippers', async (route) => {
    const answer = await (await route.fetch()).json();
    const gaps = { gaps: 2, lost_bytes: 2048, last_error: 'connection refused' };
    const shippers = answer.shippers.map((one) => ({ ...one, ...gaps, silent_s: 90 }));
    await route.fulfill({ json: { shippers } });
  });
  await row.filter({ hasText: 'quiet' }).waitFor();
  assert.match(await row.innerText(), /quiet, 1\.5 min ago[\s\S]*2 \(2\.0 KiB lost\)/);
  await page.unrouteAll();
  await close(page);
});
