// Lists the packages whose code is in the page, with their licences, as licences.txt.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Plugin } from 'vite';

/** The folder of the package that a module belongs to. */
function packageOf(module: string): string | null {
  const [path = ''] = module.replace(/^\0+/, '').split('?');
  return /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? null;
}

interface Manifest {
  name: string;
  version: string;
  license?: string;
}

function entry(folder: string): string {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
  const { name, version, license } = manifest;
  const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
  if (!license || !file) throw new Error(`${name} does not say its licence: leave it out`);
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
}

export function licences(): Plugin {
  return {
    name: 'sawlog-licences',
    generateBundle() {
      const folders = new Set<string>();
      for (const module of this.getModuleIds()) {
        const folder = packageOf(module);
        if (folder && existsSync(dirname(folder))) folders.add(folder);
      }
      const source = [...folders]
        .toSorted()
        .map(entry)
        .join(`\n${'-'.repeat(78)}\n\n`);
      if (!source) this.error('no package was found in the page: the list would be empty');
      this.emitFile({ type: 'asset', fileName: 'licences.txt', source });
    },
  };
}
