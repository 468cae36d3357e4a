// What this browser remembers: theme, language, and how rows were last looked at.

import { en } from '../messages/en';
import type { Messages } from '../messages/shape';
import { DEFAULT, type View } from './view';

type Theme = 'system' | 'light' | 'dark';
const THEMES: Theme[] = ['system', 'light', 'dark'];
type Density = 'compact' | 'comfortable';
export const LANGUAGES = { en: 'English', zh: '简体中文' } as const;
export type Language = keyof typeof LANGUAGES;

function stored(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function store(name: string, value: string) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A browser that keeps nothing still shows everything.
  }
}

/** A remembered value of any shape; what cannot be read is the usual one. */
export function remembered<T>(name: string, usual: T): T {
  try {
    const text = stored(name);
    return text === null ? usual : (JSON.parse(text) as T);
  } catch {
    return usual;
  }
}

export function remember(name: string, value: unknown) {
  store(name, JSON.stringify(value));
}

/** How the records of one index are looked at. */
interface Look {
  columns?: string[];
  widths?: Record<string, number>;
}

class Settings {
  theme = $state<Theme>(THEMES.find((theme) => theme === stored('theme')) ?? 'system');
  language = $state<Language>('en');
  /** All nine digits of a second. */
  nanos = $state(remembered('nanos', false));
  /** How much room a row has. */
  density = $state<Density>(stored('density') === 'comfortable' ? 'comfortable' : 'compact');
  /** The index that is asked; empty: not one of them. */
  index = $state('');
  private looks = $state.raw<Record<string, Look>>(remembered('looks', {}));
  words = $state.raw<Messages>(en);

  toggleDensity() {
    this.density = this.density === 'compact' ? 'comfortable' : 'compact';
    store('density', this.density);
  }

  setTheme(theme: Theme) {
    this.theme = theme;
    store('theme', theme);
    if (theme === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme;
  }

  nextTheme() {
    this.setTheme(THEMES[(THEMES.indexOf(this.theme) + 1) % THEMES.length] ?? 'system');
  }

  /** Takes the words of a language; those of English are always here. */
  async setLanguage(language: Language) {
    this.words = language === 'zh' ? (await import('../messages/zh')).zh : en;
    this.language = language;
    document.documentElement.lang = language === 'zh' ? 'zh-Hans' : 'en';
  }

  chooseLanguage(language: Language) {
    store('language', language);
    void this.setLanguage(language);
  }

  toggleNanos() {
    this.nanos = !this.nanos;
    remember('nanos', this.nanos);
  }

  /** What is kept of the index that is asked. */
  get look(): Look {
    return this.looks[this.index] ?? {};
  }

  get widths(): Record<string, number> {
    return this.look.widths ?? {};
  }

  keep(look: Look) {
    this.looks = { ...this.looks, [this.index]: { ...this.look, ...look } };
    remember('looks', this.looks);
  }

  setWidth(column: string, width: number) {
    const widths = { ...this.widths, [column]: Math.round(Math.max(48, Math.min(1200, width))) };
    this.keep({ widths });
  }
}

export const settings = new Settings();

/** The words of the page in the reader's language. */
export const words = () => settings.words;

/** What was chosen, else what the browser asks for. */
export function firstLanguage(): Language {
  const chosen = stored('language') ?? navigator.language;
  return chosen.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

type Habit = Pick<View, 'zone' | 'layout' | 'chart'>;

/** The built-in view with this browser's habits. */
export function usualView(): View {
  const { zone, layout, chart } = { ...DEFAULT, ...remembered<Partial<Habit>>('habit', {}) };
  return { ...DEFAULT, zone, layout, chart, columns: settings.look.columns ?? DEFAULT.columns };
}

export function rememberHabit({ zone, layout, chart }: View) {
  remember('habit', { zone, layout, chart } satisfies Habit);
}
