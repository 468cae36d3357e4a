// The live tail: what comes is shown, nothing jumps while somebody reads, and nothing is missed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explorer, firstRow, until } from './explorer.js';
import { send, someRecords } from './harness.js';
import { linkTo } from './proxy.js';

const { at, open, close } = explorer((url) => send(url, 'shop', someRecords(200)));

const sendLines = (name, from, count) =>
  send(
    at.node.url,
    'tail',
    Array.from({ length: count }, (_, line) => ({ message: `${name} line ${from + line}` })),
  );

/** Begins a tail and waits until its stream is open. */
async function tail(page) {
  await page.getByTestId('tail').click();
  await page.locator('[data-testid=live][data-state=live]').waitFor();
}

const seen = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll('[data-testid=row]')].map((row) => /line (\d+)/.exec(row.textContent)?.[1]),
  );

test('a tail shows what comes, newest first', async () => {
  const page = await open('/?q=steady');
  await tail(page);
  await page.waitForURL(/tail=1/);
  await sendLines('steady', 0, 3);
  await page.getByText('steady line 2').waitFor();
  assert.deepEqual(await seen(page), ['2', '1', '0']);
  await page.getByTestId('live').getByText(/^\d+\/s$/).waitFor();
  await close(page);
});

test('a key, a scroll or a selection pauses it; what was held back comes without a gap', async () => {
  const page = await open('/?q=paused');
  await tail(page);
  await sendLines('paused', 0, 60);
  await page.getByText('paused line 59').waitFor();
  const paused = page.locator('[data-testid=live][data-state=paused]');

  await page.getByTestId('records').hover();
  await page.mouse.wheel(0, 400);
  await paused.waitFor();
  const before = await page.evaluate(() => {
    const [row] = [...document.querySelectorAll('[data-testid=row]')].filter((one) => one.getBoundingClientRect().top > 300);
    return { id: row.dataset.id, top: row.getBoundingClientRect().top };
  });
  await sendLines('paused', 60, 5);
  await page.getByTestId('resume').filter({ hasText: '5 new' }).waitFor();
  const after = await page.evaluate((id) => document.querySelector(`[data-id="${id}"]`).getBoundingClientRect().top, before.id);
  assert.equal(after, before.top);
  await page.getByTestId('resume').click();
  await page.getByText('paused line 64').waitFor();
  assert.deepEqual((await seen(page)).slice(0, 7), ['64', '63', '62', '61', '60', '59', '58']);

  await page.getByTestId('records').focus();
  await page.keyboard.press('j');
  await paused.waitFor();
  await page.getByTestId('resume').click();
  await paused.waitFor({ state: 'detached' });

  await firstRow(page).locator('.message').evaluate((cell) => getSelection().selectAllChildren(cell));
  await paused.waitFor();
  await page.evaluate(() => getSelection().removeAllRanges());
  await page.getByTestId('resume').click();
  await sendLines('paused', 65, 1);
  await page.getByText('paused line 65').waitFor();
  await close(page);
});

test('a lost connection comes back with what was missed', async () => {
  const page = await open('/?q=broken');
  await tail(page);
  await sendLines('broken', 0, 2);
  await page.getByText('broken line 1').waitFor();
  await at.node.restart();
  await sendLines('broken', 2, 4);
  await page.getByText('broken line 5').waitFor({ timeout: 20_000 });
  await until(page, () => document.querySelectorAll('[data-testid=row]').length === 6);
  assert.deepEqual(await seen(page), ['5', '4', '3', '2', '1', '0']);
  // The browser complains of the lost connection: so it should.
  page.complaints.length = 0;
  await close(page);
});

test('a query with pipes is not tailed, and the page says why', async () => {
  const page = await open('/?q=%7C+stats+count()&tail=1');
  await page.getByTestId('error').getByText('without pipes').waitFor();
  await close(page);
});

test('a tail that waits shows its first record', async () => {
  const page = await open('/?q=patient');
  await tail(page);
  await page.getByText('Waiting for the first').waitFor();
  await sendLines('patient', 0, 1);
  await page.getByText('patient line 0').waitFor();
  await close(page);
});

test('a connection that went silent is given up, told, and made anew with what was missed', async (told) => {
  const link = await linkTo(at.node.url);
  told.after(link.close);
  const page = await open(`${link.url}/?q=silent`);
  await tail(page);
  await sendLines('silent', 0, 2);
  await page.getByText('silent line 1').waitFor();
  link.hush();
  await sendLines('silent', 2, 3);
  await page.locator('[data-testid=live][data-state=lost]').filter({ hasText: 'Connection lost' }).waitFor({ timeout: 20_000 });
  assert.deepEqual(await seen(page), ['1', '0']);
  await sendLines('silent', 5, 1);
  link.heal();
  await page.locator('[data-testid=live][data-state=live]').waitFor({ timeout: 20_000 });
  await page.getByText('silent line 5').waitFor();
  assert.deepEqual(await seen(page), ['5', '4', '3', '2', '1', '0']);
  // The browser complains of what was reset: so it should.
  page.complaints.length = 0;
  await close(page);
});

test('a tail in which nothing comes keeps its one connection; beside one in which something does, the fields move on', async () => {
  const lively = await open('/?q=lively');
  await tail(lively);
  await sendLines('lively', 0, 2);
  await lively.getByText('lively line 1').waitFor();
  const page = await open('/?q=quiet');
  const asked = [];
  page.on('request', (request) => request.url().includes('/api/v1/tail?query=quiet') && asked.push(request));
  await tail(page);
  // Longer than the page would wait for a node that says nothing.
  const alive = page.evaluate(
    () =>
      new Promise((done) => {
        let times = 0;
        const source = new EventSource('/api/v1/tail?query=another');
        source.addEventListener('alive', () => {
          times += 1;
          if (times < 4) return;
          source.close();
          done(times);
        });
      }),
  );
  assert.equal(await alive, 4);
  assert.equal(asked.length, 1);
  await page.locator('[data-testid=live][data-state=live]').waitFor();
  await close(page);
  await lively.getByTestId('fields').getByRole('button', { name: /^service/ }).waitFor();
  await close(lively);
});
