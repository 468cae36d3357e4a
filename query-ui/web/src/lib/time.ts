// Moments with nanoseconds, and clocks of any zone.

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** `utc`, `local`, or a name such as `Europe/Berlin`. */
export type Zone = string;

export function zoneName(zone: Zone): string {
  if (zone === 'utc') return 'UTC';
  return zone === 'local' ? Intl.DateTimeFormat().resolvedOptions().timeZone : zone;
}

export function isZone(zone: Zone): boolean {
  try {
    return Boolean(new Intl.DateTimeFormat('en', { timeZone: zoneName(zone) }));
  } catch {
    return false;
  }
}

/** Every name the browser knows. */
export function allZones(): string[] {
  return ['UTC', ...Intl.supportedValuesOf('timeZone').filter((name) => name !== 'UTC')];
}

const clocks = new Map<string, Intl.DateTimeFormat>();
const offsets = new Map<string, number>();

/** How far a zone's clock is ahead of UTC at a moment, in milliseconds. */
export function offsetAt(zone: Zone, ms: number): number {
  if (zone === 'utc') return 0;
  // Clocks change on quarters of an hour.
  const quarter = Math.floor(ms / (15 * MINUTE));
  const key = `${zone} ${quarter}`;
  const known = offsets.get(key);
  if (known !== undefined) return known;
  let clock = clocks.get(zone);
  if (!clock) {
    clock = new Intl.DateTimeFormat('en-u-hc-h23-ca-gregory-nu-latn', {
      timeZone: zoneName(zone),
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    clocks.set(zone, clock);
  }
  const at = quarter * 15 * MINUTE;
  const part: Record<string, number> = {};
  for (const { type, value } of clock.formatToParts(at)) part[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
  const offset = Date.UTC(year, month - 1, day, hour, minute, second) - at;
  if (offsets.size > 5000) offsets.clear();
  offsets.set(key, offset);
  return offset;
}

/** The moment at which a zone's clock shows what UTC's clock shows at `wall`. */
export function momentOf(zone: Zone, wall: number): number {
  const guess = wall - offsetAt(zone, wall);
  return wall - offsetAt(zone, guess);
}

/** `UTC`, `UTC+2`, `UTC-3:30`. */
export function offsetText(offset: number): string {
  if (offset === 0) return 'UTC';
  const minutes = Math.abs(offset) / MINUTE;
  const rest = Math.floor(minutes % 60);
  const hours = Math.floor(minutes / 60);
  return `UTC${offset < 0 ? '-' : '+'}${hours}${rest ? `:${String(rest).padStart(2, '0')}` : ''}`;
}

/** The zone as it is printed beside times. */
export function zoneText(zone: Zone, ms: number): string {
  const offset = offsetText(offsetAt(zone, ms));
  return zone === 'utc' || zoneName(zone) === 'UTC' ? 'UTC' : `${zoneName(zone)}, ${offset}`;
}

/** Milliseconds of an RFC 3339 text; the rest of its digits is left out. */
export function msOf(iso: string): number {
  return Date.parse(iso.replace(/(\.\d{3})\d+/, '$1'));
}

/** Nanoseconds since 1970 of an RFC 3339 text. */
export function nanosOf(iso: string): bigint {
  const digits = /\.(\d{1,9})/.exec(iso)?.[1] ?? '';
  const seconds = Math.floor(msOf(iso) / SECOND);
  return BigInt(seconds) * 1_000_000_000n + BigInt(digits.padEnd(9, '0'));
}

/** RFC 3339 in UTC with nine digits. */
export function isoOfNanos(nanos: bigint): string {
  const second = 1_000_000_000n;
  let seconds = nanos / second;
  if (nanos < 0n && nanos % second !== 0n) seconds -= 1n;
  const rest = (nanos - seconds * second).toString().padStart(9, '0');
  return new Date(Number(seconds) * SECOND).toISOString().replace(/\.\d+Z$/, `.${rest}Z`);
}

/** `2026-11-23 15:24:00.123` on a zone's clock, with so many digits of the second (of nine). */
export function showTime(iso: string, zone: Zone, digits = 3): string {
  const ms = msOf(iso);
  if (Number.isNaN(ms)) return iso;
  const wall = new Date(ms + offsetAt(zone, ms)).toISOString();
  const fraction = (/\.(\d+)/.exec(iso)?.[1] ?? '').padEnd(9, '0').slice(0, digits);
  const [date = '', clock = ''] = wall.replace(/^\+00|Z$/, '').split('T');
  return `${date} ${clock.slice(0, 8)}${digits ? `.${fraction}` : ''}`;
}

/** As precise as it needs to be: no seconds where they are nought. */
export function showMoment(ms: number, zone: Zone): string {
  const text = showTime(new Date(ms).toISOString(), zone, ms % SECOND ? 3 : 0);
  return text.replace(/:00$/, '');
}

/** What lengths are told in. */
export type Lengths = Record<'ms' | 's' | 'min' | 'h' | 'd', string>;

/** `90 s`, `15 min`, `3 h`: of a length in milliseconds, in the reader's words. */
export function showLength(ms: number, names: Lengths): string {
  const units: [string, number][] = [
    [names.d, DAY],
    [names.h, HOUR],
    [names.min, MINUTE],
    [names.s, SECOND],
  ];
  for (const [name, size] of units) {
    if (ms >= size) return `${Math.round((ms / size) * 10) / 10} ${name}`;
  }
  return `${Math.round(ms)} ${names.ms}`;
}
