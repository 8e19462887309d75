import { beforeEach, describe, expect, test } from 'vitest'
import { Client, type Options } from '../../src/client/client'
import type { LogEvent, ServerFrame } from '../../src/client/frames'
import { memoryShelf, type Shelf } from '../../src/client/outbox'
import { ack, FakeWorld, nack, OTHER, SESSION, sessionFrame } from './fake'

let world: FakeWorld
let shelf: Shelf

beforeEach(() => {
  world = new FakeWorld()
  shelf = memoryShelf()
})

function make(options: Options = {}): Client {
  const client = new Client({ world, shelf, url: 'ws://test/ws', me: 'http://test/api/me', ...options })
  client.start()
  return client
}
function open(change: Parameters<typeof sessionFrame>[0] = {}): void {
  while (world.last.readyState !== 0) world.pass(50)
  world.last.open()
  world.last.receive(sessionFrame(change))
}
const text = (seq: number): LogEvent => ({ type: 'text', seq, run_id: 'r1', item_id: 'a', parent_id: null, at: 0, content: { attempt: 1, text: `${seq} ` } })
const snapshot = (seq: number): ServerFrame => ({ type: 'snapshot', content: { cursor: `c${seq}`, events: seq ? [text(seq)] : [], synced: true } })
const batch = (after: number, upto: number, synced = false): ServerFrame => ({
  type: 'batch',
  content: { after: `c${after}`, upto: `c${upto}`, events: Array.from({ length: upto - after }, (_, i) => text(after + i + 1)), ...(synced ? { synced } : {}) },
})

describe('coming back', () => {
  test('says how many events were missed', () => {
    const client = make()
    open()
    world.last.receive(snapshot(0))
    world.last.receive(batch(0, 5))
    expect(client.state.resumed).toBeNull()
    world.last.lose()
    expect(client.state.synced).toBe(false)
    open({ mode: 'resume' })
    expect(world.last.sent[0]).toMatchObject({ type: 'hello', config: { session_id: SESSION, cursor: 'c5' } })
    world.last.receive(batch(5, 17))
    world.last.receive(batch(17, 25, true))
    expect(client.state).toMatchObject({ synced: true, resumed: { mode: 'resume', missed: 20 } })
    world.last.receive(batch(25, 30))
    expect(client.state.resumed).toMatchObject({ missed: 20 })
  })

  test('with nothing missed says so', () => {
    const client = make()
    open()
    world.last.receive(snapshot(3))
    world.last.lose()
    open({ mode: 'resume' })
    world.last.receive(batch(3, 3, true))
    expect(client.state.resumed).toMatchObject({ mode: 'resume', missed: 0 })
  })

  test('what was shown stays while there is no connection', () => {
    const client = make()
    open()
    world.last.receive(snapshot(3))
    const { view } = client.state
    world.last.lose()
    expect(client.state.view).toBe(view)
    open({ mode: 'snapshot', reason: 'lag' })
    expect(client.state.view).toBe(view)
    world.last.receive(snapshot(40))
    expect(client.state).toMatchObject({ resumed: { mode: 'snapshot', reason: 'lag' } })
  })

  test('a gap is not drawn: 4002, and on from the cursor', () => {
    const client = make()
    open()
    world.last.receive(snapshot(3))
    const { view } = client.state
    const first = world.last
    first.receive(batch(4, 6))
    expect(first.closedWith).toBe(4002)
    expect(client.state.view).toBe(view)
    open({ mode: 'resume' })
    expect(world.last.sent[0]).toMatchObject({ config: { cursor: 'c3' } })
  })

  test('4200: the cursor is forgotten, the session is not', () => {
    make({ session: SESSION })
    open({ mode: 'snapshot' })
    world.last.receive(snapshot(3))
    world.last.lose(4200)
    open({ mode: 'snapshot' })
    expect(world.last.sent[0]).toMatchObject({ type: 'hello', config: { session_id: SESSION, cursor: null } })
  })

  test('4200 after a first prompt: its id leads to the session that has it', () => {
    const client = make({ session: null })
    const id = client.prompt('first')
    open()
    world.last.receive(ack(id, 'duplicate'))
    world.last.lose(4200)
    open({ session_id: OTHER, mode: 'snapshot' })
    expect(world.last.sent[0]).toMatchObject({ type: 'default', id })
    world.last.receive(ack(id, 'duplicate'))
    expect(client.state).toMatchObject({ session: { session_id: OTHER }, outbox: [] })
  })

  test('what another client of the session held is gone on from', () => {
    const first = make({ session: SESSION })
    open({ mode: 'snapshot' })
    world.last.receive(snapshot(7))
    const { session, held } = first.stop()
    const second = make({ session, held })
    expect(second.state.view).toBe(held.view)
    open({ mode: 'resume' })
    expect(world.last.sent[0]).toMatchObject({ config: { session_id: SESSION, cursor: 'c7' } })
  })

  test('a cursor without its session is worth nothing', () => {
    make({ session: null, held: { cursor: 'c7', view: make().state.view, past: [] } })
    world.last.open()
    expect(world.last.sent[0]).toEqual({ type: 'hello', proto: 1, client: expect.any(Object), config: {} })
  })

  test('each page has an identity of its own, and keeps it', () => {
    const one = make()
    world.last.open()
    const first = world.last.sent[0]
    world.last.lose()
    while (world.last.readyState !== 0) world.pass(50)
    world.last.open()
    expect((world.last.sent[0] as { client: object }).client).toEqual((first as { client: object }).client)
    one.stop()
    make()
    world.last.open()
    expect((world.last.sent[0] as { client: object }).client).not.toEqual((first as { client: object }).client)
  })
})

describe('a prompt on its way into the view', () => {
  const prompt = (seq: number, id: string): LogEvent => ({ type: 'prompt', seq, run_id: 'r1', item_id: null, parent_id: null, at: 0, content: { id, text: 'x', delivery: 'queue' } })

  test('is seen all the time: acknowledged before it is shown, or shown before it is acknowledged', () => {
    const client = make()
    open()
    world.last.receive(snapshot(0))
    const first = client.prompt('x')
    world.last.receive(ack(first))
    expect(client.state.landing).toMatchObject([{ id: first }])
    world.last.receive({ type: 'batch', content: { after: 'c0', upto: 'c1', events: [prompt(1, first)] } })
    expect(client.state.landing).toEqual([])
    const second = client.prompt('y')
    world.last.receive({ type: 'batch', content: { after: 'c1', upto: 'c2', events: [prompt(2, second)] } })
    world.last.receive(ack(second))
    expect(client.state).toMatchObject({ landing: [], outbox: [] })
  })
})

describe('commands', () => {
  test('each has the shape that the protocol says', () => {
    const client = make()
    open()
    world.last.receive(snapshot(0))
    client.prompt('a', 'steer')
    client.answer('q1', 'yes')
    client.decide('d1', 'accept', { hunks: ['h1'] })
    client.cancel('r1')
    client.act('rename', { title: 'T' })
    expect(world.last.sent.slice(1)).toEqual([
      { type: 'default', id: expect.any(String), content: 'a', delivery: 'steer' },
      { type: 'answer', id: expect.any(String), reply_to: 'q1', content: 'yes' },
      { type: 'decision', id: expect.any(String), reply_to: 'd1', content: { verdict: 'accept', hunks: ['h1'] } },
      { type: 'cancel', id: expect.any(String), content: { run_id: 'r1' } },
      { type: 'action', id: expect.any(String), content: { name: 'rename', args: { title: 'T' } } },
    ])
  })

  test('a noop settles a stop of what had ended', () => {
    const client = make()
    open()
    const id = client.cancel('r1')
    world.last.receive(ack(id, 'noop'))
    expect(client.state.outbox).toEqual([])
  })

  test('an answer that came second stays, with who was first', () => {
    const client = make()
    open()
    const id = client.answer('q1', 'yes')
    world.last.receive(nack(id, 'already_answered', false, { by: 'Firefox' }))
    expect(client.state.outbox).toMatchObject([{ id, failed: { code: 'already_answered', details: { by: 'Firefox' } } }])
  })

  test('what is refused without a name is told', () => {
    const client = make()
    open()
    world.last.receive(nack(null, 'rate_limited', true))
    expect(client.state.notice).toMatchObject({ code: 'rate_limited' })
    client.clearNotice()
    expect(client.state.notice).toBeNull()
  })
})

test('how far the reading of the code is has a place of its own', () => {
  const client = make()
  open()
  const content = { code: 'index', message: 'Reading the code: 1 of 2 files.', details: { phase: 'building' } }
  world.last.receive({ type: 'notice', content })
  expect(client.state.index).toEqual({ message: content.message, phase: 'building' })
  expect(client.state.notice).toBeNull()
})

test('every subscriber gets every state, until it leaves', () => {
  const client = make()
  const seen: string[] = []
  const leave = client.subscribe((state) => seen.push(state.link.phase))
  open()
  expect(seen).toContain('live')
  leave()
  const before = seen.length
  world.last.lose()
  expect(seen).toHaveLength(before)
})
