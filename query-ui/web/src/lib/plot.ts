// Where things of a chart lie: bars upon each other, ticks of time, steps of counts.

import type { Bucket, Level } from './api';
import { DAY, HOUR, MINUTE, momentOf, offsetAt, SECOND, showTime, type Zone } from './time';

/** Paths of stacked bars, one for each level, in a box of `width` by `height`. */
export function stackedPaths(
  buckets: Bucket[],
  levels: Level[],
  width: number,
  height: number,
  most: number,
): { level: Level; path: string }[] {
  const step = width / Math.max(1, buckets.length);
  const gap = step > 4 ? 1 : 0;
  const below = new Array<number>(buckets.length).fill(0);
  const unit = height / Math.max(1, most);
  return levels.map((level) => {
    let path = '';
    buckets.forEach((bucket, at) => {
      const count = bucket.levels[level] ?? 0;
      if (!count) return;
      const start = below[at] ?? 0;
      below[at] = start + count;
      // What is there is seen, however little it is.
      const tall = Math.max(count * unit, 1.5);
      const y = height - start * unit - tall;
      path += `M${(at * step).toFixed(1)} ${y.toFixed(1)}h${(step - gap).toFixed(1)}v${tall.toFixed(1)}h-${(step - gap).toFixed(1)}z`;
    });
    return { level, path };
  });
}

/** The next round number. */
export function roundUp(most: number): number {
  const size = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return ([1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * size >= most) ?? 10) * size;
}

/** The next round number whose half is one of records as well. */
export function roundUpCount(most: number): number {
  const round = roundUp(Math.max(2, most));
  return round % 2 ? roundUpCount(round + 1) : round;
}

const STEPS = [
  1,
  5,
  10,
  50,
  100,
  500,
  SECOND,
  5 * SECOND,
  15 * SECOND,
  30 * SECOND,
  MINUTE,
  5 * MINUTE,
  15 * MINUTE,
  30 * MINUTE,
  HOUR,
  3 * HOUR,
  6 * HOUR,
  12 * HOUR,
  DAY,
  2 * DAY,
  7 * DAY,
  14 * DAY,
  30 * DAY,
  90 * DAY,
  365 * DAY,
];
/** Longer steps are so many of these. */
const LONG = 5 * 365 * DAY;

export interface Tick {
  ms: number;
  text: string;
}

/** At most so many ticks between two moments, on round times of a zone's clock. */
export function timeTicks(from: number, to: number, most: number, zone: Zone): Tick[] {
  const least = (to - from) / Math.max(1, most);
  const step = STEPS.find((size) => size >= least) ?? Math.ceil(least / LONG) * LONG;
  const offset = offsetAt(zone, from);
  const ticks: Tick[] = [];
  let day = '';
  for (let wall = Math.ceil((from + offset) / step) * step; ; wall += step) {
    const ms = momentOf(zone, wall);
    if (ms > to) break;
    const [date = '', clock = ''] = showTime(new Date(ms).toISOString(), zone).split(' ');
    const isNewDay = date !== day;
    day = date;
    let text = clock.slice(0, 5);
    if (step >= 365 * DAY) text = date.slice(0, 4);
    else if (step >= 30 * DAY) text = date.slice(0, 7);
    else if (step >= DAY) text = date.slice(5);
    else if (step < SECOND) text = clock.slice(6);
    else if (step < MINUTE) text = clock.slice(0, 8);
    else if (isNewDay && clock.startsWith('00:00')) text = date.slice(5);
    ticks.push({ ms, text });
  }
  return ticks;
}

/** The path of a line; a missing value is a gap, and a point between two gaps a dot. */
export function linePath(points: ([number, number] | null)[]): string {
  return points
    .map((point, at) => {
      if (!point) return '';
      const command = points[at - 1] ? 'L' : 'M';
      const dot = points[at - 1] || points[at + 1] ? '' : 'h0';
      return `${command}${point[0].toFixed(1)} ${point[1].toFixed(1)}${dot}`;
    })
    .join('');
}
