// The words of the help, one by one, so that no language lacks one.

export type HelpMessages = Record<'title' | 'keys' | 'language' | 'licences', string> & {
  list: [key: string, does: string][];
};
