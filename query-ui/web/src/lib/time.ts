// Moments as people write and read them: in UTC or in the browser's zone, the zone always named.

export type Zone = 'UTC' | 'local';

/** The name of the zone in use. */
export function zoneName(zone: Zone): string {
  return zone === 'UTC' ? 'UTC' : Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** `2026-11-23 20:54:30.513` of an RFC 3339 moment in UTC; nanoseconds beyond these are cut. */
export function shown(moment: string, zone: Zone, digits = 3): string {
  const fraction = digits ? moment.slice(19, 20 + digits) : '';
  if (zone === 'UTC') return moment.slice(0, 19).replace('T', ' ') + fraction;
  const date = new Date(`${moment.slice(0, 19)}Z`);
  const two = (number: number) => String(number).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}${fraction}`;
}

/**
 * What a person typed, as the API takes it: `-2h` and `2h` count back from now, `2026-11-23 10:00`
 * is in the zone, epochs of seconds, milliseconds or nanoseconds are told by their length, `now` and
 * nothing stay. `null` when it is none of these.
 */
export function typed(text: string, zone: Zone): string | null {
  const word = text.trim();
  if (word === '' || word === 'now') return word;
  if (/^-?\d+(\.\d+)?(ms|s|m|h|d|w)$/.test(word)) return word.startsWith('-') ? word : `-${word}`;
  if (/^\d{10}$/.test(word)) return new Date(Number(word) * 1000).toISOString();
  if (/^\d{13}$/.test(word)) return new Date(Number(word)).toISOString();
  if (/^\d{19}$/.test(word)) {
    const seconds = new Date(Number(word.slice(0, 10)) * 1000).toISOString().slice(0, 19);
    return `${seconds}.${word.slice(10)}Z`;
  }
  const parts =
    /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d{1,9})?)?)?(Z|[+-]\d\d:\d\d)?$/.exec(word);
  if (!parts) return null;
  const [, day, minutes = '00:00', seconds = ':00', offset] = parts;
  const fraction = seconds.slice(3);
  const whole = `${day}T${minutes}${seconds.slice(0, 3)}`;
  const date = new Date(whole + (offset ?? (zone === 'UTC' ? 'Z' : '')));
  if (Number.isNaN(date.getTime())) return null;
  return `${date.toISOString().slice(0, 19)}${fraction}Z`;
}

/** A moment moved by some milliseconds; its nanoseconds stay. */
export function moved(moment: string, by: number): string {
  const date = new Date(Date.parse(`${moment.slice(0, 19)}Z`) + by);
  return date.toISOString().slice(0, 19) + moment.slice(19);
}
