// The words about what an answer lacks and what a question may not mean, one by one, so that no language
// lacks one.

export interface PartialMessages {
  /** What is missing, and why. */
  incomplete: (what: string, why: string) => string;
  fresh: (partitions: string, count: number) => string;
  behind: (records: string, partition: string) => string;
  newest: string;
  newestSplits: string;
  silent: (length: string) => string;
  noAnswer: (node: string, cause: string) => string;
  beyond: (rows: string) => string;
  rowsMax: string;
  /** What may not be meant so, and what may have been meant; empty where nothing is near. */
  doubt: (message: string, hint: string) => string;
  noField: (field: string) => string;
  noLevel: (term: string) => string;
  noIndex: (name: string) => string;
  noIndexOf: (term: string) => string;
  meant: (what: string) => string;
  levels: (names: string) => string;
  more: (gaps: string) => string;
  toSystem: string;
}
