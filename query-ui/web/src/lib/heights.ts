// How high records are, and which of them are in sight. Text is monospaced and breaks anywhere, so a
// record's height follows from its characters and nothing has to be measured.

/** Pixels of a line of text. */
export const LINE = 20;
/** Lines of a wrapped record; longer ones are cut, and whole in their details. */
export const LINES_MAX = 40;
/** Pixels of an open record's details. */
export const DETAILS = 340;

/** Columns that a text takes in a line: ideographs and most emoji take two. */
export function columns(text: string): number {
  let count = 0;
  for (const c of text) {
    const code = c.codePointAt(0) ?? 0;
    if (code === 9) count += 8 - (count % 8);
    else
      count +=
        code >= 0x1100 &&
        /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u.test(
          c,
        )
          ? 2
          : 1;
  }
  return count;
}

/** Lines that a text takes when it breaks after so many columns. */
export function lineCount(text: string, width: number): number {
  let lines = 0;
  for (const line of text.split('\n')) {
    lines += Math.max(1, Math.ceil(columns(line.slice(0, width * LINES_MAX)) / Math.max(1, width)));
    if (lines >= LINES_MAX) return LINES_MAX;
  }
  return lines;
}

/** Where each row begins, in pixels, and behind the last one where all end. */
export function tops(heights: number[], open: number): Float64Array {
  const tops = new Float64Array(heights.length + 1);
  let top = 0;
  heights.forEach((height, at) => {
    top += height + (at === open ? DETAILS : 0);
    tops[at + 1] = top;
  });
  return tops;
}

/** The row at a place: the last one that begins at or above it. */
export function rowAt(tops: Float64Array, place: number): number {
  let [low, high] = [0, Math.max(0, tops.length - 2)];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((tops[middle] ?? 0) <= place) low = middle;
    else high = middle - 1;
  }
  return low;
}
