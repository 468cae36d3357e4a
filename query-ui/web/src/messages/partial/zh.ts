// The words about what an answer lacks and what a question may not mean, in Simplified Chinese.
import type { PartialMessages } from './shape';

export const zh: PartialMessages = {
  incomplete: (what, why) => `结果不完整，缺少${what}：${why}。`,
  fresh: (partitions) => `分区 ${partitions} 的最新记录`,
  behind: (records, partition) => `分区 ${partition} 的 ${records} 条最新记录`,
  newest: '最新的记录',
  newestSplits: '最新的分片',
  silent: (length) => `此节点已有 ${length} 没有收到集群的消息`,
  noAnswer: (node, cause) => `节点 ${node} 没有应答${cause && `（${cause}）`}`,
  beyond: (rows) => `前 ${rows} 行之后的行`,
  rowsMax: '此处的表格最多有这么多行；请按取值较少的字段分组，或导出结果',
  doubt: (message, hint) => message + (hint && `：${hint}`),
  noField: (field) => `没有记录含有字段 ${field}`,
  noLevel: (term) => `${term} 不是任何级别`,
  noIndex: (name) => `还没有索引 ${name}`,
  noIndexOf: (term) => `${term} 不是任何索引`,
  meant: (what) => `是否想写 ${what}？`,
  levels: (names) => `级别有 ${names}`,
  more: (gaps) => `还有 ${gaps} 项`,
  toSystem: '查看节点',
};
