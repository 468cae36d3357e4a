import { expect, test } from 'vitest';
import { linePath, roundUp, roundUpCount, stackedPaths, timeTicks } from './plot';

test('bars lie upon each other, the gravest at the bottom', () => {
  const buckets = [
    { start: '', total: 4, levels: { error: 1, info: 3 } },
    { start: '', total: 0, levels: {} },
  ];
  expect(stackedPaths(buckets, ['error', 'info'], 200, 40, 4)).toEqual([
    { level: 'error', path: 'M0.0 30.0h99.0v10.0h-99.0z' },
    { level: 'info', path: 'M0.0 0.0h99.0v30.0h-99.0z' },
  ]);
});

test('axes end at round numbers', () => {
  expect([0, 1, 3, 17, 20, 51, 1200].map(roundUp)).toEqual([1, 1, 3, 20, 20, 60, 1500]);
  expect([0, 1, 3, 5, 15, 150].map(roundUpCount)).toEqual([2, 2, 4, 6, 20, 150]);
});

test('ticks stand on round times of the zone, and name a new day', () => {
  const from = Date.parse('2026-11-22T21:30:00Z');
  const texts = (zone: string) =>
    timeTicks(from, from + 6 * 3_600_000, 8, zone).map(({ text }) => text);
  expect(texts('utc')).toEqual(['22:00', '23:00', '11-23', '01:00', '02:00', '03:00']);
  expect(texts('Asia/Kolkata').slice(0, 2)).toEqual(['03:00', '04:00']);
});

test('ticks are never more than there is room for, however long the time', () => {
  for (const years of [1, 4, 57, 300])
    for (const most of [1, 3, 12])
      expect(timeTicks(0, years * 365.25 * 86_400_000, most, 'utc').length).toBeLessThanOrEqual(
        most + 1,
      );
  expect(timeTicks(0, 0, 0, 'utc').length).toBe(1);
});

test('a line has gaps where values are missing', () => {
  expect(linePath([[0, 1], [1, 2], null, [3, 4]])).toBe('M0.0 1.0L1.0 2.0M3.0 4.0h0');
});
