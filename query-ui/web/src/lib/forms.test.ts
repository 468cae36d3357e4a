import { expect, test } from 'vitest';
import { timeForms } from './forms';

test('a moment is told in every form, with every digit', () => {
  expect(timeForms('2026-11-28T19:24:49.000000001Z', 'Asia/Kolkata')).toEqual([
    ['utc', '2026-11-28T19:24:49.000000001Z'],
    ['zoned', '2026-11-29T00:54:49.000000001+05:30'],
    ['seconds', '1795893889.000000001'],
    ['millis', '1795893889000'],
    ['nanos', '1795893889000000001'],
  ]);
  const before = Object.fromEntries(timeForms('1969-12-31T23:59:59.5Z', 'America/New_York'));
  expect(before).toMatchObject({ zoned: '1969-12-31T18:59:59.500000000-05:00' });
  expect(before).toMatchObject({ seconds: '-0.500000000', millis: '-500', nanos: '-500000000' });
});
