// The query that keeps one value of a field: what it said of that field before makes room.

import { withTerm } from './query';
import { searchPart, tokens, type Token } from './tokens';

const PAIRS: Record<string, string> = { '(': ')', '[': ']', '{': '}' };

/** Behind the value that begins at a token: a group in brackets, or what touches. */
function endOf(all: Token[], at: number): number {
  let open = 0;
  for (; at < all.length; at += 1) {
    const token = all[at] as Token;
    if (token.text in PAIRS) open += 1;
    else if (/^[)\]}]$/.test(token.text)) open -= 1;
    const next = all[at + 1];
    if (open <= 0 && (!next || next.start > token.end || /^[)\]}]$/.test(next.text))) break;
  }
  return all[Math.min(at, all.length - 1)]?.end ?? 0;
}

/** The search without its terms for a field; an alternative is left as it is. */
function without(query: string, field: string): string {
  const search = searchPart(query);
  const all = tokens(search);
  const pieces: string[] = [];
  let depth = 0;
  let from = 0;
  for (const [at, token] of all.entries()) {
    if (token.text in PAIRS) depth += 1;
    else if (/^[)\]}]$/.test(token.text)) depth -= 1;
    if (depth > 0) continue;
    if (token.text === 'OR') return query;
    const name = token.text.replace(/^[-!]+/, '').replace(/^"|"$/g, '');
    if (token.kind !== 'field' || name !== field) continue;
    let first = at;
    while (/^(NOT|AND|!)$/.test(all[first - 1]?.text ?? '')) first -= 1;
    pieces.push(search.slice(from, all[first]?.start));
    from = endOf(all, at);
  }
  if (!from) return query;
  const rest = [...pieces, search.slice(from), query.slice(search.length)];
  const text = rest
    .map((piece) => piece.trim())
    .filter(Boolean)
    .join(' ');
  return text.replace(/^AND\s/, '');
}

/** The query with this term, and no other of its field. */
export function withOnly(query: string, field: string, term: string): string {
  return withTerm(without(query, field), term);
}
