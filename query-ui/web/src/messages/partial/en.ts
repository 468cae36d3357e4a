// The words about what an answer lacks and what a question may not mean, in English.
import type { PartialMessages } from './shape';

export const en: PartialMessages = {
  incomplete: (what, why) => `Incomplete, without ${what}: ${why}.`,
  fresh: (partitions, count) =>
    `the newest records of ${count > 1 ? 'partitions' : 'partition'} ${partitions}`,
  behind: (records, partition) => `the ${records} newest records of partition ${partition}`,
  newest: 'the newest records',
  newestSplits: 'the newest splits',
  silent: (length) => `this node has heard nothing of its cluster for ${length}`,
  noAnswer: (node, cause) => `node ${node} does not answer${cause && ` (${cause})`}`,
  beyond: (rows) => `the rows beyond the first ${rows}`,
  rowsMax: 'a table here has so many at most; group by fields with fewer values, or export it',
  doubt: (message, hint) => message + (hint && `: ${hint}`),
  noField: (field) => `no record has a field ${field}`,
  noLevel: (term) => `${term} names no level`,
  noIndex: (name) => `there is no index ${name} yet`,
  noIndexOf: (term) => `${term} names no index`,
  meant: (what) => `did you mean ${what}?`,
  levels: (names) => `levels are ${names}`,
  more: (gaps) => `${gaps} more`,
  toSystem: 'See the nodes',
};
