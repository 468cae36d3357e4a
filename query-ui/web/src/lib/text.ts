// Texts of strangers made fit to be seen: control characters by name, counts short, lines folded.

export const CODE = (c: string) => c.codePointAt(0) ?? 0;
export const point = (code: number) => `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;

// Characters that would change how the text around them is read, or that show nothing at all.
const UNSEEN =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** The text with what cannot be seen shown by sign or number; tabs and lines' ends stay. */
export function shown(text: string): string {
  return text.replace(/\r\n/g, '\n').replace(UNSEEN, (c) => {
    const code = CODE(c);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return code === 0x7f ? '\u2421' : `⟨${point(code)}⟩`;
  });
}

/** In one line: what follows the first line's end is on the same line, after a sign for it. */
export function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ⏎ ');
}

const sizes = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function showBytes(bytes: number): string {
  let [size, unit] = [bytes, 0];
  while (size >= 1024 && unit < sizes.length - 1) [size, unit] = [size / 1024, unit + 1];
  return `${unit && size < 100 ? size.toFixed(1) : Math.round(size)} ${sizes[unit]}`;
}

/** `1,204,332` in the reader's language. */
export function showCount(count: number, language = 'en'): string {
  return count.toLocaleString(language);
}

/** `1.2M`: for axes. */
export function shortCount(count: number): string {
  const units: [number, string][] = [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ];
  for (const [size, unit] of units) {
    if (Math.abs(count) >= size) return `${Math.round((count / size) * 10) / 10}${unit}`;
  }
  return `${Math.round(count * 100) / 100}`;
}

/** `12.3 %`, `< 0.1 %`. */
export function showShare(part: number, whole: number): string {
  if (whole <= 0) return '0 %';
  const share = (part / whole) * 100;
  if (share > 0 && share < 0.1) return '< 0.1 %';
  return `${share >= 10 || share === 0 ? Math.round(share) : share.toFixed(1)} %`;
}
