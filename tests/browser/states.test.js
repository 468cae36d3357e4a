// What the page says of itself: at work, stopped, incomplete, in the reader's language, at any size.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, explorer, firstRow, status, until } from './explorer.js';
import { send, someRecords } from './harness.js';
import { slowly } from './proxy.js';

const { open, close, at } = explorer((url) => send(url, 'shop', someRecords(300)));

test('Esc and the button stop the work, here and on the wire; what was there stays', async () => {
  const page = await open('/?q=refused');
  for (const stop of [() => page.keyboard.press('Escape'), () => page.getByTestId('cancel').click()]) {
    let isAsked;
    const asked = new Promise((done) => (isAsked = done));
    // The request is held back, as by a node that is long at work.
    await page.route('**/api/v1/query', () => isAsked());
    const gone = page.waitForEvent('requestfailed', (request) => request.url().endsWith('/query'));
    await ask(page, 'accepted');
    await asked;
    await stop();
    assert.match((await gone).failure().errorText, /ABORTED/);
    await status(page, 'stopped: a part of the answer');
    assert.match(await firstRow(page).innerText(), /refused/);
    await page.unroute('**/api/v1/query');
  }
  await ask(page, 'accepted', 'of 270 rows');
  await close(page);
});

test('what is missing from an answer is said', async () => {
  const page = await open('/?q=refused');
  await page.route('**/api/v1/query', async (route) => {
    const answer = await route.fetch();
    const missing = '"partial":[{"what":"split 7","why":"its body is damaged"}]';
    await route.fulfill({ response: answer, body: (await answer.text()).replace('"partial":[]', missing) });
  });
  await ask(page, 'accepted', 'of 270 rows');
  assert.match(await page.getByTestId('partial').innerText(), /Incomplete, without split 7: its body is damaged/);
  await close(page);
});

test('what a question may not mean is said, and gone with the next one', async () => {
  const page = await open('/?q=refused');
  assert.equal(await page.getByTestId('doubts').count(), 0);
  await ask(page, 'accepted OR level:errror OR statsu:500', 'of 270 rows');
  const said = await page.getByTestId('doubts').innerText();
  assert.match(said, /level:errror names no level: did you mean error\?/);
  assert.match(said, /no record has a field "statsu"/);
  await ask(page, 'accepted', 'of 270 rows');
  await page.getByTestId('doubts').waitFor({ state: 'detached' });
  await close(page);
  const chinese = await open('/?q=level%3Aerrror', { locale: 'zh-CN' });
  assert.match(await chinese.getByTestId('doubts').innerText(), /level:errror 不是任何级别：是否想写 error？/);
  await close(chinese);
});

test('a node that does not answer is told with the next step, which works', async () => {
  const page = await open('/?q=refused');
  await page.route('**/api/v1/**', (route) => route.abort());
  await ask(page, 'accepted');
  const error = page.getByTestId('error');
  assert.match(await error.innerText(), /The node does not answer/);
  await page.unroute('**/api/v1/**');
  await error.getByRole('button', { name: 'Try again' }).click();
  await status(page, 'of 270 rows');
  // The browser complains of what was refused on purpose.
  page.complaints = page.complaints.filter((one) => !one.includes('ERR_FAILED'));
  await close(page);
});

test('the page speaks the language of the browser, and the one that is chosen', async () => {
  const page = await open('/?q=refused', { locale: 'zh-CN' });
  await page.getByRole('button', { name: '运行' }).waitFor();
  assert.equal(await page.locator('html').getAttribute('lang'), 'zh-Hans');
  await page.getByRole('button', { name: '帮助与快捷键' }).click();
  await page.getByRole('button', { name: 'English' }).click();
  await page.getByRole('heading', { name: 'How to ask' }).waitFor();
  await page.reload();
  await page.getByRole('button', { name: 'Run' }).waitFor();
  assert.equal(await page.locator('html').getAttribute('lang'), 'en');
  await close(page);
});

test('at 200 % everything is there and nothing sticks out', async () => {
  const page = await open('/?q=refused', { viewport: { width: 720, height: 450 } });
  for (const tab of ['records', 'patterns', 'compare']) {
    await page.getByTestId(`tab-${tab}`).click();
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 720);
  }
  await close(page);
});

test('nothing moves for those who asked for no motion', async () => {
  const page = await open('/?tail=1', { reducedMotion: 'reduce' });
  await until(page, () => document.querySelector('[data-testid=live]')?.dataset.state === 'live');
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  await close(page);
});

test('the page names the licences of what is in it, and asks nobody else for anything', async () => {
  const page = await open('/');
  const hosts = await page.evaluate(() =>
    performance.getEntriesByType('resource').map((one) => new URL(one.name).origin),
  );
  assert.deepEqual([...new Set(hosts)], [new URL(at.node.url).origin]);
  await page.getByRole('button', { name: 'Help and keys' }).click();
  const address = await page.getByRole('link', { name: 'Licences of the parts' }).getAttribute('href');
  const text = await page.evaluate(async (path) => (await fetch(path)).text(), address);
  assert.match(text, /svelte \d[\d.]+ \(MIT\)/);
  await close(page);
});

test('what was told of a chart under a tail is taken back when the node answers again', async () => {
  const page = await open('/');
  await page.route('**/api/v1/histogram', (route) => route.abort());
  await page.getByTestId('tail').click();
  await page.getByTestId('error').getByText('The node does not answer').waitFor();
  await page.unroute('**/api/v1/histogram');
  // The chart of a tail is asked for every ten seconds.
  await page.getByTestId('error').waitFor({ state: 'detached', timeout: 20_000 });
  page.complaints = page.complaints.filter((one) => !one.includes('ERR_FAILED'));
  await close(page);
});

test('a patterns tab that gets no answer says so in words of the page', async () => {
  const page = await open('/');
  await page.route('**/api/v1/**', (route) => route.abort());
  await page.getByTestId('tab-patterns').click();
  await page.locator('main').getByText('The node does not answer').waitFor();
  page.complaints = page.complaints.filter((one) => !one.includes('ERR_FAILED'));
  await close(page);
});

test('an answer that is long in coming tells how far it is, and shows its first rows meanwhile', async (told) => {
  const slow = await slowly(at.node.url);
  told.after(slow.close);
  slow.free();
  const page = await open(`${slow.url}/?q=refused`);
  slow.hold();
  await ask(page, '| stats count() as n by user | sort user', 'asking');
  await page.locator('.progress.running').waitFor();
  slow.free();
  await status(page, '5 rows');

  slow.hold();
  await ask(page, 'accepted', 'asking');
  // The rows that came before stay, marked as those of another question.
  await page.locator('.results.stale').waitFor();
  const lines = [];
  while (lines.filter((line) => line?.startsWith('{"row"')).length < 3) {
    const line = slow.next();
    if (line) lines.push(line);
    else await page.evaluate(() => new Promise(requestAnimationFrame));
  }
  await status(page, '3 so far');
  assert.match(await firstRow(page).innerText(), /accepted/);
  await page.locator('.results:not(.stale)').waitFor();
  assert.equal(await page.getByTestId('row').count(), 3);
  await page.getByTestId('cancel').waitFor();
  slow.free();
  await status(page, 'of 270 rows');
  await page.getByTestId('run').waitFor();
  await close(page);
});
