// The query's pieces as they are coloured and completed; the node decides what is right.

export type Kind = 'field' | 'value' | 'word' | 'text' | 'operator' | 'pipe' | 'verb' | 'bracket';

export interface Token {
  kind: Kind;
  start: number;
  end: number;
  text: string;
  /** For a value: the field it belongs to. */
  field?: string;
}

const PIECE =
  /(?<regex>\/(?=[^/\s]*[^/\s\w.@-])(?:[^/\\\n]|\\.)+\/i?(?=[\s)|,]|$))|(?<text>"(?:[^"\\]|\\.)*"?)|(?<pipe>\|)|(?<bracket>[()[\]{}])|(?<comma>,)|(?<operator>>=|<=|!=|[:<>=])|(?<word>[^\s"|()[\]{},:<>=!]+|!)/gu;
const FIELD = /^-?!?[\p{L}_@$][\p{L}\p{N}_.@$-]*$/u;

/** What a name in front of `:` or a comparison may be. */
const isName = (token: Token | undefined) =>
  token !== undefined && (token.kind === 'text' || FIELD.test(token.text));

/** Names that are coloured where they are called. */
const FUNCTIONS = [
  'count',
  'count_distinct',
  'sum',
  'avg',
  'min',
  'max',
  'median',
  'p90',
  'p95',
  'p99',
  'quantile',
  'first',
  'last',
  'rate',
  'values',
  'bin',
  'length',
  'lower',
  'contains',
  'exists',
  'if',
];
const WORDS = ['AND', 'OR', 'NOT'];

export function tokens(query: string): Token[] {
  const found: Token[] = [];
  let piped = false;
  let afterPipe = false;
  let field: string | undefined;
  for (const piece of query.matchAll(PIECE)) {
    const [text] = piece;
    const named = piece.groups ?? {};
    const token: Token = { kind: 'word', start: piece.index, end: piece.index + text.length, text };
    const before = found.at(-1);
    const touches = before !== undefined && before.end === token.start;
    if (named['pipe']) {
      token.kind = 'pipe';
      piped = true;
    } else if (named['operator']) {
      token.kind = 'operator';
      if (!piped && touches && before && isName(before)) {
        before.kind = 'field';
        field = before.text.replace(/^[-!]+/, '').replace(/^"|"$/g, '');
      } else if (!piped && touches && before?.kind === 'operator') before.end = token.start;
    } else if (named['bracket'] || named['comma']) token.kind = 'bracket';
    else if (afterPipe) token.kind = 'verb';
    else if (!piped && field !== undefined && touches && before?.kind === 'operator') {
      token.kind = 'value';
      token.field = field;
    } else if (named['text'] || named['regex']) token.kind = 'text';
    else if (WORDS.includes(text) || (piped && /^(by|as|asc|desc)$/i.test(text)))
      token.kind = 'operator';
    else if (piped && FUNCTIONS.includes(text) && query[token.end] === '(') token.kind = 'verb';
    else if (piped && !/^\d/.test(text)) token.kind = 'field';
    if (token.kind !== 'operator') field = undefined;
    afterPipe = token.kind === 'pipe';
    found.push(token);
  }
  return found;
}

/** The search part: what is before the first pipe. */
export function searchPart(query: string): string {
  const pipe = tokens(query).find((token) => token.kind === 'pipe');
  return pipe ? query.slice(0, pipe.start) : query;
}

export function hasPipes(query: string): boolean {
  return tokens(query).some((token) => token.kind === 'pipe');
}
