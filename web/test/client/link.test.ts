import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import type { ClientFrame, ServerFrame } from '../../src/client/frames'
import { DEFAULT_RETRY, delayOf, GRACE_MS, HANDSHAKE_MS, Link, PROBE_MS, STABLE_MS, TICK_MS, verdictOf, type LinkState } from '../../src/client/link'
import { FakeWorld, sessionFrame, settle, type FakeSocket } from './fake'

let world: FakeWorld
let link: Link
let states: LinkState[]
let frames: ServerFrame[]
let forgotten: number
let tooBig: (ClientFrame | null)[]

beforeEach(() => {
  world = new FakeWorld()
  states = []
  frames = []
  forgotten = 0
  tooBig = []
  link = new Link(
    'ws://test/ws',
    'http://test/api/me',
    {
      first: () => ({ type: 'hello', proto: 1 }),
      frame: (frame) => frames.push(frame),
      state: (state) => states.push(state),
      forget: () => forgotten++,
      tooBig: (frame) => tooBig.push(frame),
    },
    world,
  )
})

function live(): FakeSocket {
  if (link.state.phase === 'idle') link.start()
  while (world.last.readyState !== 0) world.pass(50)
  world.last.open()
  world.last.receive(sessionFrame())
  expect(link.state.phase).toBe('live')
  return world.last
}

/** The wait that was just begun, in ms. */
const waitOf = (): number => {
  if (link.state.phase !== 'waiting') throw new Error(`it is ${link.state.phase}`)
  return link.state.at - world.time
}

describe('pacing', () => {
  test('the first try comes within max(base, spread), later ones under a doubling cap', () =>
    fc.assert(
      fc.property(
        fc.record({ base_ms: fc.integer({ min: 1, max: 2000 }), cap_ms: fc.integer({ min: 1, max: 60_000 }), spread_ms: fc.integer({ min: 0, max: 90_000 }) }),
        fc.integer({ min: 0, max: 2000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (retry, attempt, random) => {
          const delay = delayOf(attempt, retry, random)
          const most = attempt === 0 ? Math.max(retry.base_ms, retry.spread_ms) : Math.min(retry.cap_ms, retry.base_ms * 2 ** attempt)
          expect(delay).toBeGreaterThanOrEqual(0)
          expect(delay).toBeLessThanOrEqual(most)
        },
      ),
    ))

  test('it never gives up, and never waits longer than the cap', () => {
    link.start()
    for (let i = 0; i < 200; i++) {
      world.rolls = [0.999]
      if (world.last.readyState === 0) world.last.open()
      world.last.lose()
      expect(waitOf()).toBeLessThanOrEqual(DEFAULT_RETRY.cap_ms)
      world.pass(DEFAULT_RETRY.cap_ms + 1)
    }
    expect(world.sockets.length).toBe(201)
  })

  test('a connection that lived long enough begins the counting anew', () => {
    for (let i = 0; i < 6; i++) live().lose()
    world.rolls = [0.999]
    live().lose()
    expect(waitOf()).toBeGreaterThan(DEFAULT_RETRY.base_ms)
    const socket = live()
    for (let t = 0; t < STABLE_MS; t += TICK_MS) {
      world.pass(TICK_MS)
      socket.receive({ type: 'hb', content: { head: 1 } })
    }
    world.rolls = [0.999]
    socket.lose()
    expect(waitOf()).toBeLessThanOrEqual(DEFAULT_RETRY.base_ms)
  })

  test("the server's goodbye gives each client its own slot", () => {
    const socket = live()
    socket.receive({ type: 'goodbye', content: { reason: 'restart', retry_ms: 4321 } })
    socket.lose(1012)
    expect(waitOf()).toBe(4321)
  })

  test('a heartbeat says anew over how long to come back', () => {
    const socket = live()
    socket.receive({ type: 'hb', content: { head: 1, retry: { base_ms: 300, cap_ms: 40_000, spread_ms: 20_000 } } })
    socket.receive({ type: 'hb', content: { head: 1 } })
    world.rolls = [0.5]
    socket.lose()
    expect(waitOf()).toBe(10_000)
  })

  test('the person can try now', () => {
    live().lose()
    const before = world.sockets.length
    link.tryNow()
    expect(world.sockets.length).toBe(before + 1)
    expect(link.state).toEqual({ phase: 'connecting', again: true })
  })
})

describe('close codes: the range tells what to do', () => {
  const ranges: [number, number, string][] = [
    [4000, 4099, 'now'],
    [4100, 4199, 'backoff'],
    [4200, 4299, 'forget'],
    [4300, 4499, 'stop'],
    [1011, 1013, 'backoff'],
  ]
  test.each(ranges)('%i–%i: %s', (from, to, go) => {
    for (let code = from; code <= to; code++) expect(verdictOf(code).go, `${code}`).toBe(go)
  })

  test('codes that no range names are tried again', () =>
    fc.assert(
      fc.property(fc.integer({ min: 1000, max: 4999 }), (code) => {
        const { go } = verdictOf(code)
        const stops = (code >= 4300 && code <= 4499) || [1002, 1003, 1007, 1008].includes(code)
        expect(go === 'stop').toBe(stops)
      }),
    ))

  test.each([
    [4000, 'waiting'],
    [4002, 'waiting'],
    [4101, 'waiting'],
    [1006, 'waiting'],
    [1001, 'waiting'],
    [4300, 'stopped'],
    [4401, 'stopped'],
    [4410, 'stopped'],
    [1008, 'stopped'],
  ])('%i leaves it %s', (code, phase) => {
    live().lose(code)
    expect(link.state.phase).toBe(phase)
  })

  test('4401 asks to sign in again; what the server says is shown', () => {
    live().lose(4401, 'Signed out.')
    expect(link.state).toMatchObject({ phase: 'stopped', reason: 'sign-in', message: 'Signed out.' })
  })

  test('42xx forgets the cursor', () => {
    live().lose(4200)
    expect(forgotten).toBe(1)
    expect(link.state.phase).toBe('waiting')
  })

  test('1009 names the last frame that was sent, and goes on', () => {
    const socket = live()
    link.send({ type: 'cancel', id: 'x', content: { run_id: null } })
    socket.lose(1009)
    expect(tooBig).toEqual([{ type: 'cancel', id: 'x', content: { run_id: null } }])
    expect(link.state.phase).toBe('waiting')
  })

  test('41xx is never tried at once', () => {
    world.rolls = [0.999]
    live().lose(4100)
    expect(waitOf()).toBeGreaterThan(DEFAULT_RETRY.base_ms)
  })
})

describe('liveness, by the wall clock', () => {
  test('silence for the heartbeat and its grace ends the connection', () => {
    const socket = live()
    world.pass(15_000 + GRACE_MS - TICK_MS)
    expect(link.state.phase).toBe('live')
    world.pass(2 * TICK_MS + 1)
    expect(socket.closedWith).toBe(4000)
    expect(states.some((state) => state.phase === 'waiting')).toBe(true)
  })

  test('a heartbeat keeps it', () => {
    const socket = live()
    for (let i = 0; i < 20; i++) {
      world.pass(15_000)
      socket.receive({ type: 'hb', content: { head: 1 } })
    }
    expect(link.state.phase).toBe('live')
    expect(world.sockets.length).toBe(1)
  })

  test('after a long sleep, being seen again is enough to notice', () => {
    const socket = live()
    world.sleep(3_600_000)
    world.page('wake')
    expect(socket.closedWith).toBe(4000)
  })

  test('after a short sleep it asks, and gives up on silence', () => {
    const socket = live()
    world.sleep(12_000)
    world.page('wake')
    expect(socket.sent.at(-1)?.type).toBe('ping')
    world.pass(PROBE_MS + 1)
    expect(socket.closedWith).toBe(4000)
  })

  test('after a short sleep it asks, and an answer keeps the connection', () => {
    const socket = live()
    world.sleep(12_000)
    world.page('wake')
    socket.receive({ type: 'pong', content: { t: 0 } })
    world.pass(PROBE_MS + 1)
    expect(link.state.phase).toBe('live')
  })

  test('a sleep that no event tells of is seen by the timer', () => {
    const socket = live()
    world.sleep(20_000)
    world.pass(TICK_MS)
    expect(socket.sent.at(-1)?.type).toBe('ping')
  })

  test('a stale connection is noticed before anything is sent on it', () => {
    const socket = live()
    world.sleep(60_000)
    expect(link.send({ type: 'cancel', id: 'x', content: { run_id: null } })).toBe(false)
    expect(socket.sent).toHaveLength(1)
    expect(link.state.phase).toBe('waiting')
  })

  test('a clock that is set back does no harm', () => {
    live()
    world.time -= 3_600_000
    world.page('wake')
    expect(link.state.phase).toBe('live')
  })

  test('a handshake that hangs is given up', async () => {
    link.start()
    world.pass(HANDSHAKE_MS + 1)
    await settle()
    expect(world.sockets[0]!.closedWith).not.toBeNull()
    expect(link.state.phase).toBe('waiting')
  })

  test('a page that goes away closes, and one that comes back opens', () => {
    const socket = live()
    world.page('hide')
    expect(socket.closedWith).toBe(1000)
    expect(link.state.phase).toBe('idle')
    world.page('wake')
    expect(link.state).toEqual({ phase: 'connecting', again: true })
  })

  test('network back: no waiting out the backoff', () => {
    live().lose()
    world.page('wake')
    expect(link.state.phase).toBe('connecting')
  })

  test('no network is said so, and still tried: the server may be on this machine', () => {
    world.isOnline = false
    live().lose()
    expect(link.state).toMatchObject({ phase: 'waiting', offline: true })
    world.pass(DEFAULT_RETRY.cap_ms)
    expect(link.state.phase).toBe('connecting')
  })
})

describe('a refused handshake, of which a browser tells nothing', () => {
  const refuse = async (): Promise<void> => {
    link.start()
    world.last.lose(1006)
    await settle()
  }

  test.each([401, 403])('%i: stop, sign in again', async (status) => {
    world.me = { status, retryAfter: null }
    await refuse()
    expect(link.state).toMatchObject({ phase: 'stopped', reason: 'sign-in' })
    world.pass(600_000)
    expect(world.sockets.length).toBe(1)
  })

  test('signing in elsewhere is noticed when the page is seen again', async () => {
    world.me = { status: 401, retryAfter: null }
    await refuse()
    world.page('wake')
    await settle()
    expect(link.state.phase).toBe('stopped')
    world.me = { status: 200, retryAfter: null }
    world.page('wake')
    await settle()
    expect(link.state.phase).toBe('connecting')
  })

  test('503: as long as the server asks', async () => {
    world.me = { status: 503, retryAfter: 7 }
    await refuse()
    expect(waitOf()).toBeGreaterThanOrEqual(7000)
    expect(waitOf()).toBeLessThanOrEqual(7300)
  })

  test.each([200, 404, 500, 503])('%i without more: back off', async (status) => {
    world.me = { status, retryAfter: null }
    await refuse()
    expect(waitOf()).toBeLessThanOrEqual(DEFAULT_RETRY.cap_ms)
  })

  test('no answer at all: back off', async () => {
    await refuse()
    expect(link.state.phase).toBe('waiting')
  })

  test('an answer that never comes does not stop it', async () => {
    world.me = null
    await refuse()
    expect(link.state.phase).toBe('connecting')
    world.pass(PROBE_MS + 1)
    expect(link.state.phase).toBe('waiting')
  })

  test('an answer that comes late changes nothing', async () => {
    let answer = (_: { status: number; retryAfter: null }): void => {}
    world.whoami = () => new Promise((resolve) => (answer = resolve))
    await refuse()
    world.pass(PROBE_MS + 1)
    link.tryNow()
    world.last.open()
    answer({ status: 401, retryAfter: null })
    await settle()
    expect(link.state.phase).toBe('connecting')
  })
})

describe('what comes', () => {
  test('something that is not JSON is a gap', () => {
    const socket = live()
    socket.receive('{')
    expect(socket.closedWith).toBe(4002)
  })

  test('frames of a connection that was given up are not read', () => {
    const socket = live()
    link.drop(4002)
    const count = frames.length
    socket.receive({ type: 'hb', content: { head: 9 } })
    expect(frames.length).toBe(count)
  })

  test('a gap again and again is not reopened in a tight loop', () => {
    const waits: number[] = []
    for (let i = 0; i < 8; i++) {
      live()
      world.rolls = [0.999]
      link.drop(4002)
      waits.push(waitOf())
    }
    expect(Math.max(...waits)).toBeGreaterThan(2000)
  })

  test('stopped is stopped', () => {
    live()
    link.stop()
    world.pass(600_000)
    world.page('wake')
    expect(world.sockets.length).toBe(1)
    expect(link.state.phase).toBe('idle')
  })
})
