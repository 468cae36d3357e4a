// Fields by name: one that is a label of some records and a field of others is one.

import type { Field } from './wire';

/** Each name once, most frequent first. No record has a name as both: the counts add up. */
export function byName(fields: Field[]): Field[] {
  const found = new Map<string, Field>();
  for (const field of fields) {
    const other = found.get(field.name);
    found.set(field.name, other ? joined(other, field) : field);
  }
  return [...found.values()].toSorted((a, b) => b.count - a.count);
}

function joined(one: Field, other: Field): Field {
  return {
    name: one.name,
    label: one.label || other.label,
    types: [...new Set([...one.types, ...other.types])],
    count: one.count + other.count,
  };
}
