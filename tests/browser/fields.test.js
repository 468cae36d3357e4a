// Very many fields.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explorer, firstRow, status, until } from './explorer.js';
import { send } from './harness.js';

const FIELDS = 10_000;
const { open, close } = explorer(async (url) => {
  const some = (first) => Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`field_${first + n}`, n]));
  const records = Array.from({ length: FIELDS / 100 }, (_, at) => ({ message: 'wide', ...some(at * 100) }));
  await send(url, 'wide', records);
});

test('one of ten thousand fields is found, with few of them in the page', async () => {
  const page = await open('/');
  await firstRow(page).waitFor();
  const find = page.getByPlaceholder(/Find a field/);
  await until(page, () => /10,?0\d\d/.test(document.querySelector('[data-testid=fields] input').placeholder));
  assert.ok((await page.locator('[data-testid=fields] .list *').count()) < 2000);
  await find.fill('field_9876');
  await until(page, () => document.querySelector('[data-testid=fields] .list').textContent.includes('field_9876'));
  // The query bar completes them as well, and Enter runs what was typed.
  await page.getByTestId('query').fill('field_98');
  await page.getByTestId('query').pressSequentially('76:76');
  await page.getByTestId('query').press('Enter');
  await status(page, '1 of 1');
  await close(page);
});
