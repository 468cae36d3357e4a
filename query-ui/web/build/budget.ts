// Refuses a page that grew too heavy: the build fails and says by how much.
import { gzipSync } from 'node:zlib';
import type { Plugin, Rollup } from 'vite';

/** Until the first row shows: the entry, the explorer, and what they cannot do without. */
const FIRST_ROW_BYTES_MAX = 60 * 1024;
/** Everything that the page can ever load, one language beside English included. */
const ALL_BYTES_MAX = 200 * 1024;
/** Chunks that are fetched before the first row, by the file that they begin with. */
const FIRST = ['index.html', 'src/App.svelte'];

type Bundle = Rollup.OutputBundle;

function sizeOf(bundle: Bundle, name: string): number {
  const file = bundle[name];
  if (!file) return 0;
  return gzipSync(file.type === 'chunk' ? file.code : file.source, { level: 9 }).length;
}

/** Names of the files that a chunk needs at once. */
function needed(bundle: Bundle, name: string, found = new Set<string>()): Set<string> {
  const chunk = bundle[name];
  if (found.has(name) || chunk?.type !== 'chunk') return found;
  found.add(name);
  for (const style of chunk.viteMetadata?.importedCss ?? []) found.add(style);
  for (const other of chunk.imports) needed(bundle, other, found);
  return found;
}

function total(bundle: Bundle, names: Iterable<string>): number {
  return [...names].reduce((sum, name) => sum + sizeOf(bundle, name), 0);
}

export function budget(): Plugin {
  return {
    name: 'sawlog-budget',
    writeBundle(_, bundle) {
      const isFirst = (id: string | null) => FIRST.some((part) => id?.endsWith(`/${part}`));
      const first = new Set<string>();
      for (const [name, file] of Object.entries(bundle))
        if (file.type === 'chunk' && isFirst(file.facadeModuleId)) needed(bundle, name, first);
      const page = Object.keys(bundle).filter((name) => /\.(js|css|html)$/.test(name));
      const sums: [string, number, number][] = [
        ['until the first row', total(bundle, first), FIRST_ROW_BYTES_MAX],
        ['in all', total(bundle, page), ALL_BYTES_MAX],
      ];
      for (const [what, bytes, most] of sums) {
        const text = `${(bytes / 1024).toFixed(1)} KiB compressed ${what}, of ${most / 1024}`;
        if (bytes > most || bytes === 0) this.error(`the page is too heavy: ${text}`);
        console.log(text);
      }
    },
  };
}
