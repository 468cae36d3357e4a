// Colours that programs write for terminals, as runs of plain text: nothing else of them is obeyed.

export interface Run {
  text: string;
  /** Class names: `fg-1`, `bg-4`, `bold`, `dim`, `italic`, `underline`. */
  style: string;
}

// Colour sequences; every other escape sequence (cursor, title, link) is left out.
const SEQUENCE =
  /\u001b\[([\d;:]*)m|\u001b\[[0-?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|\u001b[@-Z\\-_]/g;

export const hasAnsi = (text: string) => text.includes('\u001b');

interface State {
  fg: number | null;
  bg: number | null;
  flags: Set<string>;
}

const FLAGS: Record<number, string> = { 1: 'bold', 2: 'dim', 3: 'italic', 4: 'underline' };

function apply(state: State, codes: number[]) {
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at] ?? 0;
    const flag = FLAGS[code];
    if (code === 0) Object.assign(state, { fg: null, bg: null, flags: new Set() });
    else if (flag) state.flags.add(flag);
    else if (code === 22) ['bold', 'dim'].forEach((name) => state.flags.delete(name));
    else if (code === 23) state.flags.delete('italic');
    else if (code === 24) state.flags.delete('underline');
    else if (code >= 30 && code <= 37) state.fg = code - 30;
    else if (code >= 90 && code <= 97) state.fg = code - 82;
    else if (code === 39) state.fg = null;
    else if (code >= 40 && code <= 47) state.bg = code - 40;
    else if (code >= 100 && code <= 107) state.bg = code - 92;
    else if (code === 49) state.bg = null;
    else if (code === 38 || code === 48) {
      // 256 colours and RGB: only the sixteen named ones are kept, the rest is plain.
      const colour = codes[at + 1] === 5 ? (codes[at + 2] ?? 0) : 16;
      state[code === 38 ? 'fg' : 'bg'] = colour < 16 ? colour : null;
      at += codes[at + 1] === 5 ? 2 : 4;
    }
  }
}

function styleOf({ fg, bg, flags }: State): string {
  const names = [...flags];
  if (fg !== null) names.push(`fg-${fg}`);
  if (bg !== null) names.push(`bg-${bg}`);
  return names.join(' ');
}

/** The runs of a text; without escape sequences it is one run. */
export function runs(text: string): Run[] {
  if (!hasAnsi(text)) return [{ text, style: '' }];
  const found: Run[] = [];
  const state: State = { fg: null, bg: null, flags: new Set() };
  let last = 0;
  for (const sequence of text.matchAll(SEQUENCE)) {
    if (sequence.index > last)
      found.push({ text: text.slice(last, sequence.index), style: styleOf(state) });
    last = sequence.index + sequence[0].length;
    if (sequence[1] !== undefined) apply(state, sequence[1].split(/[;:]/).map(Number));
  }
  if (last < text.length) found.push({ text: text.slice(last), style: styleOf(state) });
  return found;
}

/** The text without its escape sequences. */
export function plain(text: string): string {
  return hasAnsi(text) ? text.replace(SEQUENCE, '') : text;
}

/** What is the same in coloured lines, without the colours: they may vary within. */
export function uncoloured(text: string): string {
  return text.replace(/\u001b\[[\d;]*m?/g, '');
}
