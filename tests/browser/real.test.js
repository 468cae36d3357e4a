// Logs of real systems, shipped as anybody ships theirs and walked through as somebody on call does.
// They lie beside the repository; where they do not, our own fixtures of the same forms stand for them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { ask, explorer, firstRow, status } from './explorer.js';

const COMING_MS_MAX = 60_000;
const here = new URL('..', import.meta.url).pathname;
const folders = ['../../shared/data/loghub', '../../shared/data/elastic', 'fixtures'].map((name) => join(here, name));
const folder = mkdtempSync(join(tmpdir(), 'sawlog-real-'));
const expected = new Set();
for (const from of folders.filter(existsSync)) {
  for (const name of readdirSync(from).filter((one) => /\.log$|_logs$/.test(one))) {
    const text = readFileSync(join(from, name), 'latin1');
    writeFileSync(join(folder, name), text.endsWith('\n') ? text : `${text}\n`, 'latin1');
    expected.add(name);
  }
}

let shipper;
const { open, close, at } = explorer(() => {
  const program = join(dirname(process.env.SAWLOG_BIN), 'sawlog-shipper');
  const args = ['--to', at.node.direct, '--state-dir', join(folder, 'state'), '--path', join(folder, '*log*')];
  shipper = spawn(program, args, { stdio: 'ignore', env: { ...process.env, TZ: 'UTC' } });
});
after(async () => {
  const ended = new Promise((done) => shipper.once('exit', done));
  if (shipper.exitCode === null && shipper.kill()) await ended;
  rmSync(folder, { recursive: true, force: true });
});

test('years of real logs are found, told apart, counted and read in their context', async () => {
  const page = await open('/?from=1990-01-01&tz=UTC');
  // The page is asked again as somebody would: until all of it has come.
  const come = async () => {
    await ask(page, '| stats count() as n by source | sort source');
    await page.getByTestId('run').waitFor();
    await status(page, /\d row/);
    const rows = await page.getByTestId('table').locator('tbody tr').allInnerTexts();
    const counts = rows.map((row) => /([^/\s]+)\s+([\d,]+)\s*$/.exec(row));
    return new Map(counts.filter(Boolean).map(([, name, n]) => [name, Number(n.replaceAll(',', ''))]));
  };
  const end = Date.now() + COMING_MS_MAX;
  let counts = await come();
  while (counts.size < expected.size && Date.now() < end) counts = await come();
  assert.deepEqual([...counts.keys()].sort(), [...expected].sort());

  await ask(page, '', /^500 of [\d,]+ rows/);
  await page.getByTestId('fields').getByRole('button', { name: /^source/ }).click();
  await page.getByTestId('fields').getByText(/\.log/).first().waitFor();

  // A word of real lines, its context, and back.
  await ask(page, 'error OR failed OR exception', /of [\d,]+ rows/);
  await firstRow(page).click();
  await page.getByTestId('to-context').click();
  await page.locator('[data-testid=context-line][data-anchor]').waitFor();
  const lines = await page.getByTestId('context-line').count();
  assert.ok(lines > 5, `${lines} lines around`);
  await page.goBack();

  // What its lines have in common: fewer patterns than lines, and all of the lines.
  await ask(page, 'source:*access*', /of [\d,]+ rows/);
  await page.getByTestId('tab-patterns').click();
  await page.getByTestId('pattern').first().waitFor();
  const told = await page.getByTestId('status').innerText();
  const [, patterns, records] = /([\d,]+) patterns of ([\d,]+) records/.exec(told);
  const number = (text) => Number(text.replaceAll(',', ''));
  assert.ok(number(patterns) < number(records), told);
  await page.getByTestId('tab-records').click();
  await page.getByTestId('layout-json').click();
  assert.match(await firstRow(page).innerText(), /"message"/);
  await close(page);
});
