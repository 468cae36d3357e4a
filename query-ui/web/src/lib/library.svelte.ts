// What was asked before, and views that were given a name: kept in this browser, or on the node
// for everybody.

import * as api from './api';
import { remember, remembered } from './settings.svelte';

const HISTORY_MAX = 200;

export interface SavedView {
  name: string;
  /** The address behind the path. */
  search: string;
}

export class Library {
  history = $state.raw<string[]>(remembered('history', []));
  saved = $state.raw<SavedView[]>(remembered('saved', []));
  shared = $state.raw<api.SharedView[]>([]);
  /** As whom this browser shares views. */
  author = remembered('author', '');

  /** Without the node there are no shared views; what is wrong with it is told elsewhere. */
  async look() {
    this.shared = await api.views().catch(() => this.shared);
  }

  async share(name: string, author: string, search: string): Promise<api.SharedView> {
    this.author = author;
    remember('author', author);
    const view = await api.addView({ name, author, search });
    await this.look();
    return view;
  }

  async unshare(id: string) {
    await api.removeView(id);
    await this.look();
  }

  /** The newest first, each once. */
  asked(query: string) {
    if (!query || this.history[0] === query) return;
    this.history = [query, ...this.history.filter((other) => other !== query)].slice(
      0,
      HISTORY_MAX,
    );
    remember('history', this.history);
  }

  save(name: string, search: string) {
    const others = this.saved.filter((view) => view.name !== name);
    this.saved = [...others, { name, search }];
    remember('saved', this.saved);
  }

  remove(name: string) {
    this.saved = this.saved.filter((view) => view.name !== name);
    remember('saved', this.saved);
  }

  forgetHistory() {
    this.history = [];
    remember('history', []);
  }
}
