// The table of docs/ui.md names tests that are there.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

test('every behaviour of docs/ui.md names its test', () => {
  const page = readFileSync(new URL('../../docs/ui.md', import.meta.url), 'utf8');
  const rows = [...page.matchAll(/^\| .+ \| `(\w+)` \| (.+) \|$/gm)];
  assert.ok(rows.length >= 50, `only ${rows.length} rows were read`);
  for (const [, file, title] of rows) {
    const tests = readFileSync(new URL(`./${file}.test.js`, import.meta.url), 'utf8');
    assert.ok(tests.includes(`test('${title}'`), `${file}: ${title}`);
  }
});
