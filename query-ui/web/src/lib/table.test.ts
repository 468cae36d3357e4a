import { describe, expect, it } from 'vitest';
import type { Column } from './api';
import { barColumn, sorted } from './table';

const rows = [
  { host: 'b10', n: 3 },
  { host: 'b9', n: 20 },
  { host: null, n: 1 },
];
const columns: Column[] = [
  { name: 'host', type: 'text' },
  { name: 'n', type: 'int' },
];

describe('a table', () => {
  it('is sorted by numbers and texts, missing ones last', () => {
    const hosts = (descending: boolean, column: string) =>
      sorted(rows, { column, descending }).map((row) => row.host);
    expect(hosts(false, 'n')).toEqual([null, 'b10', 'b9']);
    expect(hosts(true, 'n')).toEqual(['b9', 'b10', null]);
    expect(hosts(false, 'host')).toEqual(['b9', 'b10', null]);
    expect(hosts(true, 'host')).toEqual(['b10', 'b9', null]);
    expect(sorted(rows, null)).toBe(rows);
  });

  it('draws bars for one number beside names', () => {
    expect(barColumn(columns, rows)).toBe('n');
    expect(barColumn([columns[1] as Column], rows)).toBe(null);
    expect(barColumn(columns, [{ host: 'a', n: -1 }, ...rows])).toBe(null);
    expect(barColumn([...columns, { name: 'm', type: 'float' }], rows)).toBe(null);
  });
});
