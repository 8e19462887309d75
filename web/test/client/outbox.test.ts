import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { Client } from '../../src/client/client'
import type { ClientFrame, ServerFrame } from '../../src/client/frames'
import { newId } from '../../src/client/ids'
import { memoryShelf, Outbox, type Shelf } from '../../src/client/outbox'
import { lastSession, rememberSession } from '../../src/client/session'
import { ack, FakeWorld, nack, OTHER, SESSION, sessionFrame } from './fake'

const EMPTY: ServerFrame = { type: 'snapshot', content: { cursor: 'c0', events: [], synced: true } }

function page(shelf: Shelf, session: string | null | undefined = undefined, root: string | null = null) {
  const world = new FakeWorld()
  const client = new Client({ world, shelf, root, ...(session === undefined ? {} : { session }), url: 'ws://test/ws', me: 'http://test/api/me' })
  client.start()
  const attach = (change: Parameters<typeof sessionFrame>[0] = {}): void => {
    while (world.last.readyState !== 0) world.pass(50)
    world.last.open()
    world.last.receive(sessionFrame(change))
  }
  const sent = (): ClientFrame[] => world.last.sent.filter((frame) => frame.type !== 'hello' && frame.type !== 'ping')
  return { world, client, attach, sent }
}

describe('a prompt', () => {
  test('is kept until it is acknowledged, and then gone', () => {
    const shelf = memoryShelf()
    const { client, world, attach, sent } = page(shelf)
    attach()
    world.last.receive(EMPTY)
    const id = client.prompt('Why?')
    expect(sent()).toMatchObject([{ type: 'default', id, content: 'Why?' }])
    expect(new Outbox(shelf).all()).toHaveLength(1)
    world.last.receive(ack(id))
    expect(client.state.outbox).toHaveLength(0)
    expect(new Outbox(shelf).all()).toHaveLength(0)
  })

  test('typed offline is sent once when the link is back', () => {
    const { client, world, attach, sent } = page(memoryShelf())
    attach()
    world.last.lose()
    const id = client.prompt('typed offline')
    expect(client.state.outbox).toHaveLength(1)
    attach({ mode: 'resume' })
    expect(sent()).toHaveLength(1)
    world.last.receive(ack(id))
    world.last.lose()
    attach({ mode: 'resume' })
    expect(sent()).toHaveLength(0)
  })

  test('whose acknowledgement was lost is sent again under the same id; `duplicate` settles it', () => {
    const { client, world, attach, sent } = page(memoryShelf())
    attach()
    const id = client.prompt('Why?')
    world.last.lose()
    attach({ mode: 'resume' })
    expect(sent()).toMatchObject([{ id, content: 'Why?' }])
    world.last.receive(ack(id, 'duplicate'))
    world.last.receive(ack(id, 'duplicate'))
    expect(client.state.outbox).toHaveLength(0)
  })

  test('survives a reload', () => {
    const shelf = memoryShelf()
    const before = page(shelf)
    before.attach()
    before.world.last.lose()
    const id = before.client.prompt('typed offline')
    const after = page(shelf)
    after.attach({ mode: 'snapshot' })
    expect(after.sent()).toMatchObject([{ id, content: 'typed offline' }])
  })

  test('prompts are sent in the order in which they were written', () => {
    const shelf = memoryShelf()
    const before = page(shelf)
    before.attach()
    before.world.last.lose()
    const ids = ['one', 'two', 'three'].map((text) => before.client.prompt(text))
    const after = page(shelf)
    after.attach({ mode: 'snapshot' })
    expect(after.sent().map((frame) => 'id' in frame && frame.id)).toEqual(ids)
  })

  test('of a new session is its first frame, so that a lost answer does not make a second session', () => {
    const shelf = memoryShelf()
    const { client, world, attach } = page(shelf, null, 'shop')
    const id = client.prompt('first')
    world.last.open()
    expect(world.last.sent).toMatchObject([{ type: 'default', id, proto: 1, content: 'first', config: { root_directory: 'shop' } }])
    const body = (frame: ClientFrame) => {
      const { proto: _p, client: _c, config = {}, ...rest } = frame as ClientFrame & { proto?: 1; client?: object; config?: object }
      const { session_id: _s, cursor: _u, ...kept } = config as Record<string, unknown>
      return { ...rest, config: kept }
    }
    const first = body(world.last.sent[0]!)
    world.last.lose()
    while (world.last.readyState !== 0) world.pass(50)
    world.last.open()
    expect(body(world.last.sent[0]!)).toEqual(first)
    world.last.receive(sessionFrame())
    expect(world.last.sent).toHaveLength(1)
    // Its session is known now; sent again on it, the server must see the same body.
    world.last.lose()
    attach({ mode: 'resume' })
    expect(body(world.last.sent[1]!)).toEqual(first)
  })

  test('of a new session is found again after a reload, before the last session', () => {
    const shelf = memoryShelf()
    rememberSession(shelf, OTHER)
    const before = page(shelf, null)
    const id = before.client.prompt('first')
    const after = page(shelf)
    after.world.last.open()
    expect(after.world.last.sent).toMatchObject([{ type: 'default', id }])
  })

  test('written to a session that the server no longer has goes to the one that takes its place', () => {
    const shelf = memoryShelf()
    rememberSession(shelf, OTHER)
    const { client, attach, sent } = page(shelf)
    const id = client.prompt('still asked')
    const cancel = client.cancel('r1')
    attach({ session_id: SESSION, mode: 'fresh', reason: 'expired' })
    expect(sent()).toMatchObject([{ id }])
    expect(client.state.outbox.map((entry) => entry.id)).not.toContain(cancel)
    expect(lastSession(shelf)).toBe(SESSION)
  })
})

describe('refusals', () => {
  test('for good: it stays to be read, is not sent again, and survives a reload', () => {
    const shelf = memoryShelf()
    const { client, world, attach, sent } = page(shelf)
    attach()
    const id = client.prompt('x')
    world.last.receive(nack(id, 'too_large'))
    expect(client.state.outbox).toMatchObject([{ id, failed: { code: 'too_large' } }])
    world.last.lose()
    attach({ mode: 'resume' })
    expect(sent()).toHaveLength(0)
    const after = page(shelf)
    after.attach({ mode: 'snapshot' })
    expect(after.sent()).toHaveLength(0)
    expect(after.client.state.outbox).toHaveLength(1)
    expect(after.client.dismiss(id)?.frame).toMatchObject({ content: 'x' })
    expect(new Outbox(shelf).all()).toHaveLength(0)
  })

  test('for now: sent again when the server asks for it, not before', () => {
    const { client, world, attach, sent } = page(memoryShelf())
    attach()
    const id = client.prompt('x')
    world.last.receive(nack(id, 'rate_limited', true, { retry_after: 6 }))
    world.pass(5900)
    world.last.receive({ type: 'hb', content: { head: 1 } })
    expect(sent()).toHaveLength(1)
    world.pass(200)
    expect(sent()).toHaveLength(2)
    world.last.receive(ack(id))
    expect(client.state.outbox).toHaveLength(0)
  })

  test('for now, and the link is lost meanwhile: sent with the next connection', () => {
    const { client, world, attach, sent } = page(memoryShelf())
    attach()
    client.prompt('x')
    const [id] = client.state.outbox.map((entry) => entry.id)
    world.last.receive(nack(id!, 'disk_full', true))
    world.last.lose()
    world.rolls = [0.999]
    world.pass(60_000)
    attach({ mode: 'resume' })
    expect(sent()).toHaveLength(1)
  })

  test('can be sent again by the person, under the same id', () => {
    const { client, world, attach, sent } = page(memoryShelf())
    attach()
    const id = client.prompt('x')
    world.last.receive(nack(id, 'root_not_served', true))
    expect(client.state.outbox).toMatchObject([{ id, failed: { code: 'root_not_served' } }])
    client.again(id)
    expect(sent().map((frame) => 'id' in frame && frame.id)).toEqual([id, id])
    expect(client.state.outbox[0]!.failed).toBeUndefined()
  })

  test('of the first frame: the session is attached without it', () => {
    const { client, world, attach } = page(memoryShelf(), null)
    const id = client.prompt('x')
    world.last.open()
    world.last.receive(nack(id, 'empty_prompt'))
    attach()
    expect(world.last.sent).toMatchObject([{ type: 'hello' }])
    expect(client.state.outbox).toMatchObject([{ id, failed: { code: 'empty_prompt' } }])
  })

  test('of the hello: it stops and shows what the server says', () => {
    const { client, world } = page(memoryShelf(), null)
    world.last.open()
    world.last.receive(nack(null, 'root_required'))
    expect(client.state.link).toMatchObject({ phase: 'stopped', reason: 'refused', message: 'root_required.' })
  })

  test('a frame that no server takes is never sent', () => {
    const { client, attach, sent } = page(memoryShelf())
    attach()
    client.prompt('x'.repeat(1_100_000))
    expect(sent()).toHaveLength(0)
    expect(client.state.outbox).toMatchObject([{ failed: { code: 'too_large' } }])
  })

  test('1009 fails the last frame, and the rest goes on', () => {
    const { client, world, attach, sent } = page(memoryShelf())
    attach()
    const id = client.prompt('x')
    world.last.lose(1009)
    expect(client.state.outbox).toMatchObject([{ id, failed: { code: 'too_large' } }])
    attach({ mode: 'resume' })
    expect(sent()).toHaveLength(0)
  })
})

describe('two tabs', () => {
  test('neither writes over the other', () => {
    const shelf = memoryShelf()
    rememberSession(shelf, SESSION)
    const one = page(shelf)
    const two = page(shelf)
    const a = one.client.prompt('from one')
    const b = two.client.prompt('from two')
    expect(new Outbox(shelf).all().map((entry) => entry.id)).toEqual([a, b])
    one.attach({ mode: 'snapshot' })
    one.world.last.receive(ack(a))
    expect(new Outbox(shelf).all().map((entry) => entry.id)).toEqual([b])
  })
})

describe('what is stored', () => {
  test('garbage on the shelf is passed over', () => {
    const shelf = memoryShelf()
    for (const [i, text] of ['', '{', 'null', '[]', '{"id":"x"}', '{"id":"3","frame":{"type":"default","id":"other"},"session":null}'].entries())
      shelf.setItem(`reconvene.outbox.${i}`, text)
    expect(new Outbox(shelf).all()).toEqual([])
  })

  test.each([null, '', 'null', 'undefined', 'x', 's_short', `${SESSION}x`, '../x', 's_AAAAAAAAAAAAAAAAAAAA!!'])('sessionId %j means no session', (text) => {
    const shelf = memoryShelf()
    if (text !== null) shelf.setItem('sessionId', text)
    expect(lastSession(shelf)).toBeNull()
  })

  test('a shelf that takes nothing loses nothing while the page lives', () => {
    const shelf = { ...memoryShelf(), length: 0, setItem: () => { throw new DOMException('full', 'QuotaExceededError') } }
    const { client, attach, sent } = page(shelf)
    client.prompt('x')
    attach()
    expect(sent()).toHaveLength(1)
  })
})

describe('ids', () => {
  test('are UUIDv7 and sort by the time they were made, even when the clock is set back', () =>
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1, maxLength: 50 }), (steps) => {
        let now = 1_800_000_000_000
        const ids = steps.map((step) => newId((now += step)))
        for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
        expect([...ids].sort()).toEqual(ids)
        expect(new Set(ids).size).toBe(ids.length)
      }),
    ))
})
