import { expect, test } from 'vitest';
import { Heights } from './heights';

function placed(count: number): Heights {
  const heights = new Heights();
  const keys = Array.from({ length: count }, (_, at) => `row ${at}`);
  heights.place(keys, () => 20);
  return heights;
}

test('rows lie where their estimates put them', () => {
  const heights = placed(100);
  expect(heights.total).toBe(2000);
  expect(heights.rowAt(0)).toBe(0);
  expect(heights.rowAt(19.9)).toBe(0);
  expect(heights.rowAt(20)).toBe(1);
  expect(heights.rowAt(99_999)).toBe(99);
});

test('a measured row moves those below it and none above', () => {
  const heights = placed(100);
  expect(heights.measured([[10, 50]])).toBe(true);
  expect(heights.measured([[10, 50.2]])).toBe(false);
  expect(heights.start(10)).toBe(200);
  expect(heights.start(11)).toBe(250);
  expect(heights.total).toBe(2030);
});

test('rows keep their measured heights when others come before them', () => {
  const heights = placed(3);
  heights.measured([[1, 70]]);
  heights.place(['new', 'row 0', 'row 1', 'row 2'], () => 20);
  expect(heights.heightOf(2)).toBe(70);
  expect(heights.total).toBe(130);
});

test('no rows are no height', () => {
  const heights = placed(0);
  expect([heights.total, heights.rowAt(50), heights.start(3)]).toEqual([0, 0, 0]);
});
