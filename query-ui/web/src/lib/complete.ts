// What could stand where the caret is.

import type { Field } from './api';
import { quoted } from './query';
import { FUNCTIONS, tokens, VERBS, type Token } from './tokens';

export interface Place {
  kind: 'field' | 'value' | 'verb' | 'column';
  /** For a value: its field. */
  field: string;
  prefix: string;
  /** What a completion replaces. */
  start: number;
  end: number;
}

export interface Completion {
  text: string;
  insert: string;
  note: string;
}

const SHOWN_MAX = 12;

/** What is being written at the caret; null where nothing could be offered. */
export function placeAt(query: string, caret: number): Place | null {
  const all = tokens(query);
  const at = all.findIndex((token) => token.start < caret && caret <= token.end);
  const token = all[at];
  const before = all.slice(0, at < 0 ? undefined : at).filter((other) => other.end <= caret);
  const piped = before.some((other) => other.kind === 'pipe') || token?.kind === 'pipe';
  if (!token) {
    const last = before.at(-1);
    return last?.kind === 'pipe' ? blank('verb', caret) : null;
  }
  const prefix = query.slice(token.start, caret);
  const place = { field: '', prefix, start: token.start, end: token.end };
  if (token.kind === 'pipe') return blank('verb', caret);
  if (token.kind === 'value') return { ...place, kind: 'value', field: token.field ?? '' };
  if (token.text === ':' && !piped) return afterColon(all, at, caret);
  if (token.kind === 'verb' && before.at(-1)?.kind === 'pipe') return { ...place, kind: 'verb' };
  if (token.kind === 'bracket') return piped && token.text === '(' ? blank('column', caret) : null;
  if (piped) return token.kind === 'operator' ? null : { ...place, kind: 'column' };
  if (token.kind !== 'word' && token.kind !== 'field') return null;
  const sign = /^[-!]*/.exec(token.text)?.[0].length ?? 0;
  if (caret <= token.start + sign) return null;
  return { ...place, kind: 'field', start: token.start + sign, prefix: prefix.slice(sign) };
}

function blank(kind: Place['kind'], caret: number): Place {
  return { kind, field: '', prefix: '', start: caret, end: caret };
}

function afterColon(all: Token[], at: number, caret: number): Place | null {
  const field = all[at - 1];
  if (field?.kind !== 'field') return null;
  const name = field.text.replace(/^[-!]+/, '').replace(/^"|"$/g, '');
  return { ...blank('value', caret), field: name };
}

/** Those that begin with the prefix, then those that hold it. */
function matching<T>(all: T[], textOf: (one: T) => string, prefix: string): T[] {
  const wanted = prefix.replace(/^"/, '').toLowerCase();
  const rank = (one: T) => textOf(one).toLowerCase().indexOf(wanted);
  return all
    .filter((one) => rank(one) >= 0)
    .toSorted((a, b) => Math.min(1, rank(a)) - Math.min(1, rank(b)))
    .slice(0, SHOWN_MAX);
}

export function names(
  fields: Field[],
  place: Place,
  share: (count: number) => string,
): Completion[] {
  const own = ['level', 'message', 'index', 'timestamp'].map((name) => ({
    name,
    types: [] as string[],
    count: 0,
  }));
  const all = [
    ...fields,
    ...own.filter(({ name }) => !fields.some((field) => field.name === name)),
  ];
  const found = matching(all, ({ name }) => name, place.prefix).map(({ name, types, count }) => ({
    text: name,
    insert: place.kind === 'field' ? `${plainName(name)}:` : plainName(name),
    note: count ? `${types.join(', ')} · ${share(count)}` : '',
  }));
  if (place.kind !== 'column') return found;
  const functions = matching(FUNCTIONS, (name) => name, place.prefix);
  return [
    ...functions.map((name) => ({ text: `${name}()`, insert: `${name}(`, note: '' })),
    ...found,
  ].slice(0, SHOWN_MAX);
}

const plainName = (name: string) =>
  /^[\p{L}_@$]([\p{L}\p{N}_.@$-]*[\p{L}\p{N}_])?$/u.test(name) ? name : `"${name}"`;

export function verbs(place: Place): Completion[] {
  return matching(VERBS, (name) => name, place.prefix).map((name) => ({
    text: name,
    insert: `${place.start === place.end ? ' ' : ''}${name} `,
    note: '',
  }));
}

export function values(
  found: { text: string; count: number }[],
  place: Place,
  share: (count: number) => string,
): Completion[] {
  return matching(found, ({ text }) => text, place.prefix).map(({ text, count }) => ({
    text,
    insert: `${quoted(text)} `,
    note: share(count),
  }));
}
