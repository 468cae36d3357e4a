// Characters in a query that are not what they look like.

import { CODE, point } from './text';

const NAMES: Record<number, string> = {
  0x00ad: 'soft hyphen',
  0x00a0: 'no-break space',
  0x061c: 'Arabic letter mark',
  0x200b: 'zero-width space',
  0x200c: 'zero-width non-joiner',
  0x200d: 'zero-width joiner',
  0x200e: 'left-to-right mark',
  0x200f: 'right-to-left mark',
  0x2018: 'left single quotation mark',
  0x2019: 'right single quotation mark',
  0x201c: 'left double quotation mark',
  0x201d: 'right double quotation mark',
  0x2013: 'en dash',
  0x2014: 'em dash',
  0x202a: 'left-to-right embedding',
  0x202b: 'right-to-left embedding',
  0x202c: 'pop directional formatting',
  0x202d: 'left-to-right override',
  0x202e: 'right-to-left override',
  0x2060: 'word joiner',
  0x2066: 'left-to-right isolate',
  0x2067: 'right-to-left isolate',
  0x2068: 'first strong isolate',
  0x2069: 'pop directional isolate',
  0xfeff: 'byte order mark',
  0xff1a: 'fullwidth colon',
  0xff08: 'fullwidth left bracket',
  0xff09: 'fullwidth right bracket',
};

/** Characters in a query that look like others, or like nothing; outside of quotes. */
export function lookalikes(query: string): { at: number; code: string; name: string }[] {
  const found: { at: number; code: string; name: string }[] = [];
  let quoted = false;
  [...query].forEach((c, at, all) => {
    if (c === '"' && all[at - 1] !== '\\') quoted = !quoted;
    const name = NAMES[CODE(c)];
    if (name && !quoted) found.push({ at, code: point(CODE(c)), name });
  });
  return found;
}
