// Puts the page together, in the reader's language.
import { mount } from 'svelte';
import { firstLanguage, settings } from './lib/settings.svelte';
import './tokens.css';
import './base.css';

const isSystem = location.pathname === '/system';
const page = isSystem ? import('./components/System.svelte') : import('./App.svelte');
await settings.setLanguage(firstLanguage());
const target = document.getElementById('app');
if (target) mount((await page).default, { target });
