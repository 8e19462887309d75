/** Everything outside of the client that it touches, so that a test can be the clock, the timers, the sockets and the page. */

/** The part of a WebSocket that the link uses. */
export interface Socket {
  readonly readyState: number
  onopen: (() => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number; reason: string }) => void) | null
  send(text: string): void
  close(code?: number, reason?: string): void
}

/** What the answer to `GET /api/me` tells about a refused handshake. */
export interface Whoami {
  status: number
  /** Of `Retry-After`, in seconds; null when absent. */
  retryAfter: number | null
}

/** Moments at which a sleeping page may find its connection dead: `wake` (visible, shown again, network back), `hide` (going away). */
export type PageEvent = 'wake' | 'hide' | 'offline'

export interface World {
  /** Wall clock in milliseconds: on purpose, a monotonic one may stand still while the machine sleeps. */
  now(): number
  /** Uniform in [0, 1). */
  random(): number
  later(ms: number, run: () => void): () => void
  socket(url: string): Socket
  /** Asks who the server takes us for. Rejects when there is no answer at all. */
  whoami(url: string): Promise<Whoami>
  /** False only when the machine says that it has no network. */
  online(): boolean
  listen(run: (event: PageEvent) => void): () => void
}

export const OPEN = 1

/** The world of a program that shows the owner's token: Node and its kind, as a browser lets no page set a header of a WebSocket. */
export function tokenWorld(token: string): World {
  const headers = { authorization: `Bearer ${token}` }
  const world = browserWorld()
  return {
    ...world,
    socket: (url) => new (WebSocket as unknown as new (url: string, options: object) => Socket)(url, { headers }),
    whoami: (url) => asked(url, { headers }),
  }
}

async function asked(url: string, how: RequestInit): Promise<Whoami> {
  const answer = await fetch(url, { cache: 'no-store', redirect: 'manual', ...how })
  const seconds = Number.parseFloat(answer.headers.get('retry-after') ?? '')
  return { status: answer.status, retryAfter: Number.isFinite(seconds) ? seconds : null }
}

/** The world of a browser's page; in Node it works without a page's events. */
export function browserWorld(): World {
  return {
    now: () => Date.now(),
    random: () => Math.random(),
    later(ms, run) {
      const handle = setTimeout(run, ms)
      return () => clearTimeout(handle)
    },
    socket: (url) => new WebSocket(url) as unknown as Socket,
    whoami: (url) => asked(url, { credentials: 'same-origin' }),
    online: () => globalThis.navigator?.onLine !== false,
    listen(run) {
      if (typeof document === 'undefined') return () => {}
      const stop = new AbortController()
      const { signal } = stop
      const wake = () => run('wake')
      document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && wake(), { signal })
      document.addEventListener('resume', wake, { signal })
      for (const name of ['pageshow', 'online', 'focus']) addEventListener(name, wake, { signal })
      addEventListener('offline', () => run('offline'), { signal })
      addEventListener('pagehide', () => run('hide'), { signal })
      return () => stop.abort()
    },
  }
}
