// What the page shows, as the address bar has it: every link restores everything.

import { isZone } from './time';

export type Layout = 'line' | 'wrap' | 'json';
export const LAYOUTS: Layout[] = ['line', 'wrap', 'json'];
/** What is made of the found records. */
export type Tab = 'records' | 'patterns' | 'compare';
export const TABS: Tab[] = ['records', 'patterns', 'compare'];

export interface View {
  query: string;
  from: string;
  to: string;
  zone: string;
  layout: Layout;
  tab: Tab;
  columns: string[];
  /** Empty: newest first. `timestamp`: oldest first. Another field, or `-` and one: by its values. */
  sort: string;
  /** The id of the record whose details are shown. */
  open: string;
  /** The id of the record whose surroundings are shown. */
  context: string;
  /** How many of its surroundings, and which labels need not be the same: `50,host`. */
  around: string;
  /** The search for the records of one request that is shown in order. */
  trace: string;
  chart: boolean;
  tail: boolean;
  /** How a table is drawn: by itself, as bars, as lines, or not at all. */
  draw: 'auto' | 'bar' | 'line' | 'none';
}

export const DEFAULT: View = {
  query: '',
  from: '-24h',
  to: '',
  zone: 'local',
  layout: 'line',
  tab: 'records',
  columns: ['message'],
  sort: '',
  open: '',
  context: '',
  around: '',
  trace: '',
  chart: true,
  tail: false,
  draw: 'auto',
};

/** The names of columns in an address: a comma in a name is written `%2C`. */
const listed = (names: string[]) =>
  names.map((name) => name.replace(/[%,]/g, encodeURIComponent)).join(',');
const unlisted = (text: string) => text.split(',').filter(Boolean).map(decoded);

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function oneOf<T extends string>(text: string | null, all: readonly T[], otherwise: T): T {
  return all.find((one) => one === text) ?? otherwise;
}

/** What is not in the address is as `base` has it. */
export function readView(search: string, base: View = DEFAULT): View {
  const given = new URLSearchParams(search);
  const text = (name: string, otherwise: string) => given.get(name) ?? otherwise;
  const cols = given.get('cols');
  return {
    query: text('q', ''),
    from: text('from', given.has('to') ? '' : base.from),
    to: text('to', ''),
    zone: isZone(text('tz', '')) ? text('tz', '') : base.zone,
    layout: oneOf(given.get('view'), LAYOUTS, base.layout),
    tab: oneOf(given.get('tab'), TABS, 'records'),
    columns: cols === null ? base.columns : unlisted(cols),
    sort: text('sort', ''),
    open: text('open', ''),
    context: text('context', ''),
    around: text('around', ''),
    trace: text('trace', ''),
    chart: given.has('chart') ? given.get('chart') !== '0' : base.chart,
    tail: given.get('tail') === '1',
    draw: oneOf(given.get('draw'), ['bar', 'line', 'none', 'auto'] as const, 'auto'),
  };
}

/** The address of a view; everything that differs from the built-in view is in it. */
export function address(view: View): string {
  const given = new URLSearchParams();
  const put = (name: string, text: string, usual: string) => {
    if (text !== usual) given.set(name, text);
  };
  put('q', view.query, '');
  put('from', view.from, view.to ? '' : DEFAULT.from);
  put('to', view.to, '');
  put('tz', view.zone, DEFAULT.zone);
  put('view', view.layout, DEFAULT.layout);
  put('tab', view.tab, DEFAULT.tab);
  put('cols', listed(view.columns), listed(DEFAULT.columns));
  put('sort', view.sort, '');
  put('chart', view.chart ? '1' : '0', '1');
  put('tail', view.tail ? '1' : '0', '0');
  put('draw', view.draw, 'auto');
  put('open', view.open, '');
  put('context', view.context, '');
  if (view.context) put('around', view.around, '');
  put('trace', view.trace, '');
  const text = given.toString();
  return text ? `?${text}` : '';
}

/** The address without what is open: two views with the same one ask the same. */
export function asks(view: View): string {
  return JSON.stringify([view.query, view.from, view.to, view.tail, view.sort]);
}
