// What of a text a query found: the words, phrases and values it asks for, marked.

import { runs } from './ansi';
import { shown } from './text';
import { searchPart, tokens, type Token } from './tokens';

export interface Piece {
  text: string;
  style: string;
  mark: boolean;
}

const WORD = '[\\p{L}\\p{N}_]';

function pattern(written: string): string {
  const inQuotes = /^"((?:[^"\\]|\\.)*)"?$/.exec(written)?.[1];
  const isPhrase = inQuotes !== undefined;
  const text = isPhrase
    ? inQuotes.replace(/\\(.)/g, (_all, c: string) => ({ n: '\n', t: '\t' })[c] ?? c)
    : written;
  if (!text || (!isPhrase && /^\*+$/.test(text))) return '';
  const parts = isPhrase ? [text] : text.split(/(?<!\\)\*/);
  const escaped = parts.map((part) =>
    part.replace(/\\\*/g, '*').replace(/[.*+?^${}()|[\]\\/]/g, '\\$&'),
  );
  const starts =
    !isPhrase && text.startsWith('*') ? '' : /^[\p{L}\p{N}_]/u.test(text) ? `(?<!${WORD})` : '';
  const ends =
    !isPhrase && text.endsWith('*') ? '' : /[\p{L}\p{N}_]$/u.test(text) ? `(?!${WORD})` : '';
  // Scripts without spaces between words are found at any place.
  const isOpen = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]/u.test(text);
  return isOpen ? escaped.join('\\S*') : starts + escaped.join('\\S*') + ends;
}

/** The marks of a query: in every text, and in the values of single fields. */
export class Marks {
  private anywhere: RegExp | null;
  private fields = new Map<string, RegExp>();

  constructor(query: string) {
    const all = tokens(searchPart(query));
    const anywhere: string[] = [];
    const fields = new Map<string, string[]>();
    all.forEach((token, at) => {
      const inMessage = token.kind === 'value' && token.field === 'message';
      if (negated(all, at)) return;
      const wanted = pattern(token.text.replace(/^[-!]+/, ''));
      if (!wanted) return;
      if (token.kind === 'word' || token.kind === 'text' || inMessage) anywhere.push(wanted);
      else if (token.kind === 'value' && all[at - 1]?.text === ':' && token.field)
        fields.set(token.field, [...(fields.get(token.field) ?? []), wanted]);
    });
    this.anywhere = union(anywhere);
    for (const [name, patterns] of fields) {
      const joined = union([...patterns, ...anywhere]);
      if (joined) this.fields.set(name, joined);
    }
  }

  /** The pieces of a text that is to be shown. */
  pieces(text: string, field?: string): Piece[] {
    const marks = (field !== undefined && this.fields.get(field)) || this.anywhere;
    return runs(text).flatMap(({ text: run, style }) => {
      const whole = [{ text: shown(run), style, mark: false }];
      return marks ? marked(shown(run), style, marks) : whole;
    });
  }

  /** Whether a text holds something that would be marked. */
  in(text: string): boolean {
    if (!this.anywhere) return false;
    this.anywhere.lastIndex = 0;
    return this.anywhere.test(text);
  }
}

function negated(all: Token[], at: number): boolean {
  const token = all[at];
  if (!token) return false;
  const first = token.kind === 'value' ? at - 2 : at;
  const lead = all[first];
  if (/^[-!]/.test(lead?.text ?? '') && lead?.kind !== 'text') return true;
  const before = all[first - 1]?.text;
  return before === 'NOT' || before === '!' || before === '-';
}

function union(patterns: string[]): RegExp | null {
  return patterns.length ? new RegExp(patterns.join('|'), 'giu') : null;
}

function marked(text: string, style: string, marks: RegExp): Piece[] {
  const pieces: Piece[] = [];
  let last = 0;
  for (const found of text.matchAll(marks)) {
    if (!found[0]) continue;
    if (found.index > last)
      pieces.push({ text: text.slice(last, found.index), style, mark: false });
    pieces.push({ text: found[0], style, mark: true });
    last = found.index + found[0].length;
  }
  if (last < text.length || pieces.length === 0)
    pieces.push({ text: text.slice(last), style, mark: false });
  return pieces;
}
