// What an answer lacks, told in few sentences: what has one reason together, and once; what may not
// be meant so in the question.

import { en } from '../messages/partial/en';
import type { PartialMessages } from '../messages/partial/shape';
import { zh } from '../messages/partial/zh';
import { settings, words } from './settings.svelte';
import { showCount } from './text';
import { showLength } from './time';
import type { Doubt, Missing } from './wire';

export interface Gap {
  what: string;
  why: string;
}

/** The words about gaps in the reader's language. */
export const partialWords = (): PartialMessages => (settings.language === 'zh' ? zh : en);

const FRESH = /^fresh records of partition (\d+)$/;
const BEHIND = /^(\d+) newest records of partition (\d+)$/;
const SILENT = /^this node has not heard of its cluster for (\d+) ms$/;
const BEYOND = /^rows beyond the first (\d+)$/;
const ROWS_MAX = /^a table has so many at most/;
const NO_FIELD = /^no record has a field (".*")$/s;
const NO_LEVEL = /^(.*) names no level$/s;
const NO_INDEX = /^there is no index (".*") yet$/s;
const NO_INDEX_OF = /^(.*) names no index$/s;
const MEANT = /^did you mean (.*)\?$/s;
const LEVELS = /^levels are (.*)$/;
const NO_ANSWER = /^node (\S+) does not answer(?:: (.*))?$/;

/** The gaps of an answer, those with the same reason as one. */
export function gaps(missing: Missing[], w: PartialMessages, language: string): Gap[] {
  const byReason = new Map<string, Set<string>>();
  for (const { what, why } of missing) {
    const reason = reasonOf(why, w);
    byReason.set(reason, (byReason.get(reason) ?? new Set()).add(what));
  }
  return [...byReason].map(([why, whats]) => ({ what: together([...whats], w, language), why }));
}

function together(whats: string[], w: PartialMessages, language: string): string {
  const fresh = whats.flatMap((what) => FRESH.exec(what)?.[1] ?? []);
  const list = new Intl.ListFormat(language, { type: 'conjunction' });
  const others = whats.filter((what) => !FRESH.test(what)).map((what) => nameOf(what, w, language));
  const sorted = fresh.toSorted((a, b) => Number(a) - Number(b));
  const first = fresh.length ? [w.fresh(list.format(sorted), fresh.length)] : [];
  return list.format([...first, ...others]);
}

function nameOf(what: string, w: PartialMessages, language: string): string {
  if (what === 'the newest records') return w.newest;
  if (what === 'the newest splits') return w.newestSplits;
  const [, most] = BEYOND.exec(what) ?? [];
  if (most) return w.beyond(showCount(Number(most), language));
  const [, count, partition] = BEHIND.exec(what) ?? [];
  return count && partition ? w.behind(showCount(Number(count), language), partition) : what;
}

/** What may not be meant so in a question, each once. */
export function doubtful(doubts: Doubt[], w: PartialMessages): string[] {
  const said = ({ message, hint }: Doubt) => w.doubt(doubtOf(message, w), hintOf(hint ?? '', w));
  return [...new Set(doubts.map(said))];
}

function doubtOf(message: string, w: PartialMessages): string {
  const [, field] = NO_FIELD.exec(message) ?? [];
  if (field) return w.noField(field);
  const [, level] = NO_LEVEL.exec(message) ?? [];
  if (level) return w.noLevel(level);
  const [, index] = NO_INDEX.exec(message) ?? [];
  if (index) return w.noIndex(index);
  const [, term] = NO_INDEX_OF.exec(message) ?? [];
  return term ? w.noIndexOf(term) : message;
}

function hintOf(hint: string, w: PartialMessages): string {
  const [, meant] = MEANT.exec(hint) ?? [];
  if (meant) return w.meant(meant);
  const [, levels] = LEVELS.exec(hint) ?? [];
  return levels ? w.levels(levels) : hint;
}

function reasonOf(why: string, w: PartialMessages): string {
  if (ROWS_MAX.test(why)) return w.rowsMax;
  const [, silent] = SILENT.exec(why) ?? [];
  // Rounded: each part of an answer was asked at another moment.
  if (silent)
    return w.silent(showLength(Math.round(Number(silent) / 1000) * 1000, words().time.lengths));
  const [, node, cause] = NO_ANSWER.exec(why) ?? [];
  return node ? w.noAnswer(node, once(cause ?? '')) : once(why);
}

/** A chain of causes in which each is said once. */
function once(chain: string): string {
  return [...new Set(chain.split(': '))].join(': ');
}
