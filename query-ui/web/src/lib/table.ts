// A table's rows in another order, and whether they draw as bars.

import type { Column, TableRow } from './api';
import { valueText, type Value } from './json';

export interface Sorting {
  column: string;
  descending: boolean;
}

const isNumber = (value: Value | undefined): value is number | bigint =>
  typeof value === 'number' || typeof value === 'bigint';

/** Numbers by size, everything else as text; what is missing comes last either way. */
export function sorted(rows: TableRow[], sorting: Sorting | null): TableRow[] {
  if (!sorting) return rows;
  const sign = sorting.descending ? -1 : 1;
  const texts = new Intl.Collator('en', { numeric: true });
  return rows.toSorted((one, two) => {
    const [a, b] = [one[sorting.column] ?? null, two[sorting.column] ?? null];
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    if (isNumber(a) && isNumber(b)) return sign * (a < b ? -1 : Number(a > b));
    return sign * texts.compare(valueText(a), valueText(b));
  });
}

/** The one column of numbers beside something that names the rows; drawn as bars. */
export function barColumn(columns: Column[], rows: TableRow[]): string | null {
  const numbers = columns.filter((column) => column.type === 'int' || column.type === 'float');
  const [only] = numbers;
  if (numbers.length !== 1 || !only || columns.length < 2 || rows.length < 2) return null;
  const drawable = rows.every((row) => {
    const value = row[only.name];
    return value === null || (isNumber(value) && value >= 0);
  });
  return drawable ? only.name : null;
}

/** How long each bar is, of 100. */
export function barLength(value: Value | undefined, most: number): number {
  return isNumber(value) && most > 0 ? (Number(value) / most) * 100 : 0;
}

/** The greatest value of a column. */
export function mostOf(rows: TableRow[], column: string): number {
  return rows.reduce((most, row) => Math.max(most, Number(row[column] ?? 0)), 0);
}
