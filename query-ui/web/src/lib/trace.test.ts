import { expect, test } from 'vitest';
import type { LogRecord } from './api';
import { steps, tracesBy } from './trace';

test('names of what requests share are known in many spellings', () => {
  const yes = [
    'trace_id',
    'traceId',
    'http.request_id',
    'x-request-id',
    'correlation-id',
    'req.id',
  ];
  expect(yes.filter((name) => !tracesBy(name))).toEqual([]);
  expect(['user_id', 'id', 'retrace', 'request'].filter(tracesBy)).toEqual([]);
});

const record = (timestamp: string, service: string): LogRecord => ({
  id: timestamp,
  timestamp,
  ingest_time: timestamp,
  index: 'main',
  level: 'info',
  message: '',
  labels: { service },
  fields: {},
});

test('steps tell what passed since the first and since the one before', () => {
  const all = steps([
    record('2026-01-01T00:00:00.000000000Z', 'web'),
    record('2026-01-01T00:00:00.000000500Z', 'api'),
    record('2026-01-01T00:00:00.100000000Z', 'bank'),
  ]);
  expect(all.map(({ service }) => service)).toEqual(['web', 'api', 'bank']);
  expect(all[1]?.gapMs).toBeCloseTo(0.0005);
  expect(all[2]?.offsetMs).toBe(100);
  expect(all.map(({ isLong }) => isLong)).toEqual([false, false, true]);
  expect(all.map(({ place }) => Math.round(place))).toEqual([0, 0, 1]);
});
