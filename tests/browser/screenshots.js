// Every view at two widths and in both themes, into the folder SCREENSHOTS.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { send, startBrowser, startCluster, startNode } from './harness.js';

const folder = process.env.SCREENSHOTS ?? 'screenshots';
mkdirSync(folder, { recursive: true });
const fresh = await startNode();
const node = await startNode();
const { nodes, stop } = await startCluster();
const browser = await startBrowser();

/** A shop in trouble: services, levels, texts short and long, traces, colours; four hours of it. */
const services = {
  'checkout&host=web1': (n) => [
    [`payment ${n} accepted in ${n % 190} ms`, 'info', { status: 200, user: `user${n % 7}`, trace_id: `t${n >> 2}` }],
    [`GET /api/v1/orders/${n}?expand=items,address&locale=de_DE 200 ${n % 97} ms`, 'debug', { status: 200, path: '/api/v1/orders' }],
    [`payment ${n} refused by bank: connection refused`, 'error', { status: 502, user: `user${n % 5}`, trace_id: `t${n >> 2}` }],
  ],
  'ledger&host=db1': (n) => [
    [`slow statement: SELECT o.id, o.total, a.city FROM orders o JOIN addresses a ON a.id = o.address_id WHERE o.customer = ${n} ORDER BY o.placed DESC LIMIT 50 took ${n % 900} ms`, 'warn', { took_ms: n % 900, trace_id: `t${n >> 2}` }],
    [`java.sql.SQLTransientConnectionException: pool is exhausted\n\tat shop.Pool.take(Pool.java:41)\n\tat shop.Orders.find(Orders.java:112)`, 'error', { pool: { size: 20, idle: 0 }, trace_id: `t${n >> 2}` }],
    [`\u001b[32mvacuum\u001b[0m of \u001b[1morders\u001b[0m removed ${n} tuples`, 'info', { table: 'orders' }],
  ],
  'mailer&host=web2': (n) => [[`温度传感器 ${n} 报告 ${n % 40} °C，已发送通知`, 'info', { region: '上海' }]],
};
const now = Date.now();
for (const [service, says] of Object.entries(services)) {
  const records = Array.from({ length: 700 }, (_, n) => {
    const all = says(n);
    const [message, level, fields] = all[n % 9 === 0 ? all.length - 1 : n % all.length];
    // Trouble came in waves.
    const age = n * 20_000 + ((n * 7919) % 17_000) + (n % 3) * 600_000 * Math.sin(n / 40) ** 2;
    return { timestamp: new Date(now - age).toISOString(), level, message, ...fields };
  });
  await send(node.url, service, records);
}

const fleet = [
  { host: 'web1', version: '0.1.0', files: 12, lag_bytes: 0, patterns: ['/var/log/**/*.log'] },
  { host: 'db1', version: '0.1.0', files: 3, lag_bytes: 5 << 20, gaps: 1, lost_bytes: 4096, patterns: ['/var/log/pg/*.log'] },
];
for (const report of fleet) {
  const headers = { 'content-type': 'application/json' };
  const path = `${node.url}/api/v1/shippers/${report.host}`;
  const answer = await fetch(path, { method: 'POST', headers, body: JSON.stringify(report) });
  if (!answer.ok) throw new Error(await answer.text());
}

const row = (page) => page.getByTestId('row').nth(2).click();
const context = async (page) => {
  await row(page);
  await page.getByTestId('to-context').click();
};
const views = {
  records: ['/'],
  columns: ['/?q=refused&cols=service,status,user,message'],
  sorted: ['/?q=status:*&cols=status,user,message&sort=-user'],
  details: ['/?q=refused', row],
  moment: [
    '/?q=refused',
    async (page) => {
      await row(page);
      await page.getByTitle(/timestamp/).last().click();
    },
  ],
  wrap: ['/?q=refused&view=wrap'],
  json: ['/?q=refused&view=json'],
  context: ['/?q=refused', context],
  table: ['/?q=|stats count() as n by user'],
  timeline: ['/?q=|stats count() as n by level, bin(timestamp, 10m)'],
  time: ['/', (page) => page.getByTestId('time').click()],
  tail: ['/?tail=1'],
  empty: ['/?q=nothing'],
  error: ['/?q=foo:(bar'],
  patterns: ['/?tab=patterns'],
  compare: ['/?from=-30m&tab=compare'],
  trace: ['/?trace=trace_id:t20'],
  roomy: ['/', (page) => page.getByTestId('density').click()],
  fields: [
    '/',
    async (page) => {
      const show = page.getByTestId('show-fields');
      if (await show.isVisible()) await show.click();
      await page.getByTestId('fields').getByText('status').first().click();
    },
  ],
  picker: ['/', (page) => page.getByTestId('columns').click()],
  export: ['/', (page) => page.getByTestId('export').click()],
  history: ['/?q=refused', (page) => page.getByTestId('history').click()],
  save: ['/?q=refused', (page) => page.getByTestId('save-view').click()],
  share: [
    '/?q=refused',
    async (page) => {
      await page.getByTestId('save-view').click();
      await page.getByTestId('for-everybody').check();
    },
  ],
  system: ['/system'],
  rules: [
    '/system',
    async (page) => {
      await page.getByTestId('by-_pattern').click();
      await page.getByTestId('rule-drop').first().scrollIntoViewIfNeeded();
    },
  ],
  retention: ['/system', (page) => page.getByTestId('change-retention').click()],
  alone: ['/system', (page) => page.getByTestId('alone').locator('summary').click()],
  complete: [
    '/',
    async (page) => {
      await page.getByTestId('query').pressSequentially('refused | stats c');
      await page.getByRole('option').first().waitFor();
    },
  ],
  cluster: [`${nodes[0].url}/system`, (page) => page.getByTestId('cluster-partitions').waitFor()],
  drain: [`${nodes[0].url}/system`, (page) => page.getByTestId('drain-node').nth(1).click()],
  help: ['/', (page) => page.keyboard.press('?')],
  fresh: [fresh.url],
};
await take(views);
await nodes[2].kill();
const lost = (page) => page.getByTestId('nodes').getByText(/down|离线/).first().waitFor();
await take({ down: [`${nodes[0].url}/system`, lost] });
await browser.close();
await Promise.all([node.stop(), fresh.stop(), stop()]);

async function take(views) {
  const looks = [1440, 390].flatMap((width) => ['light', 'dark'].map((colorScheme) => ({ width, colorScheme, locale: 'en-GB' })));
  // Its signs need a font that has them, such as Debian's fonts-noto-cjk.
  looks.push({ width: 1440, colorScheme: 'light', locale: 'zh-CN' }, { width: 390, colorScheme: 'dark', locale: 'zh-CN' });
  const only = process.env.LOOKS?.split(',');
  for (const { width, colorScheme, locale } of looks) {
    const look = `${width}-${colorScheme}${locale === 'zh-CN' ? '-zh' : ''}`;
    if (only && !only.includes(look)) continue;
    for (const [name, [path, act]] of Object.entries(views)) {
      const opened = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, locale });
      const page = await opened.newPage();
      await page.goto(new URL(path, node.url).href);
      await page.getByTestId('status').or(page.getByTestId('senders')).first().waitFor();
      await act?.(page);
      await page.evaluate(() => document.fonts.ready);
      await page.waitForLoadState(name === 'tail' ? 'load' : 'networkidle');
      await page.screenshot({ path: join(folder, `${name}-${look}.png`) });
      await opened.close();
    }
  }
}
