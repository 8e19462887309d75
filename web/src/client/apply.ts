/**
 * How snapshots and batches become state: a batch counts only if it starts where the state ends. This is what makes the stream
 * exactly-once for the eye, whatever the network repeats, cuts or overlaps.
 */

import type { BatchContent, LogEvent, SnapshotContent } from './frames.ts'
import { emptyView, fold, type View } from './reducer.ts'

/** A view and the cursor of the log's prefix that it is the fold of: kept together, replaced together. */
export interface Held {
  readonly cursor: string | null
  readonly view: View
  /** The latest cursors held before this one, to know a repeated batch when it comes. */
  readonly past: readonly string[]
}

export const NOTHING: Held = { cursor: null, view: emptyView, past: [] }
const REMEMBERED = 64

export type Outcome =
  | { kind: 'applied'; held: Held; events: number }
  /** All of it is in the state already. */
  | { kind: 'dropped' }
  /** It does not continue the state: close with 4002 and resume. */
  | { kind: 'gap' }

/** A snapshot replaces whatever was there. Its events are folded by the same reducer. */
export function applySnapshot(content: SnapshotContent): Extract<Outcome, { kind: 'applied' }> {
  return {
    kind: 'applied',
    held: { cursor: content.cursor, view: fold(emptyView, content.events), past: [] },
    events: content.events.length,
  }
}

/** A batch covers (`after`, `upto`]: applied if `after` is the cursor, dropped if it is behind, a gap else. */
export function applyBatch(held: Held, content: BatchContent): Outcome {
  if (held.cursor === null) return { kind: 'gap' }
  if (content.after !== held.cursor) {
    const behind = content.upto === held.cursor || held.past.includes(content.upto)
    return { kind: behind ? 'dropped' : 'gap' }
  }
  if (!ascending(content.events, held.view.seq)) return { kind: 'gap' }
  const past = content.upto === held.cursor ? held.past : [...held.past, held.cursor].slice(-REMEMBERED)
  return {
    kind: 'applied',
    held: { cursor: content.upto, view: fold(held.view, content.events), past },
    events: content.events.length,
  }
}

/** Folded deltas and the server's own rows leave holes in the numbers, but they only ever rise. */
function ascending(events: readonly LogEvent[], after: number): boolean {
  let last = after
  for (const { seq } of events) {
    if (!(seq > last)) return false
    last = seq
  }
  return true
}
