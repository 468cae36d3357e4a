// JSON as it was written: whole numbers beyond 2^53 keep every digit.

export type Value = string | number | bigint | boolean | null | Value[] | { [name: string]: Value };

const LONG_NUMBER = /[:,[]\s*-?\d{16,}/;
/** Texts, which are passed over, and whole numbers of many digits. */
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])/g;
/** No text of a log begins like this by chance. */
const MARK = '\u0000exact number ';

function marked(text: string): string {
  return text.replace(TOKENS, (token) =>
    token.startsWith('"') ? token : JSON.stringify(MARK + token),
  );
}

function exact(_name: string, value: unknown): unknown {
  if (typeof value !== 'string' || !value.startsWith(MARK)) return value;
  const number = Number(value.slice(MARK.length));
  return Number.isSafeInteger(number) ? number : BigInt(value.slice(MARK.length));
}

/** Reads one JSON text; the slow way only where a long number may be in it. */
export function readJson<T>(text: string): T {
  return LONG_NUMBER.test(text) ? JSON.parse(marked(text), exact) : JSON.parse(text);
}

/** A value as people read it: texts as they are, everything else as JSON. */
export function valueText(value: Value | undefined): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'string') return value;
  return writeJson(value);
}

/** JSON with exact numbers; `indent` spaces a level, none: one line. */
export function writeJson(value: Value, indent = 0, depth = 0): string {
  if (typeof value === 'bigint') return value.toString();
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const [start, end] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  const inner = Array.isArray(value)
    ? value.map((part) => writeJson(part, indent, depth + 1))
    : Object.entries(value).map(
        ([name, part]) =>
          `${JSON.stringify(name)}:${indent ? ' ' : ''}${writeJson(part, indent, depth + 1)}`,
      );
  if (!indent || inner.length === 0) return start + inner.join(',') + end;
  const pad = ' '.repeat(indent * (depth + 1));
  return `${start}\n${pad}${inner.join(`,\n${pad}`)}\n${' '.repeat(indent * depth)}${end}`;
}
