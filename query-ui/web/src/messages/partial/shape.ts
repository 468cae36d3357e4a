// The words about what an answer lacks, one by one, so that no language lacks one.

export interface PartialMessages {
  /** What is missing, and why. */
  incomplete: (what: string, why: string) => string;
  fresh: (partitions: string, count: number) => string;
  behind: (records: string, partition: string) => string;
  newest: string;
  newestSplits: string;
  silent: (length: string) => string;
  noAnswer: (node: string, cause: string) => string;
  more: (gaps: string) => string;
  toSystem: string;
}
