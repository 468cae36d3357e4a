// Very many fields, and names that mean two things.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explorer, firstRow, status, until } from './explorer.js';
import { send } from './harness.js';

const FIELDS = 10_000;
const { open, close } = explorer(async (url) => {
  const some = (first) => Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`field_${first + n}`, n]));
  const records = Array.from({ length: FIELDS / 100 }, (_, at) => ({ message: 'wide', ...some(at * 100) }));
  await send(url, 'wide', records);
  // A host that is a label here and a field there, as of syslog and of a client of Elasticsearch.
  await send(url, 'named&host=web1', [{ message: 'named' }, { message: 'named' }]);
  await send(url, 'named', [{ message: 'named', host: 'db1' }]);
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

test('a name that is a label here and a field there is one in the list, with the values of both', async () => {
  const page = await open('/?q=named');
  await firstRow(page).waitFor();
  const fields = page.getByTestId('fields');
  const host = fields.getByRole('button', { name: /^host 100 %/ });
  await host.waitFor();
  assert.equal(await host.count(), 1);
  await host.click();
  await fields.getByRole('button', { name: /^web1 2/ }).waitFor();
  await fields.getByRole('button', { name: /^db1 1/ }).waitFor();
  await page.getByRole('button', { name: 'Columns' }).click();
  await page.getByRole('checkbox', { name: 'host', exact: true }).waitFor();
  await close(page);
});
