// The words about what an answer lacks, in English.
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
  more: (gaps) => `${gaps} more`,
  toSystem: 'See the nodes',
};
