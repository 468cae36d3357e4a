import { expect, test } from 'vitest';
import type { Column } from './api';
import { pointsOf, stepOf, timeline } from './series';

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

test('a line does not run over times that have no rows', () => {
  const points = pointsOf([0, 60, 120, 600, 660], [1, 2, null, 4, 5]);
  expect(points).toEqual([[0, 1], [60, 2], null, null, [600, 4], [660, 5]]);
  // Months are not of one length.
  expect(pointsOf([0, 28, 59], [1, 2, 3])).toEqual([
    [0, 1],
    [28, 2],
    [59, 3],
  ]);
});
