import { expect, test } from 'vitest';
import { address, DEFAULT, readView, type View } from './view';

test('the built-in view needs no address', () => {
  expect(address(DEFAULT)).toBe('');
  expect(readView('')).toEqual(DEFAULT);
});

test('every part of a view survives the address', () => {
  const view: View = {
    query: 'a "b|c" | stats count()',
    from: '2026-01-01T00:00:00Z',
    to: '2026-01-02T00:00:00Z',
    zone: 'Asia/Tokyo',
    layout: 'json',
    tab: 'patterns',
    columns: ['a,b', '100%', 'message'],
    open: '0-1f',
    trace: 'trace_id:7',
    context: '0-2a',
    around: '50,host',
    sort: '-took_ms',
    chart: false,
    tail: true,
    draw: 'bar',
  };
  expect(readView(address(view))).toEqual(view);
});

test('all of time is told from the usual range', () => {
  const all = { ...DEFAULT, from: '', to: '' };
  expect(address(all)).toBe('?from=');
  expect(readView('?from=').from).toBe('');
  expect(readView('?to=5').from).toBe('');
});

test('an address of somebody else is read without trust', () => {
  expect(readView('?view=evil&draw=x&cols=%25E0%2C').layout).toBe('line');
  expect(readView('?tz=Nowhere/Else').zone).toBe('local');
});
