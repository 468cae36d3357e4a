import { expect, test } from 'vitest';
import { en } from '../messages/en';
import { zh } from '../messages/zh';
import {
  isoOfNanos,
  nanosOf,
  offsetText,
  showLength,
  showMoment,
  showTime,
  zoneText,
} from './time';

const MOMENT = '2026-07-01T22:30:00.123456789Z';

test('a moment is shown on the clock of a zone', () => {
  expect(showTime(MOMENT, 'utc')).toBe('2026-07-01 22:30:00.123');
  expect(showTime(MOMENT, 'Europe/Berlin', 9)).toBe('2026-07-02 00:30:00.123456789');
  expect(showTime(MOMENT, 'Asia/Kolkata', 0)).toBe('2026-07-02 04:00:00');
});

test('nanoseconds survive both ways, also before 1970', () => {
  for (const iso of [MOMENT, '1969-12-31T23:59:59.999999999Z', '1970-01-01T00:00:00.000000000Z'])
    expect(isoOfNanos(nanosOf(iso))).toBe(iso);
});

test('zones say how far they are from UTC', () => {
  expect(offsetText(-12_600_000)).toBe('UTC-3:30');
  expect(zoneText('Europe/Berlin', Date.parse('2026-01-01'))).toBe('Europe/Berlin, UTC+1');
  expect(zoneText('Europe/Berlin', Date.parse(MOMENT.slice(0, 19)))).toBe('Europe/Berlin, UTC+2');
});

test('moments and lengths are as long as they need to be', () => {
  expect(showMoment(Date.parse('2026-07-01T22:30:00Z'), 'utc')).toBe('2026-07-01 22:30');
  expect(showMoment(Date.parse('2026-07-01T22:30:05Z'), 'utc')).toBe('2026-07-01 22:30:05');
  expect(showLength(90_000, en.time.lengths)).toBe('1.5 min');
  expect(showLength(7_200_000, zh.time.lengths)).toBe('2 小时');
});
