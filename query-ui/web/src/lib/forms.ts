// A moment in every form that other tools take.

import { msOf, nanosOf, offsetAt, showTime, type Zone } from './time';

export type Form = 'utc' | 'zoned' | 'seconds' | 'millis' | 'nanos';

/** `1763899200.123456789`: with so many digits behind the point. */
function epoch(iso: string, digits: 9 | 0, unit: bigint): string {
  const nanos = nanosOf(iso);
  const [sign, size] = nanos < 0n ? ['-', -nanos] : ['', nanos];
  const rest = digits ? `.${(size % unit).toString().padStart(digits, '0')}` : '';
  return `${sign}${size / unit}${rest}`;
}

/** RFC 3339 on a zone's clock. */
function zoned(iso: string, zone: Zone): string {
  const minutes = Math.round(offsetAt(zone, msOf(iso)) / 60_000);
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (n: number) => String(n).padStart(2, '0');
  const offset = `${minutes < 0 ? '-' : '+'}${two(hours)}:${two(rest)}`;
  return showTime(iso, zone, 9).replace(' ', 'T') + offset;
}

export function timeForms(iso: string, zone: Zone): [Form, string][] {
  return [
    ['utc', iso],
    ['zoned', zoned(iso, zone)],
    ['seconds', epoch(iso, 9, 1_000_000_000n)],
    ['millis', epoch(iso, 0, 1_000_000n)],
    ['nanos', epoch(iso, 0, 1n)],
  ];
}
