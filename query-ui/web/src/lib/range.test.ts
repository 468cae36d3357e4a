import { expect, test } from 'vitest';
import { readRange, resolve } from './range';

// A Monday, half past three in Berlin.
const NOW = Date.parse('2026-11-23T14:30:00Z');

function check(typed: string, from: string, to: string, zone = 'utc') {
  const range = readRange(typed, NOW, zone);
  const end = (text: string) => (/^\d/.test(text) ? text.replace(/(:00)?\.000Z$/, 'Z') : text);
  expect(range && [end(range.from), end(range.to)], typed).toEqual([from, to]);
}

test('lengths are so long ago until now', () => {
  check('2h', '-2h', '');
  check('1h30m', '-1h30m', '');
  check('last 90 minutes', '-90m', '');
  check('Past 3 days', '-3d', '');
  check('最近2小时', '-2h', '');
});

test('days and hours are those of the zone', () => {
  check('yesterday 9-10', '2026-11-22T09:00Z', '2026-11-22T10:00Z');
  check('yesterday 9-10', '2026-11-22T08:00Z', '2026-11-22T09:00Z', 'Europe/Berlin');
  check('昨天 9-10', '2026-11-22T09:00Z', '2026-11-22T10:00Z');
  check('9:30-10:15', '2026-11-23T09:30Z', '2026-11-23T10:15Z');
  check('1pm-2pm', '2026-11-23T13:00Z', '2026-11-23T14:00Z');
  check('today', '2026-11-23T00:00Z', '');
  check('yesterday', '2026-11-22T00:00Z', '2026-11-23T00:00Z');
  check('2026-10-25', '2026-10-24T22:00Z', '2026-10-25T23:00Z', 'Europe/Berlin');
  check('2026-11-20 9-10', '2026-11-20T09:00Z', '2026-11-20T10:00Z');
});

test('two ends are read in any way they are written', () => {
  check('2026-11-20T10:00:00Z to 2026-11-21', '2026-11-20T10:00Z', '2026-11-22T00:00Z');
  check('2026-11-20 10:00 .. 11:30', '2026-11-20T10:00Z', '2026-11-20T11:30Z');
  check('2026-11-20 10:00 - 2026-11-20 11:00', '2026-11-20T10:00Z', '2026-11-20T11:00Z');
  check('2h ago to 1h ago', '2026-11-23T12:30Z', '2026-11-23T13:30Z');
  check('9:00 to now', '2026-11-23T09:00Z', '');
  check('1763899200 to 1763902800000', '2025-11-23T12:00Z', '2025-11-23T13:00Z');
});

test('a moment shows what is around it, also as an epoch number', () => {
  check('2026-11-23T12:00:00+02:00', '2026-11-23T09:55Z', '2026-11-23T10:05Z');
  for (const epoch of ['1763899200', '1763899200000', '1763899200000000', '1763899200000000000'])
    check(epoch, '2025-11-23T11:55Z', '2025-11-23T12:05Z');
});

test('what says no range is none', () => {
  for (const text of ['soon', '10-9', '2026-13-40', '5 parsecs', '25:00-26:00'])
    expect(readRange(text, NOW, 'utc'), text).toBeNull();
});

test('ends become milliseconds', () => {
  expect(resolve({ from: '-1h', to: '' }, NOW)).toEqual({ from: NOW - 3_600_000, to: null });
  expect(resolve({ from: '', to: 'now' }, NOW)).toEqual({ from: null, to: NOW });
  // No time, or none that a clock can show: the node has the last word.
  for (const text of ['all', '0', '-2x', '-99999999999d', '2026-99-99'])
    expect(resolve({ from: text, to: text }, NOW), text).toEqual({ from: null, to: null });
});
