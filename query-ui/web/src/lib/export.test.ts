import { expect, test } from 'vitest';
import { curlCommand, exported, exportPath } from './export';

test('columns are asked for once each, odd names in quotes; a table has its own', () => {
  expect(exported({ query: 'error' }, '', ['message', 'my field', 'level']).query).toBe(
    'error | fields timestamp, level, message, "my field"',
  );
  expect(exported({ query: '| stats count()' }, 'n', ['message']).query).toBe('| stats count()');
});

test('what is taken along has the order that is shown', () => {
  expect(exported({ query: '' }, 'timestamp', []).query).toBe('| sort timestamp');
  expect(exported({ query: 'a' }, '-my field', ['message']).query).toBe(
    'a | sort "my field" desc | fields timestamp, level, message',
  );
});

test('a path says everything', () => {
  expect(exportPath({ query: 'a b', from: '-1h' }, 'csv')).toBe(
    '/api/v1/export?query=a+b&from=-1h&format=csv',
  );
});

test('a command survives quotes', () => {
  expect(curlCommand('http://h', { query: `it's "so"` }, 'ndjson')).toBe(
    `curl -sSG --compressed 'http://h/api/v1/export' --data-urlencode 'query=it'\\''s "so"' --data-urlencode 'format=ndjson' -o sawlog.ndjson`,
  );
});
