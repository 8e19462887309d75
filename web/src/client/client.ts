/**
 * A client of one session: the link, the outbox and the fold, put together. It loses nothing and shows nothing twice.
 *
 * `state` is replaced, never changed; `subscribe` tells when.
 */

import { applyBatch, applySnapshot, NOTHING, type Held } from './apply.ts'
import { PROTO, type ClientFrame, type Command, type Config, type Failure, type JsonObject, type ServerFrame, type SessionContent } from './frames.ts'
import { newId } from './ids.ts'
import { Link, type LinkState } from './link.ts'
import { pageShelf, Outbox, type Entry, type Shelf } from './outbox.ts'
import { emptyView, type View } from './reducer.ts'
import { lastSession, rememberSession, sessionId } from './session.ts'
import { browserWorld, tokenWorld, type World } from './world.ts'

/** How the last connection found its way back. */
export interface Resumed {
  /** `resume`: from the cursor, with what was missed. `snapshot`: anew, and `reason` says why. `fresh`: another session. */
  mode: 'resume' | 'snapshot' | 'fresh'
  reason: string | null
  /** Events that came while we were away. */
  missed: number
  /** Wall clock, ms. */
  at: number
}

export interface Notice {
  code: string
  message: string
}

export interface IndexNotice {
  message: string
  phase: string
}

export interface ClientState {
  readonly link: LinkState
  /** What the server said of the session when it was attached; null before. */
  readonly session: SessionContent | null
  readonly view: View
  /** Whether the view has caught up with where the session was when it was attached. */
  readonly synced: boolean
  /** Set when a connection after the first has caught up. */
  readonly resumed: Resumed | null
  /** What is unanswered or refused, of this session and of none yet; oldest first. */
  readonly outbox: readonly Entry[]
  /** Prompts that the server has taken and the view does not show yet: a moment, so that they are not gone from sight. */
  readonly landing: readonly Entry[]
  /** What the server tells beside the session. */
  readonly notice: Notice | null
  /** How far the reading of the code base is, while the server tells. */
  readonly index: IndexNotice | null
}

export interface Options {
  /** Address of the server, such as `http://localhost:8000`; default: the page's own. */
  server?: string
  /** The owner's, for programs; a page has its cookie. */
  token?: string
  /** Of the WebSocket; default: `/ws` of the server. */
  url?: string
  /** What to ask when a handshake is refused; default: `/api/me`. */
  me?: string
  /** Shown to others as who answered. */
  name?: string
  /** A session's id; null: a new one; absent: the one this browser was in last. */
  session?: string | null
  /** Of a new session: the name or path of a served code base. */
  root?: string | null
  /** What an earlier client of this session held, to resume from. */
  held?: Held
  world?: World
  shelf?: Shelf
}

/** Refusals that mean "not now": the entry waits and is sent again by itself. */
const NOT_NOW = new Set(['rate_limited', 'starting', 'draining', 'store_busy', 'store_error', 'disk_full', 'internal'])
const AGAIN_MS = 2_000
const AGAIN_CAP_MS = 30_000
/** Bytes of a frame that the server takes (its limit `frame`). */
const FRAME_BYTES = 1024 ** 2

export class Client {
  state: ClientState
  private held: Held
  private readonly link: Link
  private readonly outbox: Outbox
  private readonly world: World
  private readonly shelf: Shelf
  private readonly info: { id: string; name: string }
  private readonly root: string | null
  private session: string | null
  private attached = false
  /** Whether there was a connection before this one; then the person is told how it came back. */
  private returning = false
  private connected = false
  private missed = 0
  /** The command that was this connection's first frame. */
  private opening: Entry | null = null
  /** Of entries that the server asked to send later. */
  private readonly delays = new Map<string, { tries: number; waiting: boolean; cancel: () => void }>()
  private readonly subscribers = new Set<(state: ClientState) => void>()

  constructor(options: Options = {}) {
    this.world = options.world ?? (options.token === undefined ? browserWorld() : tokenWorld(options.token))
    this.shelf = options.shelf ?? pageShelf()
    this.info = { id: newId(this.world.now()), name: options.name ?? 'web' }
    this.root = options.root ?? null
    this.outbox = new Outbox(this.shelf)
    // A first prompt that was never answered comes before the last session: its session may not even exist yet.
    const last = this.outbox.waiting(null).length > 0 ? null : lastSession(this.shelf)
    this.session = options.session === undefined ? last : sessionId(options.session)
    this.held = options.held && this.session ? options.held : NOTHING
    const base = (options.server ?? globalThis.location?.origin ?? 'http://localhost:8000').replace(/\/$/, '')
    const url = options.url ?? `${base}/ws`.replace(/^http/, 'ws')
    const me = options.me ?? `${base}/api/me`
    this.link = new Link(
      url,
      me,
      {
        first: () => this.first(),
        frame: (frame) => this.frame(frame),
        state: (link) => this.linked(link),
        forget: () => this.forget(),
        tooBig: (frame) => this.tooBig(frame),
      },
      this.world,
    )
    this.state = {
      link: this.link.state,
      session: null,
      view: this.held.view,
      synced: false,
      resumed: null,
      outbox: this.mine(),
      landing: [],
      notice: null,
      index: null,
    }
  }

  /** Calls `run` with every new state, until the returned function is called. */
  subscribe(run: (state: ClientState) => void): () => void {
    this.subscribers.add(run)
    return () => this.subscribers.delete(run)
  }

  start(): void {
    this.link.start()
  }

  /** Leaves the session: the run goes on without us. Returns what a later client can resume from. */
  stop(): { session: string | null; held: Held } {
    this.link.stop()
    for (const { cancel } of this.delays.values()) cancel()
    this.delays.clear()
    return { session: this.session, held: this.held }
  }

  /** The session it is in, or asks for. */
  get asked(): string | null {
    return this.session
  }

  /** What this client knows now: enough for another to go on from. */
  get holds(): Held {
    return this.held
  }

  tryNow(): void {
    this.link.tryNow()
  }

  // -- what a person does; each returns the id under which it is kept until the server has answered

  prompt(text: string, delivery: 'queue' | 'steer' = 'queue'): string {
    const id = this.id()
    // The server compares the bodies of one id: what is part of the first sending is part of each.
    const config = this.session === null && this.root !== null ? { config: { root_directory: this.root } } : {}
    return this.put({ type: 'default', id, content: text, delivery, ...config })
  }

  answer(question: string, value: string | boolean | JsonObject): string {
    return this.put({ type: 'answer', id: this.id(), reply_to: question, content: value })
  }

  decide(diff: string, verdict: 'accept' | 'reject' | 'feedback', more: { hunks?: string[] | null; feedback?: string | null } = {}): string {
    return this.put({ type: 'decision', id: this.id(), reply_to: diff, content: { verdict, ...more } })
  }

  cancel(run: string | null): string {
    return this.put({ type: 'cancel', id: this.id(), content: { run_id: run } })
  }

  act(name: string, args: JsonObject = {}): string {
    return this.put({ type: 'action', id: this.id(), content: { name, args } })
  }

  /** Takes back what was refused, or has not been sent yet. Returns it. */
  dismiss(id: string): Entry | undefined {
    const entry = this.outbox.get(id)
    this.outbox.remove(id)
    this.delays.get(id)?.cancel()
    this.delays.delete(id)
    this.publish({ outbox: this.mine() })
    return entry
  }

  /** Sends again what was refused, under the same id. */
  again(id: string): void {
    const entry = this.outbox.get(id)
    if (!entry) return
    const { failed: _, ...rest } = entry
    this.outbox.add(rest)
    this.publish({ outbox: this.mine() })
    this.send(rest)
  }

  clearNotice(): void {
    this.publish({ notice: null })
  }

  private id(): string {
    return newId(this.world.now())
  }

  private put(frame: Command): string {
    const entry: Entry = { id: frame.id, session: this.session, frame, at: this.world.now() }
    this.outbox.add(entry)
    if (new TextEncoder().encode(JSON.stringify(frame)).length > FRAME_BYTES - 4096) this.tooBig(frame)
    else if (this.attached) this.send(entry)
    this.publish({ outbox: this.mine() })
    return frame.id
  }

  private send(entry: Entry): void {
    if (this.attached && entry.session === this.session) this.link.send(entry.frame)
  }

  private mine(): Entry[] {
    return this.outbox.all().filter((entry) => entry.session === this.session)
  }

  private publish(change: Partial<ClientState>): void {
    this.state = { ...this.state, ...change }
    for (const run of this.subscribers) run(this.state)
  }

  // -- the link's owner

  private linked(link: LinkState): void {
    if (link.phase !== 'live') {
      this.attached = false
      }
    this.publish(link.phase === 'live' ? { link } : { link, synced: false })
  }

  private first(): ClientFrame {
    const binding = { proto: PROTO, client: this.info } as const
    this.opening = null
    if (this.session === null) {
      // A first prompt attaches by itself: if only its answer was lost, its id leads back to the session it made.
      const [entry] = this.outbox.waiting(null)
      const config: Config = this.root === null ? {} : { root_directory: this.root }
      if (entry?.frame.type === 'default') {
        this.opening = entry
        // `proto` first: it says which kind of client this is, even of a frame that is too long to be read
        return { ...binding, ...entry.frame, config: { ...config, ...entry.frame.config } }
      }
      return { type: 'hello', ...binding, config }
    }
    return { type: 'hello', ...binding, config: { session_id: this.session, cursor: this.held.cursor } }
  }

  private frame(frame: ServerFrame): void {
    switch (frame.type) {
      case 'session':
        return this.attach(frame.content)
      case 'snapshot': {
        const { held } = applySnapshot(frame.content)
        this.held = held
        this.show(held.view)
        return this.caughtUp(frame.content.synced)
      }
      case 'batch': {
        const outcome = applyBatch(this.held, frame.content)
        if (outcome.kind === 'gap') return this.link.drop(4002)
        if (outcome.kind === 'applied') {
          this.held = outcome.held
          if (!this.state.synced) this.missed += outcome.events
          this.show(outcome.held.view)
        }
        return this.caughtUp(frame.content.synced)
      }
      case 'ack':
        if (frame.reply_to !== null) this.taken(frame.reply_to)
        return
      case 'nack':
        return this.refused(frame.reply_to, frame.content)
      case 'notice':
        if (frame.content.code === 'index') {
          const phase = String(frame.content.details?.['phase'] ?? '')
          return this.publish({ index: { message: frame.content.message, phase } })
        }
        return this.publish({ notice: { code: frame.content.code, message: frame.content.message } })
    }
  }

  private attach(content: SessionContent): void {
    const before = this.session
    const id = content.session_id
    if (before !== id) {
      // Another session has another log: nothing that was known of the old one holds, but what was asked is still asked.
      this.held = NOTHING
      if (before !== null) {
        for (const entry of this.outbox.waiting(before)) if (entry.frame.type !== 'default') this.outbox.remove(entry.id)
      }
      this.outbox.bind(before, id)
      if (before !== null) this.outbox.bind(null, id)
      this.session = id
      this.publish({ landing: [] })
    }
    rememberSession(this.shelf, id)
    this.attached = true
    this.missed = 0
    this.returning = this.connected
    this.connected = true
    this.publish({ session: content, view: this.held.view, synced: false, outbox: this.mine() })
    for (const entry of this.outbox.waiting(id)) {
      if (entry.id !== this.opening?.id && !this.delays.get(entry.id)?.waiting) this.send(entry)
    }
  }

  private caughtUp(synced: boolean | null | undefined): void {
    const { session } = this.state
    if (!synced || this.state.synced || !session) return
    const { mode, reason } = session
    const told = this.returning && mode !== 'plain' ? { mode, reason, missed: this.missed, at: this.world.now() } : null
    this.publish({ synced: true, resumed: told ?? this.state.resumed })
  }

  private forget(): void {
    this.held = NOTHING
    if (this.opening) {
      // The first frame's prompt went to another session at the same time; its id leads there.
      this.outbox.add({ ...this.opening, session: null })
      this.session = null
    }
    this.publish({ view: emptyView })
  }

  private tooBig(frame: ClientFrame | null): void {
    const message = 'This is more than the server takes at once (1 MiB). Shorten it, or name a file instead of pasting it.'
    if (frame && 'id' in frame && frame.id) this.fail(frame.id, { code: 'too_large', message, retryable: false, details: {} })
  }

  private taken(id: string): void {
    const entry = this.outbox.get(id)
    if (!entry) return
    this.outbox.remove(id)
    this.delays.get(id)?.cancel()
    this.delays.delete(id)
    const landing = entry.frame.type === 'default' ? this.unshown([...this.state.landing, entry], this.held.view) : this.state.landing
    this.publish({ outbox: this.mine(), landing })
  }

  private show(view: View): void {
    const { landing } = this.state
    this.publish(landing.length > 0 ? { view, landing: this.unshown(landing, view) } : { view })
  }

  private unshown(entries: readonly Entry[], view: View): Entry[] {
    return entries.filter(({ id }) => !view.items.some((item) => item.type === 'prompt' && item.id === id))
  }

  private fail(id: string, failure: Failure): void {
    this.delays.delete(id)
    this.outbox.fail(id, failure)
    this.publish({ outbox: this.mine() })
  }

  private refused(id: string | null, failure: Failure): void {
    const entry = id === null ? undefined : this.outbox.get(id)
    if (!entry) {
      if (!this.attached) this.link.halt('refused', 4400, failure.message)
      return this.publish({ notice: { code: failure.code, message: failure.message } })
    }
    if (!NOT_NOW.has(failure.code)) {
      this.fail(entry.id, failure)
      // The first frame was refused, and with it the session that it would have made: attach without it.
      if (!this.attached) this.link.drop(4000)
      return
    }
    const tries = (this.delays.get(entry.id)?.tries ?? 0) + 1
    const asked = Number(failure.details?.['retry_after'] ?? 0) * 1000
    const ms = Math.max(asked, Math.min(AGAIN_CAP_MS, AGAIN_MS * 2 ** (tries - 1)) * (0.5 + this.world.random() / 2))
    const cancel = this.world.later(ms, () => {
      const kept = this.outbox.get(entry.id)
      if (!kept || kept.failed) return
      this.delays.set(entry.id, { tries, waiting: false, cancel: () => {} })
      this.send(kept)
    })
    this.delays.get(entry.id)?.cancel()
    this.delays.set(entry.id, { tries, waiting: true, cancel })
    this.publish({ notice: { code: failure.code, message: failure.message } })
  }
}
