import { expect, it } from 'vitest';
import { moved, shown, typed } from './time';

it('reads what people type', () => {
  expect(typed('2h', 'UTC')).toBe('-2h');
  expect(typed('-15m', 'UTC')).toBe('-15m');
  expect(typed(' now ', 'UTC')).toBe('now');
  expect(typed('2026-11-23', 'UTC')).toBe('2026-11-23T00:00:00Z');
  expect(typed('2026-11-23 10:05', 'UTC')).toBe('2026-11-23T10:05:00Z');
  expect(typed('2026-11-23T10:05:06.123456789Z', 'UTC')).toBe('2026-11-23T10:05:06.123456789Z');
  expect(typed('2026-11-23T10:05:06+02:00', 'UTC')).toBe('2026-11-23T08:05:06Z');
  expect(typed('1764000000', 'UTC')).toBe('2025-11-24T16:00:00.000Z');
  expect(typed('1764000000123456789', 'UTC')).toBe('2025-11-24T16:00:00.123456789Z');
  expect(typed('yesterdayish', 'UTC')).toBeNull();
  expect(typed('2026-13-45', 'UTC')).toBeNull();
});

it('shows moments', () => {
  expect(shown('2026-11-23T10:05:06.123456789Z', 'UTC')).toBe('2026-11-23 10:05:06.123');
  expect(shown('2026-11-23T10:05:06.123456789Z', 'UTC', 0)).toBe('2026-11-23 10:05:06');
  const local = shown('2026-11-23T10:05:06.123456789Z', 'local');
  expect(typed(local, 'local')).toBe('2026-11-23T10:05:06.123Z');
});

it('moves moments', () => {
  expect(moved('2026-11-23T10:05:06.123456789Z', -3600000)).toBe('2026-11-23T09:05:06.123456789Z');
});
