/** Which session this browser was in last: the key `sessionId` of local storage, as the sample client has it. */

import type { Shelf } from './outbox.ts'

const KEY = 'sessionId'
const SHAPE = /^s_[A-Za-z0-9_-]{22}$/

/** The id when it has the shape of one, else null: `"undefined"` and other accidents mean "no session". */
export function sessionId(text: unknown): string | null {
  return typeof text === 'string' && SHAPE.test(text) ? text : null
}

export function lastSession(shelf: Shelf): string | null {
  return sessionId(shelf.getItem(KEY))
}

/** The cursor is never stored beside it: it is worth something only with the state that it belongs to, which lives in memory. */
export function rememberSession(shelf: Shelf, id: string | null): void {
  try {
    if (id === null) shelf.removeItem(KEY)
    else shelf.setItem(KEY, id)
  } catch {
    // Without storage a reload starts a new session; this one stays in the list.
  }
}
