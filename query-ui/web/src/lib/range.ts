// What people type for a stretch of time: "2h", "yesterday 9-10", a date, an epoch number.

import { DAY, HOUR, MINUTE, momentOf, offsetAt, SECOND, type Zone } from './time';

/** As the API takes them; empty: open. */
export interface Range {
  from: string;
  to: string;
}

interface Clock {
  now: number;
  zone: Zone;
}

/** A single moment shows what is around it. */
const AROUND = 5 * MINUTE;
const UNITS: [RegExp, string, number][] = [
  [/^(s|secs?|seconds?|秒)$/, 's', SECOND],
  [/^(m|mins?|minutes?|分|分钟)$/, 'm', MINUTE],
  [/^(h|hrs?|hours?|小时|时)$/, 'h', HOUR],
  [/^(d|days?|天|日)$/, 'd', DAY],
  [/^(w|weeks?|周|星期)$/, 'w', 7 * DAY],
];

/** A length such as `2h`, `1h30m` or `90 minutes`: as the API writes it, and in milliseconds. */
export function readLength(text: string): { text: string; ms: number } | null {
  let ms = 0;
  let written = '';
  const left = text.replace(/(\d+)\s*(\p{L}+)\s*/gu, (_all, count: string, name: string) => {
    const unit = UNITS.find(([names]) => names.test(name.toLowerCase()));
    if (!unit) return '!';
    ms += Number(count) * unit[2];
    written += count + unit[1];
    return '';
  });
  return left || !ms ? null : { text: written, ms };
}

const iso = (ms: number) => new Date(ms).toISOString();

/** Midnight of a zone's day, so many days from that of `ms`. */
export function dayStart(zone: Zone, ms: number, days = 0): number {
  const wall = ms + offsetAt(zone, ms);
  return momentOf(zone, Math.floor(wall / DAY) * DAY + days * DAY);
}

/** An epoch number by its count of digits. */
export function readEpoch(text: string): number | null {
  if (!/^\d{10}(\.\d+)?$|^\d{13}$|^\d{16}$|^\d{19}$/.test(text)) return null;
  const number = Number(text);
  const digits = text.split('.')[0]?.length ?? 0;
  return Math.floor(number / 10 ** (digits - 13));
}

function readDay(text: string, { now, zone }: Clock): number | null {
  const named: Record<string, number> = { today: 0, 今天: 0, yesterday: -1, 昨天: -1, 前天: -2 };
  const days = named[text];
  if (days !== undefined) return dayStart(zone, now, days);
  const date = /^(\d{4})-(\d{1,2})-(\d{1,2})$/.exec(text);
  if (!date) return null;
  const [year, month, day] = date.slice(1).map(Number) as [number, number, number];
  const wall = Date.UTC(year, month - 1, day);
  return new Date(wall).getUTCDate() === day ? momentOf(zone, wall) : null;
}

/** `9`, `9:30`, `09:30:15.5`, `9am`: milliseconds after midnight. */
function readClock(text: string): number | null {
  const found = /^(\d{1,2})(?::(\d{2}))?(?::(\d{2})(\.\d+)?)?\s*(am|pm)?$/.exec(text);
  if (!found) return null;
  const [, hours = '', minutes = '0', seconds = '0', fraction = '0', half] = found;
  const hour = half ? (Number(hours) % 12) + (half === 'pm' ? 12 : 0) : Number(hours);
  if (hour > 24 || Number(minutes) > 59 || Number(seconds) > 60) return null;
  return hour * HOUR + Number(minutes) * MINUTE + (Number(seconds) + Number(fraction)) * SECOND;
}

function onDay(day: number, clock: number, zone: Zone): number {
  return momentOf(zone, day + offsetAt(zone, day) + clock);
}

/** One moment; on `day` when only a clock time is given. */
function readMoment(text: string, clock: Clock, day: number): number | null {
  const { now, zone } = clock;
  if (text === 'now' || text === '现在') return now;
  const epoch = readEpoch(text);
  if (epoch !== null) return epoch;
  const ago = readLength(text.replace(/^-|\s*(ago|前|之前)$/g, ''));
  if (ago && ago.text !== text) return now - ago.ms;
  const zoned = /^\d{4}-\d{2}-\d{2}[t ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?\s*(z|[+-]\d{2}:?\d{2})$/;
  if (zoned.test(text)) {
    const ms = Date.parse(text.replace(',', '.').replace(' ', 'T').toUpperCase());
    return Number.isNaN(ms) ? null : ms;
  }
  const time = readClock(text);
  if (time !== null) return onDay(day, time, zone);
  const [first = '', ...rest] = text.split(/[t\s]+/).filter(Boolean);
  const date = readDay(first, clock);
  if (date === null) return null;
  if (rest.length === 0) return date;
  const onDate = readClock(rest.join(' '));
  return onDate === null ? null : onDay(date, onDate, zone);
}

/** Two ends, with `to`, `..`, `–`, `/` or a `-` between them. */
function readEnds(text: string, clock: Clock): Range | null {
  const today = dayStart(clock.zone, clock.now);
  const ends = /^(.+?)\s*(?:\bto\b|\.\.+|…|–|—|→|到|至|\s\/\s|\s-\s)\s*(.+)$/.exec(text);
  if (ends) {
    const from = readMoment(ends[1] ?? '', clock, today);
    if (from === null) return null;
    const last = ends[2] ?? '';
    if (last === 'now' || last === '现在') return { from: iso(from), to: '' };
    const day = dayStart(clock.zone, from);
    const lastDay = readDay(last, clock);
    const to = lastDay === null ? readMoment(last, clock, day) : dayStart(clock.zone, lastDay, 1);
    return to === null || to <= from ? null : { from: iso(from), to: iso(to) };
  }
  const clocks = /^(.*?)\s*(\d{1,2}(?::\d{2}){0,2}(?:am|pm)?)-(\d{1,2}(?::\d{2}){0,2}(?:am|pm)?)$/;
  const hours = clocks.exec(text);
  if (!hours) return null;
  const day = hours[1] ? readDay(hours[1], clock) : today;
  const [first, second] = [readClock(hours[2] ?? ''), readClock(hours[3] ?? '')];
  if (day === null || first === null || second === null || second <= first) return null;
  return { from: iso(onDay(day, first, clock.zone)), to: iso(onDay(day, second, clock.zone)) };
}

/** What was typed, as a range; null when it says none. */
export function readRange(typed: string, now: number, zone: Zone): Range | null {
  const clock = { now, zone };
  const text = typed.trim().toLowerCase().replace(/\s+/g, ' ');
  if (!text || text === 'all' || text === 'all time' || text === '全部')
    return { from: '', to: '' };
  const length = readLength(text.replace(/^(the )?(last|past|-|最近|过去)\s*/, ''));
  if (length) return { from: `-${length.text}`, to: '' };
  const day = readDay(text, clock);
  if (day !== null) {
    const end = dayStart(zone, day, 1);
    return { from: iso(day), to: end > now ? '' : iso(end) };
  }
  const ends = readEnds(text, clock);
  if (ends) return ends;
  const moment = readMoment(text, clock, dayStart(zone, now));
  return moment === null ? null : { from: iso(moment - AROUND), to: iso(moment + AROUND) };
}

/** The moments a browser's clock can tell. */
const MOMENT_MAX = 8.64e15;

/** The two ends in milliseconds; null: an open end, or what only the node may understand. */
export function resolve(range: Range, now: number): { from: number | null; to: number | null } {
  const read = (text: string): number => {
    if (text === 'now') return now;
    const ago = text.startsWith('-') ? readLength(text.slice(1)) : null;
    if (ago) return now - ago.ms;
    const isDate = /^\d{4}-\d{2}/.test(text);
    return readEpoch(text) ?? (isDate ? Date.parse(text.replace(/(\.\d{3})\d+/, '$1')) : NaN);
  };
  const end = (text: string) => {
    const ms = read(text);
    return Math.abs(ms) <= MOMENT_MAX ? ms : null;
  };
  return { from: end(range.from), to: end(range.to) };
}
