/**
 * The outbox: what the person sent and the server has not answered for yet. It survives a reload, and each entry keeps the id it
 * got when the person pressed Enter, so sending it again cannot do it twice.
 *
 * One storage key an entry: two tabs never write over each other. A tab that finds an entry of a tab that was closed sends it;
 * if both send it, the server answers the second with `duplicate`.
 */

import type { Command, Failure } from './frames.ts'

/** The part of `localStorage` that is used. */
export interface Shelf {
  readonly length: number
  key(index: number): string | null
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

export interface Entry {
  id: string
  /** null: a first prompt whose session has no id yet. */
  session: string | null
  frame: Command
  /** When it was sent first, wall clock in ms. */
  at: number
  /** The server refused it for good; it stays to be read, changed or dismissed. */
  failed?: Failure
}

const PREFIX = 'reconvene.outbox.'

export class Outbox {
  private readonly entries = new Map<string, Entry>()
  private readonly shelf: Shelf

  constructor(shelf: Shelf) {
    this.shelf = shelf
    this.reload()
  }

  /** Takes in what is on the shelf: after a load, or when another tab left something. */
  reload(): void {
    const keys: string[] = []
    for (let i = 0; i < this.shelf.length; i++) {
      const key = this.shelf.key(i)
      if (key?.startsWith(PREFIX)) keys.push(key)
    }
    for (const key of keys) {
      const entry = parse(this.shelf.getItem(key))
      if (entry && PREFIX + entry.id === key) this.entries.set(entry.id, entry)
      else this.shelf.removeItem(key)
    }
  }

  add(entry: Entry): void {
    this.entries.set(entry.id, entry)
    this.store(entry)
  }

  get(id: string): Entry | undefined {
    return this.entries.get(id)
  }

  /** Everything there is, oldest first: the ids sort by time. */
  all(): Entry[] {
    return [...this.entries.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  /** What is to be sent to this session, in the order in which it was written. */
  waiting(session: string | null): Entry[] {
    return this.all().filter((entry) => entry.session === session && !entry.failed)
  }

  /** The session has its id now. */
  bind(from: string | null, to: string): void {
    for (const entry of this.entries.values()) {
      if (entry.session !== from) continue
      const bound = { ...entry, session: to }
      this.entries.set(entry.id, bound)
      this.store(bound)
    }
  }

  /** Answered for, or dismissed. */
  remove(id: string): void {
    this.entries.delete(id)
    this.shelf.removeItem(PREFIX + id)
  }

  fail(id: string, failed: Failure): void {
    const entry = this.entries.get(id)
    if (!entry) return
    const kept = { ...entry, failed }
    this.entries.set(id, kept)
    this.store(kept)
  }

  private store(entry: Entry): void {
    try {
      this.shelf.setItem(PREFIX + entry.id, JSON.stringify(entry))
    } catch {
      // No room or no permission: it still lives in this page, and is sent from here.
    }
  }
}

function parse(text: string | null): Entry | null {
  try {
    const entry = JSON.parse(text ?? '') as Entry
    const whole = typeof entry?.id === 'string' && typeof entry.frame?.type === 'string' && entry.frame.id === entry.id
    return whole && (entry.session === null || typeof entry.session === 'string') ? entry : null
  } catch {
    return null
  }
}

/** A shelf in memory, for where there is no storage. */
export function memoryShelf(): Shelf {
  const kept = new Map<string, string>()
  return {
    get length() {
      return kept.size
    },
    key: (index) => [...kept.keys()][index] ?? null,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => void kept.set(key, value),
    removeItem: (key) => void kept.delete(key),
  }
}

/** `localStorage`, or a shelf in memory where the browser refuses it. */
export function pageShelf(): Shelf {
  try {
    const shelf = globalThis.localStorage
    shelf.setItem('reconvene.probe', '')
    shelf.removeItem('reconvene.probe')
    return shelf
  } catch {
    return memoryShelf()
  }
}
