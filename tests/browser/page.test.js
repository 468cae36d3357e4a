// The page on a running node, in a real browser.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { send, someRecords, startBrowser, startNode } from './harness.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
let node;
let browser;

before(async () => {
  node = await startNode();
  browser = await startBrowser();
  await send(node.url, 'shop', someRecords(400));
});

after(async () => {
  await browser?.close();
  await node?.stop();
});

/** A page whose console stays free of errors and refusals of the policy. */
async function open(path, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().includes('400')) page.complaints.push(message.text());
  });
  await page.goto(`${node.url}${path}`);
  await page.getByTestId('status').filter({ hasText: 'rows' }).waitFor();
  return page;
}

async function close(page) {
  assert.deepEqual(page.complaints, []);
  await page.context().close();
}

async function ask(page, query) {
  await page.getByTestId('query').fill(query);
  await page.getByTestId('query').press('Enter');
}

test('a search shows its records, newest first, and the address keeps it', async () => {
  const page = await open('/');
  await ask(page, 'refused level:error');
  await page.getByTestId('status').filter({ hasText: '40 rows of 40' }).waitFor();
  const first = await page.getByTestId('row').first().innerText();
  assert.match(first, /payment 0 refused/);
  assert.match(page.url(), /q=refused/);
  await page.goBack();
  await page.getByTestId('status').filter({ hasText: '400 rows' }).waitFor();
  await close(page);
});

test('a wrong query is underlined where it is wrong', async () => {
  const page = await open('/');
  await ask(page, 'foo:(bar');
  const error = page.getByTestId('error');
  await error.waitFor();
  assert.match(await error.innerText(), /column 9: expected '\)'/);
  await close(page);
});

test('a row opens, and a value of it narrows the search', async () => {
  const page = await open('/?q=refused');
  await page.getByTestId('row').first().getByRole('button').first().click();
  const details = page.getByTestId('details');
  await details.waitFor();
  assert.match(await details.innerText(), /status\s+502/);
  await details.getByRole('button', { name: 'Only user' }).click();
  await page.getByTestId('status').filter({ hasText: '40 rows of 40' }).waitFor();
  assert.match(await page.getByTestId('query').inputValue(), /^refused user:user0$/);
  await close(page);
});

test('a drag over the histogram zooms in', async () => {
  const page = await open('/');
  const box = await page.getByTestId('histogram').boundingBox();
  await page.mouse.move(box.x + box.width - 60, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 20, box.y + 20);
  await page.mouse.up();
  await page.waitForURL(/to=/);
  await page.getByTestId('status').filter({ hasText: /rows/ }).waitFor();
  await close(page);
});

test('stats are a table', async () => {
  const page = await open('/');
  await ask(page, '| stats count() as n by level | sort n desc');
  const table = page.getByTestId('table');
  await table.waitFor();
  assert.match(await table.innerText(), /level\s+n\s+info\s+360\s+error\s+40/);
  await close(page);
});

test('top values of a field are listed and add themselves', async () => {
  const page = await open('/');
  const fields = page.getByRole('navigation', { name: 'Fields' });
  await fields.getByRole('button', { name: /^status/ }).click();
  await fields.getByRole('button', { name: '502', exact: true }).click();
  await page.getByTestId('status').filter({ hasText: '40 rows of 40' }).waitFor();
  await close(page);
});

test('a tail shows what comes', async () => {
  const page = await open('/?q=tailed');
  await page.getByRole('button', { name: 'Tail', exact: true }).click();
  const seen = page.getByText('tailed line').first();
  // The stream opens in its own time: lines are sent until one is seen.
  for (let sent = 0; !(await seen.isVisible()); sent += 1) {
    assert.ok(sent < 200, 'nothing was tailed');
    await send(node.url, 'tail', [{ message: `tailed line ${sent}` }]);
    await seen.waitFor({ timeout: 200 }).catch(() => undefined);
  }
  await close(page);
});

test('any time range can be typed, and what is no moment is said', async () => {
  const page = await open('/');
  await page.getByRole('button', { name: /^Time range/ }).click();
  const panel = page.getByTestId('time');
  await panel.getByLabel('from').fill('soonish');
  await panel.getByRole('button', { name: 'Apply' }).click();
  assert.match(await panel.getByRole('alert').innerText(), /soonish is no moment/);
  await panel.getByLabel('from').fill('10m');
  await panel.getByLabel('to').fill('now');
  await panel.getByRole('button', { name: 'Apply' }).click();
  await page.waitForURL(/from=-10m&to=now/);
  await page.getByTestId('status').filter({ hasText: /^[0-9]+ rows of [0-9]+ ·/ }).waitFor();
  const rows = Number((await page.getByTestId('status').innerText()).split(' ')[0]);
  assert.ok(rows > 0 && rows < 400, `${rows} rows in ten minutes`);
  await close(page);
});

test('patterns are a table, and one of them is a search', async () => {
  const page = await open('/?q=service:shop');
  await page.getByRole('button', { name: 'Patterns' }).click();
  const pattern = page.getByRole('button', { name: 'payment <*> refused by bank' });
  await pattern.waitFor();
  assert.match(await page.getByTestId('table').innerText(), /payment <\*> accepted\s+360/);
  await pattern.click();
  await page.getByTestId('status').filter({ hasText: '40 rows of 40' }).waitFor();
  assert.equal(await page.getByTestId('query').inputValue(), 'service:shop payment "refused by bank"');
  await close(page);
});

test('keys walk over the records, open them, and hide the histogram', async () => {
  const page = await open('/?q=refused');
  await page.locator('body').press('j');
  await page.locator('body').press('j');
  await page.locator('body').press('o');
  assert.match(await page.getByTestId('details').innerText(), /payment 10 refused/);
  await page.locator('body').press('Escape');
  await page.getByTestId('details').waitFor({ state: 'detached' });
  await page.locator('body').press('h');
  await page.getByTestId('histogram').waitFor({ state: 'detached' });
  await page.locator('body').press('?');
  assert.match(await page.getByTestId('keys').innerText(), /wrap lines/);
  await close(page);
});

test('wrapped rows stand below each other, and all rows are reached by scrolling', async () => {
  const long = (n) => ({ message: `long ${n} ${'word '.repeat((n % 9) * 40)}end${n}` });
  await send(node.url, 'long', Array.from({ length: 1200 }, (_, n) => long(n)));
  const page = await open('/?q=long');
  await page.locator('body').press('w');
  const overlaps = () =>
    page.evaluate(() => {
      const rows = [...document.querySelectorAll('[data-testid=row]')];
      const boxes = rows.map((row) => row.getBoundingClientRect()).sort((a, b) => a.top - b.top);
      const texts = [...document.querySelectorAll('.line')];
      const cut = texts.filter((line) => line.scrollHeight > line.clientHeight + 1).length;
      const over = boxes.filter((box, at) => at > 0 && boxes[at - 1].bottom > box.top + 1).length;
      return { cut, over, rows: rows.length };
    });
  const seen = new Set();
  const box = page.getByRole('region', { name: 'Records' });
  const status = page.getByTestId('status');
  for (let turn = 0; turn < 400 && seen.size < 1200; turn += 1) {
    const found = await overlaps();
    assert.deepEqual([found.cut, found.over], [0, 0]);
    assert.ok(found.rows < 300, `${found.rows} rows in the page`);
    const ids = await page.locator('[data-testid=row]').evaluateAll((rows) => rows.map((r) => r.dataset.id));
    ids.forEach((id) => seen.add(id));
    await box.evaluate((element) => element.scrollBy(0, 900));
    await status.filter({ hasText: /rows/ }).waitFor();
  }
  assert.equal(seen.size, 1200);
  await close(page);
});

test('log text is never markup', async () => {
  const message = 'hostile <img src=x onerror=alert(1)><script>window.broken=1</script> \u001b[31m\u202e';
  await send(node.url, 'hostile', [{ message }]);
  const page = await open('/?q=hostile');
  await page.getByTestId('row').first().getByRole('button').first().click();
  await page.getByTestId('details').waitFor();
  assert.equal(await page.evaluate(() => window.broken), undefined);
  assert.equal(await page.locator('.rows img, .rows script').count(), 0);
  await close(page);
});

for (const colorScheme of ['light', 'dark']) {
  test(`axe finds nothing, ${colorScheme}`, async () => {
    const page = await open('/?q=refused', { colorScheme, bypassCSP: true });
    await page.getByTestId('row').first().getByRole('button').first().click();
    await page.getByRole('button', { name: 'keys' }).click();
    await page.getByRole('button', { name: /^Time range/ }).click();
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run());
    assert.deepEqual(found.violations.map((v) => `${v.id}: ${v.nodes[0].html}`), []);
    await close(page);
  });
}
