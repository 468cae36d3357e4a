// Puts the page together, in the reader's language.
import { mount } from 'svelte';
import App from './App.svelte';
import { firstLanguage, settings } from './lib/settings.svelte';
import './tokens.css';
import './base.css';

await settings.setLanguage(firstLanguage());
const target = document.getElementById('app');
if (target) mount(App, { target });
