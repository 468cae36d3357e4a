import { expect, test } from 'vitest';
import { plain, runs } from './ansi';
import { Marks } from './highlight';
import { lookalikes } from './lookalikes';
import { oneLine, shortCount, showBytes, shown, showShare } from './text';

test('characters that look like others are named, outside of quotes', () => {
  expect(lookalikes('a\u00a0b “x” "\u200b"').map(({ at, code }) => [at, code])).toEqual([
    [1, 'U+00A0'],
    [4, 'U+201C'],
    [6, 'U+201D'],
  ]);
});

test('what cannot be seen is shown', () => {
  expect(shown('a\u0000b\u202ec\td\r\n')).toBe('a␀b⟨U+202E⟩c\td\n');
  expect(oneLine('a\n  b')).toBe('a ⏎ b');
});

test('counts, sizes and shares are short', () => {
  expect([shortCount(1234), shortCount(12_000_000), shortCount(7)]).toEqual(['1.2k', '12M', '7']);
  expect([showBytes(10), showBytes(1536), showBytes(1_300_000)]).toEqual([
    '10 B',
    '1.5 KiB',
    '1.2 MiB',
  ]);
  expect([showShare(1, 5000), showShare(1, 3), showShare(0, 0)]).toEqual([
    '< 0.1 %',
    '33 %',
    '0 %',
  ]);
});

test('terminal colours become runs; other sequences vanish', () => {
  const text =
    '\u001b[1;31mred\u001b[0m plain\u001b[2J\u001b]0;title\u0007\u001b[38;5;2mgreen\u001b[38;2;1;2;3mrgb';
  expect(runs(text)).toEqual([
    { text: 'red', style: 'bold fg-1' },
    { text: ' plain', style: '' },
    { text: 'green', style: 'fg-2' },
    { text: 'rgb', style: '' },
  ]);
  expect(plain(text)).toBe('red plaingreenrgb');
});

function marks(query: string, text: string, field?: string): string[] {
  return new Marks(query).pieces(text, field).flatMap((piece) => (piece.mark ? [piece.text] : []));
}

test('whole words are marked in any case, not parts of words', () => {
  expect(marks('err', 'terror ERR=7 err')).toEqual(['ERR', 'err']);
  expect(marks('10.0.0.1', '110.0.0.1 10.0.0.1')).toEqual(['10.0.0.1']);
  expect(marks('time*out', 'timeout timed-out')).toEqual(['timeout', 'timed-out']);
  expect(marks('日志', '今日日志')).toEqual(['日志']);
});

test('what is left out is not marked', () => {
  expect(marks('a -b NOT c !d', 'a b c d')).toEqual(['a']);
  expect(marks('x | stats count() by y', 'x y count')).toEqual(['x']);
});

test('values are marked in their field only', () => {
  expect(marks('user:alice', 'alice', 'user')).toEqual(['alice']);
  expect(marks('user:alice', 'alice')).toEqual([]);
  expect(marks('-user:alice', 'alice', 'user')).toEqual([]);
});
