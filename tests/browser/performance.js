// How quick the page is, measured in the browser: prints the figures of docs/performance.md.
import { send, startBrowser, startNode } from './harness.js';

const RECORDS = 100_000;
const FIELDS = 10_000;
const many = await startNode();
const wide = await startNode();
const browser = await startBrowser();

const now = Date.now();
const line = (at) => ({
  timestamp: new Date(now - at * 100).toISOString(),
  level: at % 10 ? 'info' : 'error',
  message: `request ${at} of user ${at % 997} took ${at % 311} ms${at % 50 ? '' : '\n  at handler\n  at main'}`,
  status: at % 10 ? 200 : 500,
});
for (let at = 0; at < RECORDS; at += 10_000)
  await send(many.url, 'shop', Array.from({ length: 10_000 }, (_, n) => line(at + n)));
const fields = (first) => Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`field_${first + n}`, n]));
for (let at = 0; at < FIELDS; at += 1000)
  await send(wide.url, 'wide', Array.from({ length: 10 }, (_, n) => ({ message: 'wide', ...fields(at + n * 100) })));

/** The longest time for which a page did not listen, and its frames, while `act` runs. */
async function watched(page, act) {
  await page.evaluate(() => {
    window.tasks = [0];
    window.frames = [];
    window.watch = new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((one) => one.duration)));
    window.watch.observe({ type: 'longtask' });
    let last = performance.now();
    const frame = (time) => {
      window.frames.push(time - last);
      last = time;
      if (window.frames) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  const value = await act();
  const seen = await page.evaluate(() => {
    window.watch.disconnect();
    const frames = window.frames.slice(1).sort((a, b) => a - b);
    return { longest: Math.max(...window.tasks), frames };
  });
  const at = (share) => seen.frames[Math.floor((seen.frames.length - 1) * share)] ?? 0;
  return { value, longest: seen.longest, p50: at(0.5), p95: at(0.95) };
}

const ms = (number) => `${number.toFixed(0)} ms`;
const told = (what, figure) => console.log(`| ${what} | ${figure} |`);
const opened = async (url) => {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  await page.goto(url);
  await page.getByTestId('row').first().waitFor();
  return page;
};
const median = (all) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)];

const page = await opened(`${many.url}/?from=-24h`);
const shown = [];
for (let round = 0; round < 9; round += 1) {
  const query = `user ${100 + round}`;
  await page.getByTestId('query').fill(query);
  shown.push(
    await page.evaluate(async (wanted) => {
      const area = document.querySelector('[data-testid=query]');
      const start = performance.now();
      area.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
      const isThere = () => document.querySelector('[data-testid=row]')?.textContent.includes(`${wanted} took`);
      while (!isThere()) await new Promise(requestAnimationFrame);
      await new Promise(requestAnimationFrame);
      return performance.now() - start;
    }, query),
  );
}
told(`Enter → first results painted, of ${RECORDS} records, median of 9`, ms(median(shown)));

await page.goto(`${many.url}/?from=-24h&chart=0`);
await page.getByTestId('row').first().waitFor();
await page.evaluate(async () => {
  const list = document.querySelector('[data-testid=records]');
  for (let still = 0; still < 40; ) {
    const before = list.scrollHeight;
    list.scrollTop = list.scrollHeight;
    await new Promise((done) => setTimeout(done, 50));
    still = list.scrollHeight === before ? still + 1 : 0;
  }
  list.scrollTop = 0;
});
// What the page itself spends on a frame does not hang on what else the machine does.
const session = await page.context().newCDPSession(page);
await session.send('Performance.enable');
const spent = async () => {
  const { metrics } = await session.send('Performance.getMetrics');
  const of = (name) => metrics.find((one) => one.name === name).value * 1000;
  return { script: of('ScriptDuration'), layout: of('LayoutDuration'), style: of('RecalcStyleDuration') };
};
const before = await spent();
const scroll = await watched(page, () =>
  page.evaluate(async () => {
    const list = document.querySelector('[data-testid=records]');
    let most = 0;
    for (let step = 0; step < 180; step += 1) {
      list.scrollTop += 400;
      await new Promise(requestAnimationFrame);
      most = Math.max(most, document.querySelectorAll('[data-testid=row]').length);
    }
    return { most, rows: document.querySelector('[data-testid=status]').textContent };
  }),
);
told(`rows loaded while measured`, scroll.value.rows.trim());
told('scrolling 400 px a frame: frame p50 / p95', `${scroll.p50.toFixed(1)} / ${scroll.p95.toFixed(1)} ms`);
const after = await spent();
const each = (name) => ((after[name] - before[name]) / 180).toFixed(1);
told('of a frame: script / layout / style', `${each('script')} / ${each('layout')} / ${each('style')} ms`);
told('rows in the page at most', scroll.value.most);
const typing = await watched(page, () => page.getByTestId('query').pressSequentially('status:500 AND took', { delay: 40 }));
told('longest task while typing a query, those rows loaded', typing.longest ? ms(typing.longest) : 'under 50 ms');

const other = await opened(wide.url);
await other.getByPlaceholder(/Find a field/).waitFor();
await other.waitForFunction(() => document.querySelector('[data-testid=fields] input').placeholder.includes('100'));
const finding = await watched(other, () =>
  other.evaluate(async () => {
    const input = document.querySelector('[data-testid=fields] input');
    const start = performance.now();
    input.value = 'field_9876';
    input.dispatchEvent(new Event('input', { bubbles: true }));
    const isThere = () => document.querySelector('[data-testid=fields] .list').textContent.includes('field_9876');
    while (!isThere() && performance.now() - start < 5000) await new Promise(requestAnimationFrame);
    return performance.now() - start;
  }),
);
told(`finding one of ${FIELDS} fields: typed → listed`, ms(finding.value));
const wideTyping = await watched(other, () => other.getByTestId('query').pressSequentially('field_12:5 wide', { delay: 40 }));
told(`longest task while typing a query, ${FIELDS} fields`, wideTyping.longest ? ms(wideTyping.longest) : 'under 50 ms');

await browser.close();
await many.stop();
await wide.stop();
