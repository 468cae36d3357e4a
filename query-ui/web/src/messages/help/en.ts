// The words of the help in English.
import type { HelpMessages } from './shape';

export const en: HelpMessages = {
  title: 'Help',
  keys: 'Keys',
  language: 'How to ask',
  licences: 'Licences of the parts of this page',
  list: [
    ['/', 'to the query'],
    ['Enter', 'run'],
    ['Esc', 'stop the work, close what is open'],
    ['j k', 'next, previous row'],
    ['o Enter', 'open or close the row'],
    ['x', 'leave out rows like this one'],
    ['c', 'the row in its context'],
    ['t', 'live tail'],
    ['w', 'one line, wrap, JSON'],
    ['d', 'more or less room in rows'],
    ['[ ]', 'the window before, after'],
    ['g', 'to the newest'],
    ['p', 'patterns, records'],
    ['?', 'this help'],
  ],
};
