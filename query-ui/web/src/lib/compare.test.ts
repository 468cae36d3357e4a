import { expect, test } from 'vitest';
import { differences, otherTimes } from './compare';

const counts = (all: Record<string, number>) =>
  new Map(Object.entries(all).map(([value, count]) => [value, { value, count }]));

test('a time cut out of another is compared with the rest of it', () => {
  expect(otherTimes({ from: 40, to: 50 }, { from: 0, to: 100 })).toEqual([
    { from: 0, to: 40 },
    { from: 50, to: 100 },
  ]);
  expect(otherTimes({ from: 90, to: 100 }, { from: 0, to: 100 })).toEqual([{ from: 0, to: 90 }]);
});

test('any other time is compared with the one before', () => {
  expect(otherTimes({ from: 40, to: 50 }, null)).toEqual([{ from: 30, to: 40 }]);
  expect(otherTimes({ from: 40, to: 50 }, { from: 45, to: 100 })).toEqual([{ from: 30, to: 40 }]);
});

test('shares are compared, not counts; the most different comes first', () => {
  const found = differences('host', counts({ a: 9, b: 1 }), counts({ a: 900, b: 50, c: 50 }), {
    inside: 10,
    outside: 1000,
  });
  expect(found.map(({ text }) => text)).toEqual(['b', 'c']);
  expect(found[0]).toMatchObject({ insideShare: 0.1, outsideShare: 0.05, term: 'host:b' });
});
