// @ts-check
// Names for commands and label events. `crypto.randomUUID` is there in secure contexts alone: not for a page that came by
// plain HTTP from another machine, whose STOP needs a name as well.

/** 128 random bits, as hexadecimal. */
export function uniqueId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
