// A table over time as lines: one for each number, or for each value of a text beside it.

import type { Column, TableRow } from './api';
import { valueText } from './json';
import { msOf } from './time';

export interface Series {
  name: string;
  /** A value for each time; null where there is none. */
  values: (number | null)[];
}

export interface Timeline {
  column: string;
  times: number[];
  series: Series[];
  /** Series that are not drawn. */
  left: number;
}

const SERIES_MAX = 6;

/** Null when the table is not over time. */
export function timeline(columns: Column[], rows: TableRow[]): Timeline | null {
  const time = columns.find((column) => column.type === 'time');
  const numbers = columns.filter((column) => column.type === 'int' || column.type === 'float');
  const texts = columns.filter((column) => column !== time && !numbers.includes(column));
  const [number] = numbers;
  if (!time || !number || texts.length > 1 || (texts.length === 1 && numbers.length > 1))
    return null;
  const at = (row: TableRow) =>
    typeof row[time.name] === 'string' ? msOf(String(row[time.name])) : NaN;
  const times = [...new Set(rows.map(at))].filter(Number.isFinite).toSorted((a, b) => a - b);
  if (times.length < 2) return null;
  const place = new Map(times.map((ms, index) => [ms, index]));
  const found = new Map<string, (number | null)[]>();
  for (const row of rows) {
    const index = place.get(at(row));
    if (index === undefined) continue;
    for (const column of numbers) {
      const name = texts[0] ? valueText(row[texts[0].name]) || '—' : column.name;
      const values = found.get(name) ?? new Array<number | null>(times.length).fill(null);
      const value = row[column.name];
      values[index] = value === null || value === undefined ? null : Number(value);
      found.set(name, values);
    }
  }
  const sum = (values: (number | null)[]) =>
    values.reduce<number>((all, one) => all + (one ?? 0), 0);
  const series = [...found].map(([name, values]) => ({ name, values }));
  const greatest = series.toSorted((a, b) => sum(b.values) - sum(a.values));
  const drawn = greatest.slice(0, SERIES_MAX);
  return { column: time.name, times, series: drawn, left: series.length - drawn.length };
}

/** A longer way between two times, in steps, has times between them that have no rows. */
const GAP_STEPS = 1.5;

/** The points of a line; null where times have no rows, so that it does not run over them. */
export function pointsOf(times: number[], values: (number | null)[]): ([number, number] | null)[] {
  const gap = stepOf(times) * GAP_STEPS;
  return times.flatMap((ms, at) => {
    const value = values[at] ?? null;
    const point: [number, number] | null = value === null ? null : [ms, value];
    return at > 0 && ms - (times[at - 1] ?? 0) > gap ? [null, point] : [point];
  });
}

/** The least distance between two times: how wide a bar is. */
export function stepOf(times: number[]): number {
  let least = Infinity;
  times.forEach((ms, at) => {
    if (at > 0) least = Math.min(least, ms - (times[at - 1] ?? 0));
  });
  return least;
}
