import { expect, test } from 'vitest';
import {
  about,
  completions,
  isOpen,
  narrowed,
  OFFERED_MAX,
  pointsBefore,
  warnings,
} from './complete';
import type { Fields, Parsed } from './wire';

type Offer = [
  text: string,
  kind: Parsed['completions'][number]['kind'],
  start: number,
  end: number,
];

/** What the node would say, with the pipes of the text as tokens. */
function parsed(query: string, ...offers: Offer[]): Parsed {
  const tokens = [...query].flatMap((c, at) =>
    c === '|' ? [{ start: at, end: at + 1, kind: 'bracket' as const }] : [],
  );
  const said = offers.map(([text, kind, start, end]) => ({
    text,
    kind,
    start,
    end,
    detail: '5 records',
  }));
  return { kind: 'records', tokens, diagnostics: [], completions: said };
}
const inserts = (query: string, ...offers: Offer[]) =>
  completions(parsed(query, ...offers), query, String).map(({ insert }) => insert);

test('something is offered while a word is written, and where a new one must begin', () => {
  for (const text of [
    'us',
    'user:',
    'user:"a',
    'a |',
    'a | ',
    'stats count(',
    'x by ',
    'source:/var/',
  ])
    expect(isOpen(text), text).toBe(true);
  for (const text of ['', 'error ', 'count() ']) expect(isOpen(text), text).toBe(false);
});

test('a field is ready for its value in a search, and bare behind a pipe; odd names are quoted', () => {
  expect(inserts('us', ['user', 'field', 0, 2], ['my field', 'field', 0, 2])).toEqual([
    'user:',
    '"my field":',
  ]);
  expect(inserts('a | sort us', ['user', 'field', 9, 11])).toEqual(['user']);
});

test('values are quoted where they must be, pipes stand off the sign, functions wait for what they take', () => {
  expect(inserts('user:', ['al b', 'value', 5, 5], ['Bea', 'value', 5, 5])).toEqual([
    '"al b" ',
    'Bea ',
  ]);
  expect(inserts('a |', ['sort', 'pipe', 3, 3])).toEqual([' sort ']);
  expect(inserts('a | so', ['sort', 'pipe', 4, 6])).toEqual(['sort ']);
  expect(inserts('| stats c', ['count(', 'function', 8, 9])).toEqual(['count(']);
});

test('places are counted in characters by the node, in units by the page', () => {
  expect(pointsBefore('🦀 us', 5)).toBe(4);
  const [one] = completions(parsed('🦀 us', ['user', 'field', 2, 4]), '🦀 us', String);
  expect(one).toMatchObject({ start: 3, end: 5, note: '5' });
});

test('an offer that was complete is narrowed here; another word is a new question', () => {
  const offered = completions(
    parsed('us', ['user', 'field', 0, 2], ['used', 'field', 0, 2]),
    'us',
    String,
  );
  expect(narrowed(offered, 'us', 'use', 3)?.map(({ text, end }) => [text, end])).toEqual([
    ['user', 3],
    ['used', 3],
  ]);
  expect(narrowed(offered, 'us', 'usER', 4)?.map(({ text }) => text)).toEqual(['user']);
  expect(narrowed(offered, 'us', 'user', 4)).toEqual([]);
  expect(narrowed(offered, 'us', 'us ', 3)).toBeNull();
  expect(narrowed(offered, 'us', 'u', 1)).toBeNull();
  expect(narrowed(offered, 'us', 'bus', 3)).toBeNull();
  const many = Array.from({ length: OFFERED_MAX }, () => offered[0]!);
  expect(narrowed(many, 'us', 'use', 3)).toBeNull();
});

test('an offer tells its share of all records, a field its types', () => {
  const [field, value] = completions(
    parsed('us', ['user', 'field', 0, 2], ['user', 'value', 0, 2]),
    'us',
    String,
  );
  const fields = [{ name: 'user', types: ['int', 'text'], label: false, count: 5 }];
  const all = { records: 20, fields, partial: [], stats: {} } as unknown as Fields;
  expect(about(field!, all)).toBe(' · 25 % · int · text');
  expect(about(value!, all)).toBe(' · 25 %');
  expect(about(field!, null)).toBe('');
});

test('a field that no record has is told when it is written', () => {
  const said = parsed('lvel:info x');
  said.diagnostics = [
    {
      severity: 'warning',
      start: 0,
      end: 4,
      message: 'no record has a field "lvel"',
      expected: [],
      hint: 'did you mean level?',
    },
    { severity: 'error', start: 0, end: 4, message: 'wrong', expected: [], hint: null },
  ];
  expect(warnings(said, 'lvel:info x', 4)).toEqual([]);
  expect(warnings(said, 'lvel:info x', 11)).toEqual([
    { start: 0, end: 4, message: 'no record has a field "lvel": did you mean level?' },
  ]);
});
