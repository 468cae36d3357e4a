// One request through all services, in order.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { explorer, firstRow, until } from './explorer.js';
import { send } from './harness.js';

const start = Date.now() - 60_000;
const at = (ms, message, level = 'info') => ({
  timestamp: new Date(start + ms).toISOString(),
  message,
  level,
  trace_id: '4bf92f3577b34da6',
});

const { open, close } = explorer(async (url) => {
  await send(url, 'web', [at(0, 'GET /pay'), at(900, 'answered 502', 'warn'), { message: 'another request', trace_id: 'f00' }]);
  await send(url, 'shop', [at(12, 'payment begun'), at(890, 'payment failed <b>', 'error')]);
  await send(url, 'bank', [at(20, 'asked for 7 EUR')]);
});

async function openTrace(options) {
  const page = await open('/?q=payment', options);
  await firstRow(page).click();
  await page.getByTestId('to-trace').click();
  await page.getByTestId('step').first().waitFor();
  return page;
}

test('one click on a trace id shows all services in order, with the gaps', async () => {
  const page = await openTrace();
  const steps = await page.getByTestId('step').allInnerTexts();
  assert.deepEqual(
    steps.map((step) => step.split(/\s*\n\s*/).filter(Boolean)),
    [
      ['+0 ms', 'web', 'info', 'GET /pay'],
      ['+12 ms', 'shop', 'info', 'payment begun'],
      ['+20 ms', 'bank', 'info', 'asked for 7 EUR'],
      ['+890 ms', 'shop', 'error', 'payment failed <b>'],
      ['+900 ms', 'web', 'warn', 'answered 502'],
    ],
  );
  assert.equal(await page.getByTestId('gap').innerText(), '870 ms without a record');
  assert.match(page.url(), /trace=trace_id/);
  await page.reload();
  await page.getByTestId('step').first().waitFor();
  await close(page);
});

test('a step leads to its place in its own file, Back and Esc lead out', async () => {
  const page = await openTrace();
  await page.keyboard.press('Escape');
  await page.getByTestId('trace').waitFor({ state: 'detached' });
  await page.goForward();
  await page.getByTestId('step').filter({ hasText: 'asked for 7' }).getByRole('button').click();
  await page.getByTestId('context-line').filter({ hasText: 'asked for 7 EUR' }).waitFor();
  await page.goBack();
  await page.getByTestId('step').first().waitFor();
  await page.getByText('Search for these').click();
  await until(page, () => document.querySelector('[data-testid=status]').textContent.startsWith('5 of 5'));
  await close(page);
});

test('axe finds nothing on a trace in either theme, nor on a phone', async () => {
  const axe = readFileSync(new URL('./node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1440, 390]) {
      const page = await openTrace({ colorScheme, bypassCSP: true, viewport: { width, height: 900 } });
      await page.addScriptTag({ content: axe });
      const { violations } = await page.evaluate(() => window.axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), []);
      await close(page);
    }
  }
});
