import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { budget } from './build/budget.ts';
import { licences } from './build/licences.ts';

// `npm run dev` serves the sources and asks the node at SAWLOG_SERVER.
const api = process.env['SAWLOG_SERVER'] ?? 'http://127.0.0.1:7410';

// Hashed names, nothing inline: the page's policy allows files of its own only.
export default defineConfig({
  plugins: [svelte(), licences(), budget()],
  build: { outDir: 'dist', assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  // The node refuses what a page of another address asks: it is told the page's own.
  server: { host: '127.0.0.1', proxy: { '/api': { target: api, changeOrigin: false } } },
});
