import { expect, test } from 'vitest';
import type { Column } from './api';
import { drill, groups } from './drill';

const columns = (...names: string[]): Column[] => names.map((name) => ({ name, type: 'text' }));

test('groups are fields and bins of time', () => {
  expect(groups('error | stats count() as n by host, bin(timestamp, 5m) | sort n')).toEqual([
    { column: 'host', field: 'host', binMs: null },
    { column: 'timestamp', field: 'timestamp', binMs: 300_000 },
  ]);
  expect(groups('error | stats count()')).toEqual([]);
  expect(groups('error')).toBeNull();
});

test('a row leads to its records', () => {
  const query = 'error | stats count() as n by host, bin(timestamp, 5m)';
  const row = { host: 'web 1', timestamp: '2026-11-23T10:00:00.000000000Z', n: 3 };
  expect(drill(query, columns('host', 'timestamp', 'n'), row)).toEqual({
    query: 'error host:"web 1"',
    from: '2026-11-23T10:00:00.000Z',
    to: '2026-11-23T10:05:00.000Z',
  });
});

test('a group without a value leads to records that lack the field', () => {
  expect(drill('| stats count() by user', columns('user', 'count'), { user: null })).toEqual({
    query: 'NOT user:*',
  });
});

test('a row whose group is not shown leads nowhere', () => {
  expect(drill('| stats count() as n by user | fields n', columns('n'), { n: 1 })).toBeNull();
});

test('timechart groups by time, top and rare by what they count', () => {
  expect(groups('| timechart 5m count() by level')).toEqual([
    { column: 'timestamp', field: 'timestamp', binMs: 300_000 },
    { column: 'level', field: 'level', binMs: null },
  ]);
  expect(groups('error | top 5 service, status | limit 2')).toEqual([
    { column: 'service', field: 'service', binMs: null },
    { column: 'status', field: 'status', binMs: null },
  ]);
});

test('where the node chose how long a bin is, the rows tell', () => {
  const row = (minute: string) => ({ timestamp: `2026-01-01T00:${minute}:00Z`, count: 1 });
  const rows = [row('10'), row('00'), row('05')];
  const columnsOfIt = columns('timestamp', 'count');
  expect(drill('x | timechart count()', columnsOfIt, row('05'), rows)).toEqual({
    query: 'x',
    from: '2026-01-01T00:05:00.000Z',
    to: '2026-01-01T00:10:00.000Z',
  });
  expect(drill('x | timechart count()', columnsOfIt, row('05'), [row('05')])).toBeNull();
});
