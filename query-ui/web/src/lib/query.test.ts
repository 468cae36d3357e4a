import { describe, expect, it } from 'vitest';
import { lines } from './api';
import { fieldTerm, indexOf, quoted, withTerm } from './query';

describe('edits of the query', () => {
  it('quotes what needs quotes', () => {
    expect(quoted('web1')).toBe('web1');
    expect(quoted('a b')).toBe('"a b"');
    expect(quoted('say "hi" \\')).toBe('"say \\"hi\\" \\\\"');
    expect(quoted('OR')).toBe('"OR"');
    expect(quoted('-x')).toBe('"-x"');
    expect(quoted('12:30')).toBe('"12:30"');
  });

  it('adds terms to the search, not behind the pipes', () => {
    expect(withTerm('', 'a:b')).toBe('a:b');
    expect(withTerm('error', 'a:b')).toBe('error a:b');
    expect(withTerm('x OR y', 'a:b')).toBe('(x OR y) a:b');
    expect(withTerm('"a|b" | stats count()', 'x:1')).toBe('"a|b" x:1 | stats count()');
  });

  it('names fields', () => {
    expect(fieldTerm('status', 200, false)).toBe('status:200');
    expect(fieldTerm('my field', 'a b', true)).toBe('NOT "my field":"a b"');
  });
});

describe('streamed lines', () => {
  it('come whole, however they are cut', async () => {
    const bytes = new TextEncoder().encode('{"a":"é"}\n\n{"b":2}');
    const body = new ReadableStream<Uint8Array>({
      start(out) {
        for (const byte of bytes) out.enqueue(Uint8Array.of(byte));
        out.close();
      },
    });
    const found: string[] = [];
    for await (const together of lines(body)) found.push(...together);
    expect(found).toEqual(['{"a":"é"}', '{"b":2}']);
  });
});

it('a value is not taken for an expression', () => {
  for (const value of ['/a+b/', '=x', '500..599', '-1'])
    expect(fieldTerm('f', value, false)).toBe(`f:"${value}"`);
});

it('knows the index that it is about', () => {
  const of = (query: string) => indexOf(query);
  expect(of('index:web error')).toBe('web');
  expect(of('error index:"web-*" | stats count()')).toBe('web-*');
  expect(of('my.index:web')).toBe('');
  expect(of('NOT index:web -index:web')).toBe('');
  expect(of('error | where index == "a"')).toBe('');
});
