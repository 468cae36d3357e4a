// What a shipper is told so that less of something is sent: a rule of its settings, to be copied.

import { patternExpression } from './patterns';

export type Action = 'drop' | 'sample';

/** Of so many records one is sent. */
export const SAMPLE_ONE_IN = 100;

/** A text of TOML. */
const literal = (text: string) => JSON.stringify(text).replace(/\u007f/g, '\\u007F');

/** The rule for records with this value of a field, or with a message of this pattern. */
export function shipperRule(field: string, value: string, action: Action): string {
  const condition =
    field === '_pattern'
      ? `field = "message", matches = ${literal(patternExpression(value))}`
      : `field = ${literal(field)}, is = ${literal(value)}`;
  const does = action === 'drop' ? 'drop = true' : `sample_one_in = ${SAMPLE_ONE_IN}`;
  return `[[files.rules]]\nwhen = [{ ${condition} }]\n${does}\n`;
}
