/** What stands around the conversation: the map, the palette, the list of keys, a deletion that can be taken back, a place to go to. */

import * as api from './api'
import * as code from './code'
import type { Page } from './page.svelte'
import { titleOf } from './words'

const UNDO_MS = 8_000
const MAP = 'reconvene.map'

export interface Leaving {
  id: string
  title: string
}

export class Bench {
  readonly page: Page
  map = $state(false)
  palette = $state(false)
  keys = $state(false)
  /** A session that is deleted in a moment. */
  leaving = $state.raw<Leaving | null>(null)
  /** Of the code base that is open; null until it is known. */
  welcome = $state.raw<code.Welcome | null>(null)
  /** A name whose places the map shows. */
  looking = $state<string | null>(null)
  /** The event that the address names. */
  target = $state<number | null>(seqOf(location.hash))
  /** Up to which event the session was known when it was opened: what comes later is news. Null until then. */
  heard = $state<number | null>(null)
  /** Puts text into the prompt, at its caret. */
  attach: (text: string) => void = () => {}
  private timer: ReturnType<typeof setTimeout> | undefined
  private welcoming: string | null = null

  constructor(page: Page) {
    this.page = page
    this.map = page.shelf.getItem(MAP) === 'open' && matchMedia('(min-width: 75rem)').matches
    addEventListener('hashchange', () => (this.target = seqOf(location.hash)))
    addEventListener('pagehide', () => this.leave(true))
  }

  readonly root = $derived.by(() => this.page.greeting?.root ?? null)

  showMap(open: boolean): void {
    this.map = open
    if (!open) this.looking = null
    try {
      if (open) this.page.shelf.setItem(MAP, 'open')
      else this.page.shelf.removeItem(MAP)
    } catch {
      // Without storage it holds as long as the page.
    }
  }

  /** Shows where a name is defined and used. */
  look(name: string): void {
    this.looking = name
    this.showMap(true)
  }

  /** Gets to know the code base, again while it is being read. */
  async welcomed(): Promise<void> {
    const root = this.root
    if (root === null || this.welcoming === root) return
    this.welcoming = root
    try {
      const told = await code.welcome(root)
      if (this.root === root) this.welcome = told
    } catch {
      // The link says that the server is away, or the server is still starting: the next look tells.
    }
    this.welcoming = null
  }

  // -- sessions

  /** Deletes in a moment, in which it can be taken back. */
  remove(id: string, title: string): void {
    this.leave()
    this.leaving = { id, title: titleOf(title) }
    this.timer = setTimeout(() => this.leave(), UNDO_MS)
    if (this.page.session === id) this.page.open(null)
  }
  keep(): void {
    clearTimeout(this.timer)
    const kept = this.leaving
    this.leaving = null
    if (kept) this.page.open(kept.id)
  }
  /** `going`: the page is closed, nothing is waited for. */
  private leave(going = false): void {
    clearTimeout(this.timer)
    const gone = this.leaving
    this.leaving = null
    if (!gone) return
    const address = `/api/sessions/${encodeURIComponent(gone.id)}`
    if (going) {
      void fetch(address, { method: 'DELETE', keepalive: true, credentials: 'same-origin' })
      return
    }
    this.page.sessions = this.page.sessions.filter(({ session_id }) => session_id !== gone.id)
    api
      .call('DELETE', address)
      .catch((error: unknown) => {
        if (error instanceof api.Refusal && error.status === 404) return
        this.page.complaint = `“${gone.title}” was not deleted: ${error instanceof api.Refusal ? error.message : 'the server cannot be reached now.'}`
      })
      .finally(() => void this.page.list())
  }

  /** A new session that begins as this one did, up to an event. */
  async fork(id: string, upto: number | null): Promise<boolean> {
    try {
      const made = await api.call<api.SessionInfo>('POST', `/api/sessions/${encodeURIComponent(id)}/fork`, upto === null ? {} : { upto })
      this.page.open(made.session_id)
      void this.page.list()
      return true
    } catch (error) {
      this.page.complaint = error instanceof api.Refusal ? error.message : 'The server cannot be reached now. Nothing was copied; try again in a moment.'
      return false
    }
  }

  /** Goes to an event of a session. */
  go(id: string, seq: number): void {
    if (id !== this.page.session) this.page.open(id)
    if (seq > 0) {
      history.replaceState(null, '', `/s/${id}#e${seq}`)
      this.target = null
      queueMicrotask(() => (this.target = seq))
    }
  }
}

export function seqOf(hash: string): number | null {
  const found = /^#e(\d{1,9})$/.exec(hash)
  return found ? Number(found[1]) : null
}

export const exportAddress = (id: string, format: string): string => `/api/sessions/${encodeURIComponent(id)}/export?format=${format}`
