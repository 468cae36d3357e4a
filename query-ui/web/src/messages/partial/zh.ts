// The words about what an answer lacks, in Simplified Chinese.
import type { PartialMessages } from './shape';

export const zh: PartialMessages = {
  incomplete: (what, why) => `结果不完整，缺少${what}：${why}。`,
  fresh: (partitions) => `分区 ${partitions} 的最新记录`,
  behind: (records, partition) => `分区 ${partition} 的 ${records} 条最新记录`,
  newest: '最新的记录',
  newestSplits: '最新的分片',
  silent: (length) => `此节点已有 ${length} 没有收到集群的消息`,
  noAnswer: (node, cause) => `节点 ${node} 没有应答${cause && `（${cause}）`}`,
  more: (gaps) => `还有 ${gaps} 项`,
  toSystem: '查看节点',
};
