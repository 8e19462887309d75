/** A world in which the test is the clock, the network and the page. */

import type { ClientFrame, JsonObject, ServerFrame, SessionContent } from '../../src/client/frames'
import type { PageEvent, Socket, Whoami, World } from '../../src/client/world'

export class FakeSocket implements Socket {
  readyState = 0
  onopen: (() => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  onclose: ((event: { code: number; reason: string }) => void) | null = null
  readonly sent: ClientFrame[] = []
  closedWith: number | null = null

  readonly url: string

  constructor(url: string) {
    this.url = url
  }

  send(text: string): void {
    if (this.readyState !== 1) throw new Error('not open')
    this.sent.push(JSON.parse(text) as ClientFrame)
  }

  close(code?: number): void {
    this.readyState = 3
    this.closedWith ??= code ?? 1005
  }

  // what the network does

  open(): void {
    this.readyState = 1
    this.onopen?.()
  }

  receive(frame: ServerFrame | string): void {
    this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) })
  }

  lose(code = 1006, reason = ''): void {
    this.readyState = 3
    this.onclose?.({ code, reason })
  }
}

export class FakeWorld implements World {
  time = 1_700_000_000_000
  rolls: number[] = []
  isOnline = true
  /** What the server answers to `GET /api/me`; null: nothing at all, an error: no connection. */
  me: Whoami | Error | null = new Error('refused')
  readonly sockets: FakeSocket[] = []
  asked = 0
  private readonly timers = new Map<number, { at: number; run: () => void }>()
  private next = 1
  private listeners = new Set<(event: PageEvent) => void>()

  now(): number {
    return this.time
  }

  random(): number {
    return this.rolls.shift() ?? 0.5
  }

  later(ms: number, run: () => void): () => void {
    const id = this.next++
    this.timers.set(id, { at: this.time + ms, run })
    return () => this.timers.delete(id)
  }

  socket(url: string): Socket {
    const socket = new FakeSocket(url)
    this.sockets.push(socket)
    return socket
  }

  whoami(): Promise<Whoami> {
    this.asked++
    if (this.me instanceof Error) return Promise.reject(this.me)
    return this.me === null ? new Promise(() => {}) : Promise.resolve(this.me)
  }

  online(): boolean {
    return this.isOnline
  }

  listen(run: (event: PageEvent) => void): () => void {
    this.listeners.add(run)
    return () => this.listeners.delete(run)
  }

  // what the test does

  page(event: PageEvent): void {
    for (const run of this.listeners) run(event)
  }

  /** Time goes by, timer by timer. */
  pass(ms: number): void {
    const end = this.time + ms
    for (;;) {
      let due: [number, { at: number; run: () => void }] | null = null
      for (const timer of this.timers) if (timer[1].at <= end && (!due || timer[1].at < due[1].at)) due = timer
      if (!due) break
      this.timers.delete(due[0])
      this.time = Math.max(this.time, due[1].at)
      due[1].run()
    }
    this.time = Math.max(this.time, end)
  }

  /** The machine sleeps: the wall clock goes on, timers stand still. */
  sleep(ms: number): void {
    this.time += ms
    for (const timer of this.timers.values()) timer.at += ms
  }

  get last(): FakeSocket {
    const socket = this.sockets.at(-1)
    if (!socket) throw new Error('no socket was made')
    return socket
  }
}

/** Lets promises settle. */
export const settle = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await Promise.resolve()
}

export const SESSION = 's_AAAAAAAAAAAAAAAAAAAAAA'
export const OTHER = 's_BBBBBBBBBBBBBBBBBBBBBB'

export function sessionFrame(change: Partial<SessionContent> = {}): ServerFrame {
  return {
    type: 'session',
    content: {
      session_id: SESSION,
      mode: 'fresh',
      reason: null,
      head: 0,
      state: 'idle',
      run_id: null,
      root: '/code',
      hb_ms: 15_000,
      retry: { base_ms: 300, cap_ms: 5_000, spread_ms: 20 },
      server: { boot: 'b1', version: '0.1.0' },
      ...change,
    },
  }
}

export const ack = (id: string, status: 'accepted' | 'duplicate' | 'noop' = 'accepted'): ServerFrame => ({
  type: 'ack',
  reply_to: id,
  content: { status, seq: 1, run_id: 'r1' },
})

export const nack = (id: string | null, code: string, retryable = false, details: JsonObject = {}): ServerFrame => ({
  type: 'nack',
  reply_to: id,
  content: { code, message: `${code}.`, retryable, details },
})
