import { expect, test } from 'vitest';
import type { Column } from './api';
import { stepOf, timeline } from './series';

const columns: Column[] = [
  { name: 'level', type: 'text' },
  { name: 'timestamp', type: 'time' },
  { name: 'n', type: 'int' },
];
const at = (minute: number) => `2026-11-23T10:0${minute}:00.000000000Z`;

test('a text beside time and number makes a line for each of its values', () => {
  const rows = [
    { level: 'info', timestamp: at(0), n: 1 },
    { level: 'error', timestamp: at(1), n: 9 },
    { level: 'info', timestamp: at(1), n: 3 },
  ];
  const line = timeline(columns, rows);
  expect(line?.series).toEqual([
    { name: 'error', values: [null, 9] },
    { name: 'info', values: [1, 3] },
  ]);
  expect(stepOf(line?.times ?? [])).toBe(60_000);
});

test('what is not over time is no line', () => {
  expect(timeline(columns.slice(0, 1), [])).toBeNull();
  expect(timeline(columns, [{ level: 'info', timestamp: at(0), n: 1 }])).toBeNull();
});
