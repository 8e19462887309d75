/**
 * The link: one WebSocket at a time, opened again for ever until something says that trying again cannot help.
 *
 * It knows frames, pacing and liveness, but nothing of sessions: what to say first and what a frame means is its owner's.
 */

import type { ClientFrame, Retry, ServerFrame } from './frames.ts'
import { OPEN, type Socket, type World } from './world.ts'

export type StopReason = 'sign-in' | 'refused' | 'gone' | 'superseded' | 'limit' | 'protocol'

export type LinkState =
  /** Not started, or put to rest with the page. */
  | { phase: 'idle' }
  /** A handshake is under way. `again`: there was a connection before. */
  | { phase: 'connecting'; again: boolean }
  | { phase: 'live'; since: number }
  /** Opens again at `at` (wall clock, ms). `offline`: the machine says that it has no network. */
  | { phase: 'waiting'; at: number; offline: boolean; attempt: number }
  /** Trying again by itself would not help. */
  | { phase: 'stopped'; reason: StopReason; code: number; message: string }

export interface LinkOwner {
  /** The first frame of a new connection. */
  first(): ClientFrame
  frame(frame: ServerFrame): void
  state(state: LinkState): void
  /** The server asks to start without the cursor (4200–4299). */
  forget(): void
  /** The server closed with 1009: the last frame sent was too big for it. */
  tooBig(frame: ClientFrame | null): void
}

export const HANDSHAKE_MS = 8_000
export const GRACE_MS = 10_000
export const PROBE_MS = 4_000
export const TICK_MS = 5_000
/** A connection that lived so long ends the counting of attempts. */
export const STABLE_MS = 30_000
export const DEFAULT_RETRY: Retry = { base_ms: 300, cap_ms: 5_000, spread_ms: 0 }
export const DEFAULT_HB_MS = 15_000

/** What a close code asks for. */
export type Verdict = { go: 'now' } | { go: 'backoff' } | { go: 'forget' } | { go: 'shrink' } | { go: 'stop'; reason: StopReason; message: string }

/**
 * What to do after a close. The range tells, so that a code that is new here is still understood (PROTOCOL.md, "Close codes").
 */
export function verdictOf(code: number, said = ''): Verdict {
  const stop = (reason: StopReason, message: string): Verdict => ({ go: 'stop', reason, message: said || message })
  if (code >= 4000 && code <= 4099) return { go: 'now' }
  if (code >= 4100 && code <= 4199) return { go: 'backoff' }
  if (code >= 4200 && code <= 4299) return { go: 'forget' }
  if (code >= 4300 && code <= 4399) return stop('gone', 'This session is gone from the server.')
  if (code === 4401) return stop('sign-in', 'The sign-in has ended.')
  if (code === 4403) return stop('sign-in', 'The server does not let this page in.')
  if (code === 4410) return stop('superseded', 'This page was opened again elsewhere with the same identity.')
  if (code === 4429) return stop('limit', 'The server has too many connections. Close a tab, then connect again.')
  if (code >= 4400 && code <= 4499) return stop('protocol', 'The server did not understand this page. Load it again to get its newest version.')
  if (code === 1002 || code === 1003 || code === 1007 || code === 1008)
    return stop('protocol', `The server ended the connection (${code}).`)
  if (code === 1009) return { go: 'shrink' }
  return { go: 'backoff' }
}

/**
 * Milliseconds before the next try. `attempt` counts tries since the last stable connection. The first is spread as the server
 * asks, so that a restart does not bring everybody back in one instant; then full jitter under an exponential cap.
 */
export function delayOf(attempt: number, retry: Retry, random: number): number {
  const most = attempt === 0 ? Math.max(retry.base_ms, retry.spread_ms) : Math.min(retry.cap_ms, retry.base_ms * 2 ** Math.min(attempt, 30))
  return random * most
}

export class Link {
  state: LinkState = { phase: 'idle' }
  private socket: Socket | null = null
  private opened = false
  private again = false
  private attempt = 0
  private heard = 0
  private frames = 0
  private ticked = 0
  private hb = DEFAULT_HB_MS
  private retry: Retry = DEFAULT_RETRY
  private goodbye: number | null = null
  private lastSent: ClientFrame | null = null
  private cancelTimer = () => {}
  private cancelProbe = () => {}
  private cancelTick = () => {}
  private unlisten: (() => void) | null = null
  /** Counts connections and waits; what comes back late for an earlier one is ignored. */
  private turn = 0

  private readonly url: string
  private readonly me: string
  private readonly owner: LinkOwner
  private readonly world: World

  constructor(url: string, me: string, owner: LinkOwner, world: World) {
    this.url = url
    this.me = me
    this.owner = owner
    this.world = world
  }

  start(): void {
    if (this.unlisten) return
    this.unlisten = this.world.listen((event) => this.page(event))
    this.tick()
    this.open()
  }

  /** Ends it for good, unless started again. */
  stop(): void {
    if (!this.unlisten) return
    this.unlisten()
    this.unlisten = null
    this.cancelTick()
    this.release(1000)
    this.become({ phase: 'idle' })
  }

  /** The person wants it now. */
  tryNow(): void {
    if (this.unlisten && (this.state.phase === 'waiting' || this.state.phase === 'stopped')) this.open()
  }

  /**
   * Hands a frame to the connection. False: there is none that can take it, now or any more; whoever needs the frame
   * delivered keeps it and sends it after the next `session`.
   */
  send(frame: ClientFrame): boolean {
    if (this.stale()) {
      this.drop(4000)
      return false
    }
    if (!this.opened || this.socket?.readyState !== OPEN) return false
    this.lastSent = frame
    this.socket.send(JSON.stringify(frame))
    return true
  }

  /** Something is wrong with what came: closes with this code of ours and resumes. */
  drop(code: number): void {
    if (!this.socket) return
    this.release(code)
    this.after(code, '')
  }

  /** The owner found that going on is useless. */
  halt(reason: StopReason, code: number, message: string): void {
    this.release(1000)
    this.become({ phase: 'stopped', reason, code, message })
  }

  private become(state: LinkState): void {
    this.state = state
    this.owner.state(state)
  }

  /** Lets go of the socket without waiting for it: a half-open one would take minutes to say that it closed. */
  private release(code: number): void {
    this.turn++
    this.cancelTimer()
    this.cancelProbe()
    const socket = this.socket
    this.socket = null
    this.opened = false
    if (!socket) return
    socket.onopen = socket.onmessage = socket.onclose = null
    try {
      socket.close(code)
    } catch {
      // A browser refuses some codes; what matters is that nobody listens any more.
    }
  }

  private open(): void {
    this.release(1000)
    const turn = this.turn
    this.goodbye = null
    this.lastSent = null
    this.heard = this.world.now()
    this.become({ phase: 'connecting', again: this.again })
    let socket: Socket
    try {
      socket = this.world.socket(this.url)
    } catch {
      this.wait(delayOf(this.attempt, this.retry, this.world.random()))
      return
    }
    this.socket = socket
    // Chrome allows one handshake a host at a time: one that hangs would block every tab.
    this.cancelTimer = this.world.later(HANDSHAKE_MS, () => {
      if (this.opened) return
      this.release(1000)
      this.refused(this.turn)
    })
    socket.onopen = () => {
      this.opened = true
      this.cancelTimer()
      this.heard = this.world.now()
      this.send(this.owner.first())
    }
    socket.onmessage = ({ data }) => {
      this.heard = this.world.now()
      this.frames++
      let frame: ServerFrame
      try {
        frame = JSON.parse(String(data)) as ServerFrame
      } catch {
        this.drop(4002)
        return
      }
      this.take(frame)
      if (turn === this.turn) this.owner.frame(frame)
    }
    socket.onclose = ({ code, reason }) => {
      const opened = this.opened
      this.release(1000)
      if (opened) this.after(code, reason)
      else this.refused(this.turn)
    }
  }

  private take(frame: ServerFrame): void {
    if (frame.type === 'session') {
      this.hb = frame.content.hb_ms || DEFAULT_HB_MS
      this.retry = frame.content.retry ?? DEFAULT_RETRY
      this.again = true
      this.become({ phase: 'live', since: this.world.now() })
    } else if (frame.type === 'hb') {
      this.retry = frame.content.retry ?? this.retry
    } else if (frame.type === 'goodbye') {
      this.goodbye = frame.content.retry_ms
    }
  }

  /** A browser tells nothing of a refused handshake; the same door over HTTP does. */
  private refused(turn: number): void {
    const backoff = () => {
      if (turn === this.turn && this.unlisten) this.wait(delayOf(this.attempt, this.retry, this.world.random()))
    }
    this.cancelTimer = this.world.later(PROBE_MS, backoff)
    this.world.whoami(this.me).then(
      ({ status, retryAfter }) => {
        if (turn !== this.turn || !this.unlisten) return
        if (status === 401 || status === 403) {
          this.release(1000)
          this.become({ phase: 'stopped', reason: 'sign-in', code: status, message: 'The sign-in has ended.' })
        } else if (status === 503 && retryAfter !== null) {
          this.wait(retryAfter * 1000 + this.world.random() * Math.max(this.retry.base_ms, this.retry.spread_ms))
        } else backoff()
      },
      backoff,
    )
  }

  private after(code: number, reason: string): void {
    const { state } = this
    if (state.phase === 'live' && this.world.now() - state.since >= STABLE_MS) this.attempt = 0
    const verdict = verdictOf(code, reason)
    if (verdict.go === 'stop') {
      this.become({ phase: 'stopped', reason: verdict.reason, code, message: verdict.message })
      return
    }
    if (verdict.go === 'forget') this.owner.forget()
    if (verdict.go === 'shrink') this.owner.tooBig(this.lastSent)
    if (this.goodbye !== null) this.wait(this.goodbye)
    else this.wait(delayOf(verdict.go === 'backoff' && code !== 1006 && code !== 1001 ? Math.max(1, this.attempt) : this.attempt, this.retry, this.world.random()))
  }

  private wait(ms: number): void {
    const turn = ++this.turn
    this.attempt++
    this.become({ phase: 'waiting', at: this.world.now() + ms, offline: !this.world.online(), attempt: this.attempt })
    this.cancelTimer()
    this.cancelTimer = this.world.later(ms, () => {
      if (turn === this.turn) this.open()
    })
  }

  private stale(): boolean {
    const now = this.world.now()
    if (now < this.heard) this.heard = now // the clock was set back: count from here
    return this.socket !== null && now - this.heard > this.hb + GRACE_MS
  }

  private tick(): void {
    this.ticked = this.world.now()
    this.cancelTick = this.world.later(TICK_MS, () => {
      const slept = this.world.now() - this.ticked > 2 * TICK_MS
      this.tick()
      if (this.stale()) this.drop(4000)
      else if (slept) this.probe()
    })
  }

  /** Quiet for a while, and something happened that may have cut the line: ask, and give up sooner than the watchdog would. */
  private probe(): void {
    if (this.state.phase !== 'live' || this.world.now() - this.heard < TICK_MS) return
    const { frames, turn } = this
    this.cancelProbe()
    this.cancelProbe = this.world.later(PROBE_MS, () => {
      if (turn === this.turn && this.frames === frames) this.drop(4000)
    })
    this.send({ type: 'ping', content: { t: this.world.now() } })
  }

  private page(event: 'wake' | 'hide' | 'offline'): void {
    const { phase } = this.state
    if (event === 'hide') {
      // A page in the back/forward cache must not hold a socket; coming back resumes.
      this.release(1000)
      this.become({ phase: 'idle' })
    } else if (event === 'offline') {
      if (this.state.phase === 'waiting') this.become({ ...this.state, offline: true })
      else this.probe() // a server on this machine is still there
    } else if (phase === 'idle' || phase === 'waiting') {
      this.open()
    } else if (phase === 'stopped' && this.state.reason === 'sign-in') {
      // Perhaps the person just signed in, in another tab.
      const turn = this.turn
      this.world.whoami(this.me).then(
        ({ status }) => {
          if (turn === this.turn && status === 200 && this.state.phase === 'stopped') this.open()
        },
        () => {},
      )
    } else if (this.stale()) {
      this.drop(4000)
    } else {
      this.probe()
    }
  }
}
