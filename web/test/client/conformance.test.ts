/** The recorded conversations that every client of the protocol must follow in the same way (`docs/explanation/reducer.md`). */

import { describe, expect, test } from 'vitest'
import { Client } from '../../src/client/client'
import type { Json, ServerFrame } from '../../src/client/frames'
import { memoryShelf } from '../../src/client/outbox'
import { toJson } from '../../src/client/reducer'
import { FakeWorld } from './fake'

const FILES = import.meta.glob<string>('../../../tests/conformance/*.jsonl', { query: '?raw', import: 'default', eager: true })

type Line =
  | { about: string }
  | { connect: { session_id: string | null; cursor: string | null } }
  | { receive: ServerFrame; outcome: 'applied' | 'dropped' | 'gap' | 'other' }
  | { cut: true }
  | { view: Json; cursor: string | null }

const linesOf = (text: string): Line[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)

/** Plays a conversation to a client through its sockets. */
function play(lines: Line[]): void {
  const world = new FakeWorld()
  const client = new Client({ world, shelf: memoryShelf(), url: 'ws://test/ws', me: 'http://test/api/me' })
  client.start()
  for (const line of lines) {
    if ('connect' in line) {
      while (world.last.readyState !== 0) world.pass(50)
      const socket = world.last
      socket.open()
      const hello = socket.sent[0]
      if (hello?.type !== 'hello') throw new Error('the first frame is no hello')
      const { session_id = null, cursor = null } = hello.config ?? {}
      expect({ session_id, cursor }).toEqual(line.connect)
    } else if ('receive' in line) {
      const { view } = client.state
      const { cursor } = client.holds
      const { closedWith } = world.last
      world.last.receive(line.receive)
      const moved = client.holds.cursor !== cursor || client.state.view !== view
      const gap = closedWith === null && world.last.closedWith === 4002
      // A `session` frame of another session forgets what was held, which is no durable frame applied.
      if (line.receive.type === 'session') expect(gap).toBe(false)
      else expect(moved ? 'applied' : gap ? 'gap' : 'kept').toBe({ applied: 'applied', gap: 'gap', dropped: 'kept', other: 'kept' }[line.outcome])
    } else if ('cut' in line) world.last.lose()
    else if ('view' in line) {
      expect(toJson(client.state.view)).toEqual(line.view)
      expect(client.holds.cursor).toBe(line.cursor)
    }
  }
}

describe('recorded conversations', () => {
  test('there are some', () => expect(Object.keys(FILES).length).toBeGreaterThan(9))
  for (const [path, text] of Object.entries(FILES)) test(path.split('/').at(-1)!, () => play(linesOf(text)))
})
