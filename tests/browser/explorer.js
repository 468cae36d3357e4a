// The page under test: opened on a node, asked, and closed without complaints.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { startBrowser, startNode } from './harness.js';

/** A node, started with `more`, and a browser for the tests of one file; `fill` sends its records. */
export function explorer(fill = async () => {}, more = []) {
  const at = { node: null, browser: null };
  before(async () => {
    at.node = await startNode(more);
    at.browser = await startBrowser();
    await fill(at.node.url);
  });
  after(async () => {
    await at.browser?.close();
    await at.node?.stop();
  });

  /** A page whose console stays free of errors and refusals of the policy. */
  async function open(path, options = {}) {
    const viewport = { width: 1440, height: 900 };
    const context = await at.browser.newContext({ viewport, timezoneId: 'UTC', ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    page.complaints = [];
    page.on('pageerror', (error) => page.complaints.push(String(error)));
    page.on('console', (message) => {
      // What is refused has its answer, which the browser reports as well.
      const isAlone = message.location().url.endsWith('/api/v1/cluster') && /404/.test(message.text());
      const refused = isAlone || /status of (400|409|422) /.test(message.text());
      if (message.type() === 'error' && !refused) page.complaints.push(message.text());
    });
    await page.goto(new URL(path, at.node.url).href);
    await page.getByTestId('status').filter({ hasText: /row|record|行|记录|no answer yet/ }).waitFor();
    return page;
  }

  async function close(page) {
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  }

  return { at, open, close };
}

/** Asks and waits for a status that holds `expected`. */
export async function ask(page, query, expected) {
  await page.getByTestId('query').fill(query);
  await page.getByTestId('query').press('Enter');
  if (expected) await status(page, expected);
}

export async function status(page, expected) {
  await page.getByTestId('status').filter({ hasText: expected }).waitFor();
}

export const firstRow = (page) => page.getByTestId('row').first();

/** Waits until a function of the page gives what is expected. */
export async function until(page, what, argument) {
  await page.waitForFunction(what, argument, { timeout: 15_000 });
}
