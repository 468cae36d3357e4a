// Whether who sends something to the node, or asks it from elsewhere, must show a token.

let asked: Promise<boolean> | null = null;

/** The browser shows the reader's token by itself: what is asked without it tells. */
export function wantsToken(): Promise<boolean> {
  const refused = async () =>
    (await fetch('/api/v1/status', { credentials: 'omit' })).status === 401;
  return (asked ??= refused().catch(() => false));
}
