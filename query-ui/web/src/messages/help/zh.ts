// The words of the help in Simplified Chinese.
import type { HelpMessages } from './shape';

export const zh: HelpMessages = {
  title: '帮助',
  keys: '快捷键',
  language: '如何查询',
  licences: '此页面所含组件的许可证',
  list: [
    ['/', '跳到查询框'],
    ['Enter', '运行'],
    ['Esc', '停止查询，关闭打开的内容'],
    ['j k', '下一行、上一行'],
    ['o Enter', '打开或关闭此行'],
    ['x', '排除与此行相同的记录'],
    ['c', '查看此行的上下文'],
    ['t', '实时跟踪'],
    ['w', '单行、换行、JSON'],
    ['d', '行距宽松或紧凑'],
    ['[ ]', '前一个、后一个时间窗口'],
    ['g', '跳到最新'],
    ['p', '模式、记录'],
    ['?', '显示此帮助'],
  ],
};
