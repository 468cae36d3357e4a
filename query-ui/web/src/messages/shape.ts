// The shape that every language of the page has.

import type { Lengths } from '../lib/time';
import type { Tab } from '../lib/view';

export interface Messages {
  app: Record<
    'skip' | 'help' | 'system' | 'theme' | 'language' | 'zone' | 'close' | 'more',
    string
  >;
  themes: Record<'system' | 'light' | 'dark', string>;
  bar: Record<
    | 'label'
    | 'placeholder'
    | 'run'
    | 'cancel'
    | 'tail'
    | 'stopTail'
    | 'history'
    | 'noHistory'
    | 'forgetHistory'
    | 'completions'
    | 'findHistory',
    string
  > & {
    column: (n: number) => string;
    expected: (what: string) => string;
    lookalike: (name: string, code: string, column: number) => string;
    records: (n: string) => string;
  };
  time: Record<
    | 'label'
    | 'typed'
    | 'hint'
    | 'notRead'
    | 'apply'
    | 'from'
    | 'to'
    | 'all'
    | 'now'
    | 'beginning'
    | 'calendar'
    | 'zone'
    | 'utc'
    | 'local'
    | 'other'
    | 'earlier'
    | 'later'
    | 'wider'
    | 'quick',
    string
  > & {
    last: (length: string) => string;
    units: Record<'m' | 'h' | 'd' | 's' | 'w', string>;
    lengths: Lengths;
  };
  chart: Record<
    'label' | 'hide' | 'show' | 'table' | 'chart' | 'time' | 'total' | 'hint' | 'zoomOut',
    string
  > & {
    records: (n: string) => string;
    each: (length: string) => string;
    only: (level: string) => string;
    bar: (from: string, to: string, n: string) => string;
  };
  levels: Record<'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'unknown', string>;
  fields: Record<
    | 'label'
    | 'find'
    | 'show'
    | 'hide'
    | 'none'
    | 'add'
    | 'only'
    | 'exclude'
    | 'exists'
    | 'missing'
    | 'column'
    | 'noColumn'
    | 'min'
    | 'avg'
    | 'max'
    | 'loading',
    string
  > & {
    present: (n: string, share: string) => string;
    more: (n: number) => string;
  };
  rows: Record<
    | 'label'
    | 'time'
    | 'level'
    | 'details'
    | 'columns'
    | 'resetColumns'
    | 'resize'
    | 'moveLeft'
    | 'moveRight'
    | 'layout'
    | 'line'
    | 'wrap'
    | 'json'
    | 'comfortable'
    | 'loading'
    | 'fold'
    | 'digits'
    | 'order'
    | 'newest'
    | 'oldest'
    | 'nanos',
    string
  > & { showAll: (size: string) => string; findColumn: string };
  details: Record<
    | 'fields'
    | 'json'
    | 'raw'
    | 'context'
    | 'copyLink'
    | 'copyJson'
    | 'copyRaw'
    | 'copy'
    | 'copyTerm'
    | 'copied'
    | 'copyTime'
    | 'seconds'
    | 'millis'
    | 'nanos'
    | 'only'
    | 'exclude'
    | 'column'
    | 'close'
    | 'name'
    | 'value',
    string
  >;
  context: Record<
    'title' | 'close' | 'same' | 'everything' | 'around' | 'previous' | 'next' | 'none' | 'copy',
    string
  > & { size: (n: number) => string };
  tail: Record<'live' | 'paused' | 'connecting' | 'away' | 'resume' | 'waitingForFirst', string> & {
    fresh: (n: string) => string;
    rate: (n: number) => string;
    lost: (n: string) => string;
  };
  status: Record<'asking' | 'stale' | 'none' | 'cancelled' | 'newer', string> & {
    rows: (n: string) => string;
    of: (n: string, all: string) => string;
    took: (ms: number) => string;
    soFar: (n: string) => string;
    read: (share: string) => string;
  };
  empty: Record<
    | 'freshTitle'
    | 'freshText'
    | 'freshFiles'
    | 'freshWaiting'
    | 'freshToken'
    | 'nothing'
    | 'nothingAtAll'
    | 'allTime'
    | 'withoutQuery'
    | 'copy',
    string
  > & {
    between: (from: string, to: string) => string;
    elsewhere: (n: string, from: string, to: string) => string;
  };
  errors: Record<'unreachable' | 'retry', string>;
  table: Record<'label' | 'bar' | 'line' | 'none' | 'draw' | 'nothing' | 'drill', string> & {
    sort: (column: string) => string;
    more: (n: string) => string;
  };
  export: Record<
    | 'button'
    | 'title'
    | 'text'
    | 'format'
    | 'ndjson'
    | 'csv'
    | 'save'
    | 'curl'
    | 'copy'
    | 'link'
    | 'columns',
    string
  >;
  tabs: Record<'label' | Tab, string>;
  patterns: Record<
    'order' | 'most' | 'rarest' | 'new' | 'latest' | 'only' | 'exclude' | 'examples' | 'isNew',
    string
  > & {
    found: (n: string, records: string) => string;
    cut: (n: string) => string;
    seen: (first: string, last: string) => string;
  };
  compare: Record<
    'here' | 'there' | 'what' | 'pattern' | 'hint' | 'nothingThere' | 'nothing',
    string
  > & {
    found: (n: string, records: string) => string;
  };
  trace: Record<'title' | 'search', string> & {
    found: (n: string, services: number, length: string) => string;
    cut: (n: number) => string;
    gap: (length: string) => string;
  };
  saved: Record<
    | 'label'
    | 'save'
    | 'name'
    | 'remove'
    | 'hint'
    | 'who'
    | 'mine'
    | 'everybody'
    | 'sharedHint'
    | 'author'
    | 'copyLink'
    | 'shared'
    | 'gone',
    string
  > & { by: (author: string, when: string) => string };
}
