/** A view's items, gathered run by run: a prompt that waits in the queue does not split the answer that is being written. Pure. */

import { activeRun, isRewound, queued, type Item, type PromptItem, type RunView, type View } from '../client'

export interface Turn {
  id: string
  run: RunView | null
  /** What was asked; prompts that steer are among the items. */
  prompts: PromptItem[]
  items: Item[]
  /** When it began and ended; seconds since the epoch. */
  began: number | null
  ended: number | null
  /** Whether the person took it back. */
  rewound: boolean
}

/** Places of the items whose text is all that is another; null when anything else is. It is a look at each, and no more. */
export function grown(before: View, now: View): number[] | null {
  if (before === now) return []
  if (before.runs !== now.runs || before.order !== now.order || before.rewinds !== now.rewinds || before.plan !== now.plan || before.items.length !== now.items.length) return null
  const places: number[] = []
  for (let place = 0; place < now.items.length; place++) {
    const [was, is] = [before.items[place]!, now.items[place]!]
    if (was === is) continue
    if (was.type !== 'text' || is.type !== 'text' || was.seq !== is.seq || was.kind !== is.kind || was.final !== is.final) return null
    places.push(place)
  }
  return places
}

/** Of which view turns were made. */
const made = new WeakMap<readonly Turn[], View>()

/**
 * Turns in the order in which they began; what waits in the queue is not among them. A turn that is as it was `before` is the
 * same object, so that only what changed is drawn again.
 */
export function turns(view: View, before: readonly Turn[] = []): Turn[] {
  const list = longer(view, before) ?? anew(view, before)
  made.set(list, view)
  return list
}

/** The turns of which only texts have grown: what most pieces of an answer do. */
function longer(view: View, before: readonly Turn[]): Turn[] | null {
  const old = made.get(before)
  const places = old ? grown(old, view) : null
  if (!old || !places) return null
  const list = [...before]
  for (const place of places) {
    const [was, is] = [old.items[place]!, view.items[place]!]
    const at = list.findIndex(({ id }) => id === (is.run_id ?? ''))
    // What is not shown, as it waits in the queue, is not shown any longer either.
    if (at >= 0) list[at] = { ...list[at]!, items: list[at]!.items.map((item) => (item === was ? is : item)) }
  }
  return list
}

function anew(view: View, before: readonly Turn[]): Turn[] {
  const known = new Map<string, Turn & { order: number }>()
  view.items.forEach((item, place) => {
    const id = item.run_id ?? ''
    let turn = known.get(id)
    if (!turn) {
      turn = { id, run: view.runs[id] ?? null, prompts: [], items: [], began: null, ended: view.runs[id]?.ended_at ?? null, rewound: isRewound(view, item.seq), order: Infinity }
      known.set(id, turn)
    }
    if (item.type === 'prompt') {
      if (item.removed) return
      if (turn.items.length === 0) turn.prompts.push(item)
      else turn.items.push(item)
      return
    }
    if (turn.items.length === 0) {
      turn.order = place
      turn.began = item.at
    }
    turn.items.push(item)
  })
  // What is first in the queue while nothing runs is about to run: it is shown as if it did.
  const next = activeRun(view) ? null : queued(view)[0]?.run_id
  const waits = ({ id, run }: Turn) => run?.status === 'queued' && run.outcome === null && id !== next
  const begun = (turn: Turn) => turn.items.length > 0 || (turn.prompts.length > 0 && !waits(turn))
  return [...known.values()]
    .filter(begun)
    .map((turn) => (turn.order === Infinity && turn.ended !== null ? { ...turn, order: view.items.indexOf(turn.prompts[0]!) } : turn))
    .sort((a, b) => (a.order === b.order ? 0 : a.order - b.order))
    .map((turn, place) => (before[place] && alike(before[place], turn) ? before[place] : turn))
}

/** The last event that belongs to an item: what is before the next one. */
export function endOf(view: View, seq: number): number {
  const place = view.items.findIndex((item) => item.seq === seq)
  const next = view.items.slice(place + 1).find((item) => item.seq > seq)
  return next ? next.seq - 1 : view.seq
}

/** Where an event is shown: its turn's place, and the item that it made or that it went into. */
export function placeOf(list: readonly Turn[], seq: number): { turn: number; seq: number } | null {
  let best: { turn: number; seq: number } | null = null
  list.forEach(({ prompts, items }, turn) => {
    for (const item of [...prompts, ...items]) if (item.seq <= seq && (best === null || item.seq > best.seq)) best = { turn, seq: item.seq }
  })
  return best
}

/** The steps that an item is shown within, the outermost first: a sub-agent's are inside of the step that called it. */
export function around({ items }: Turn, seq: number): number[] {
  const found: number[] = []
  let item = items.find((known) => known.seq === seq)
  while (item?.parent_id) {
    const { parent_id } = item
    item = items.find((known) => known.type === 'tool' && known.id === parent_id)
    if (!item || found.includes(item.seq)) break
    found.unshift(item.seq)
  }
  return found
}

/** What is drawn at a time, at first and when the reader gets further: so many turns, with so many items together. */
const MANY = 12
const ROOM = 60

const sizeOf = ({ prompts, items }: Turn): number => prompts.length + items.length

/** How many turns before a place are drawn at a time; one at least, if there is one. */
export function before(list: readonly Turn[], place: number): number {
  let [count, room] = [0, ROOM]
  while (count < MANY && place - count > 0 && ((room -= sizeOf(list[place - count - 1]!)) >= 0 || count === 0)) count += 1
  return count
}

/** The same of those from a place on. */
export function after(list: readonly Turn[], place: number): number {
  let [count, room] = [0, ROOM]
  while (count < MANY && place + count < list.length && ((room -= sizeOf(list[place + count]!)) >= 0 || count === 0)) count += 1
  return count
}

const same = (a: readonly unknown[], b: readonly unknown[]): boolean => a.length === b.length && a.every((item, place) => item === b[place])

const alike = (a: Turn, b: Turn): boolean => a.id === b.id && a.run === b.run && a.rewound === b.rewound && same(a.prompts, b.prompts) && same(a.items, b.items)
