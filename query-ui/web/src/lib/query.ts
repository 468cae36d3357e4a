// Edits of the query text: what a click on a value adds.

/** A text in the quotes of the query language, where it needs them. */
export function quoted(text: string): string {
  if (
    /^[\p{L}\p{N}_./@=+%#,;-]+$/u.test(text) &&
    !/^[-!]/.test(text) &&
    !/^(AND|OR|NOT)$/.test(text)
  )
    return text;
  return `"${text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n').replace(/\t/g, '\\t')}"`;
}

/** The search of a query, and its pipes: cut before the first pipe outside quotes. */
export function parted(query: string): [string, string] {
  let inside = false;
  let cut = query.length;
  for (let at = 0; at < query.length; at += 1) {
    const c = query[at];
    if (c === '\\') at += 1;
    else if (c === '"') inside = !inside;
    else if (c === '|' && !inside) {
      cut = at;
      break;
    }
  }
  return [query.slice(0, cut).trim(), query.slice(cut)];
}

/** The query with one more term in its search. */
export function withTerm(query: string, term: string): string {
  const [search, pipes] = parted(query);
  const joined =
    !search || search === '*' ? term : `${/\bOR\b/.test(search) ? `(${search})` : search} ${term}`;
  return pipes ? `${joined} ${pipes}` : joined;
}

/** The term that finds, or leaves out, one value of a field. */
export function fieldTerm(field: string, value: unknown, exclude: boolean): string {
  const name = /^[\p{L}_@$]([\p{L}\p{N}_.@$-]*[\p{L}\p{N}_])?$/u.test(field)
    ? field
    : quoted(`${field}`);
  const text = value === null || value === '' ? '*' : quoted(String(value));
  return `${exclude ? 'NOT ' : ''}${name}:${text}`;
}

/** The terms that find the messages of a pattern: the texts between its placeholders. */
export function patternTerms(pattern: string): string {
  return pattern
    .split('<*>')
    .map((fixed) => fixed.trim())
    .filter((fixed) => /[\p{L}\p{N}]/u.test(fixed))
    .map(quoted)
    .join(' ');
}
