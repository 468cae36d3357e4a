// What could stand where the caret is, as the node says it, and what a choice puts there.

import * as api from './api';
import { quoted } from './query';
import { showShare } from './text';
import type { Fields, Parsed, Question } from './wire';

export interface Completion {
  text: string;
  kind: Parsed['completions'][number]['kind'];
  /** In how many records it is, as far as that is known. */
  count: number;
  insert: string;
  note: string;
  /** What it replaces, in UTF-16 units. */
  start: number;
  end: number;
}

/** Something that is probably not meant: a field that no record has. */
export interface Warning {
  start: number;
  end: number;
  message: string;
}

/** As many as the node offers at once: there may be more. */
export const OFFERED_MAX = 50;

/** Behind these something can be offered before its first letter is typed. */
const OPEN = /(?:[|(,:]|\bby)\s*$/;
const WORD = /[\p{L}\p{N}_.@"/-]$/u;

/** Whether something is being written at the end of a text. */
export const isOpen = (before: string) => WORD.test(before) || OPEN.test(before);

/** Characters of a text, as the node counts them, before a place in UTF-16 units. */
export const pointsBefore = (text: string, at: number) => [...text.slice(0, at)].length;

/** The place in UTF-16 units behind so many characters. */
function unitsBehind(text: string, points: number): number {
  let at = 0;
  for (const character of text) {
    if (points-- <= 0) break;
    at += character.length;
  }
  return at;
}

const plainName = (name: string) =>
  /^[\p{L}_@$]([\p{L}\p{N}_.@$-]*[\p{L}\p{N}_])?$/u.test(name) ? name : `"${name}"`;

/** The range of which all is known, and what. */
let known: { range: string; fields: Promise<Fields | null> } | null = null;

/** The fields of every record in the range, for their types; asked once for each range. */
export function everything({ from, to }: Question): Promise<Fields | null> {
  const asked = { query: '', ...(from && { from }), ...(to && { to }) };
  const range = JSON.stringify(asked);
  if (known?.range !== range) {
    const fields = api.fields(asked).catch(() => {
      known = null;
      return null;
    });
    known = { range, fields };
  }
  return known.fields;
}

/** The share of all records that have it, and its types. */
export function about({ text, kind, count }: Completion, all: Fields | null): string {
  if (!all || !count) return '';
  const types = all.fields.find((field) => kind === 'field' && field.name === text)?.types ?? [];
  return ['', showShare(Math.min(count, all.records), all.records), ...types].join(' · ');
}

/** What the node offers, fit to be put into the text it was asked about. */
export function completions(
  parsed: Parsed,
  query: string,
  records: (count: number) => string,
): Completion[] {
  const characters = [...query];
  const isPiped = (start: number) =>
    parsed.tokens.some((token) => token.end <= start && characters[token.start] === '|');
  return parsed.completions.map(({ text, kind, start, end, detail }) => {
    const [, count] = /^(\d+) records$/.exec(detail) ?? [];
    const inserts = {
      field: () => (isPiped(start) ? plainName(text) : `${plainName(text)}:`),
      value: () => `${quoted(text)} `,
      pipe: () => `${characters[start - 1] === '|' ? ' ' : ''}${text} `,
      function: () => text,
      keyword: () => `${text} `,
    };
    return {
      text,
      kind,
      count: Number(count ?? 0),
      insert: inserts[kind](),
      note: count ? records(Number(count)) : detail,
      start: unitsBehind(query, start),
      end: unitsBehind(query, end),
    };
  });
}

/**
 * What stays of an offer after more was typed; null when the node must be asked again: something
 * else is being written, or it did not offer everything.
 */
export function narrowed(
  offered: Completion[],
  was: string,
  query: string,
  caret: number,
): Completion[] | null {
  const [first] = offered;
  if (!first || offered.length >= OFFERED_MAX || caret <= first.end) return null;
  const added = query.slice(first.end, caret);
  const isSame = query.slice(0, first.end) + query.slice(caret) === was;
  if (!isSame || !/^[\p{L}\p{N}_.@-]+$/u.test(added)) return null;
  const typed = query.slice(first.start, caret).replace(/^"/, '');
  const lower = typed.toLowerCase();
  return offered
    .filter(({ text }) => text !== typed && text.toLowerCase().includes(lower))
    .map((one) => ({ ...one, end: caret }));
}

/** Fields that no record has, unless one is still being typed. */
export function warnings(parsed: Parsed, query: string, caret: number): Warning[] {
  return parsed.diagnostics
    .filter(({ severity }) => severity === 'warning')
    .map(({ start, end, message, hint }) => ({
      start: unitsBehind(query, start),
      end: unitsBehind(query, end),
      message: [message, hint].filter(Boolean).join(': '),
    }))
    .filter(({ start, end }) => caret < start || caret > end);
}
