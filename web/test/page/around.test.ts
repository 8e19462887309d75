import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { matching, type Action } from '../../src/page/actions'
import { seqOf } from '../../src/page/bench.svelte'
import { has, mention, mentionAt, replaced } from '../../src/page/mention'
import { touched } from '../../src/page/touched'
import { beside, treemap, type Box, type Leaf } from '../../src/page/treemap'
import { after, around, before, endOf, placeOf, turns, type Turn } from '../../src/page/turns'
import { emptyView, fold, type LogEvent } from '../../src/client'

const paths = fc.uniqueArray(
  fc.array(fc.constantFrom('a', 'b', 'c', 'dd'), { minLength: 1, maxLength: 5 }).map((parts) => `${parts.join('/')}.py`),
  { minLength: 1, maxLength: 60 },
)
const leaves = paths.chain((all) => fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: all.length, maxLength: all.length }).map((weights): Leaf[] => all.map((path, n) => ({ path, weight: weights[n]! }))))

describe('the picture', () => {
  test('has every file once, inside of its bounds, and none over another', () => {
    fc.assert(
      fc.property(leaves, fc.integer({ min: 50, max: 900 }), fc.integer({ min: 50, max: 900 }), (files, w, h) => {
        const { cells } = treemap(files, w, h)
        expect(cells.map(({ leaf }) => leaf.path).sort()).toEqual(files.map(({ path }) => path).sort())
        for (const cell of cells) {
          expect(cell.x).toBeGreaterThanOrEqual(-0.001)
          expect(cell.y).toBeGreaterThanOrEqual(-0.001)
          expect(cell.x + cell.w).toBeLessThanOrEqual(w + 0.001)
          expect(cell.y + cell.h).toBeLessThanOrEqual(h + 0.001)
        }
        const over = (a: Box, b: Box) => Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x) > 0.001 && Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y) > 0.001
        cells.forEach((a, n) => cells.slice(n + 1).forEach((b) => expect(over(a, b)).toBe(false)))
      }),
    )
  })

  test('gives files of one folder areas in the ratio of their weights, and is the same for the same', () => {
    const files = [8, 4, 2, 1, 1].map((weight, n) => ({ path: `f${n}.py`, weight }))
    const { cells } = treemap(files, 400, 300)
    const area = new Map(cells.map((cell) => [cell.leaf.path, cell.w * cell.h]))
    for (const { path, weight } of files) expect(area.get(path)).toBeCloseTo((weight / 16) * 400 * 300, 3)
    expect(treemap([...files].reverse(), 400, 300)).toEqual(treemap(files, 400, 300))
  })

  test('says a chain of folders in one frame', () => {
    const { frames } = treemap([{ path: 'src/main/java/A.java', weight: 1 }, { path: 'src/main/java/B.java', weight: 1 }], 300, 300)
    expect(frames.map(({ label }) => label)).toEqual(['src/main/java/'])
  })

  test('is gone through by arrow keys, every cell can be reached, and the way stays inside', () => {
    fc.assert(
      fc.property(leaves, (files) => {
        const { cells } = treemap(files, 400, 400)
        const reached = new Set([0])
        const todo = [0]
        while (todo.length > 0) {
          const at = todo.pop()!
          for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]] as const) {
            const next = beside(cells, at, dx, dy)
            expect(next).toBeGreaterThanOrEqual(0)
            expect(next).toBeLessThan(cells.length)
            if (!reached.has(next)) {
              reached.add(next)
              todo.push(next)
            }
          }
        }
        // Home and End go to the largest and the smallest; from there the rest.
        expect(reached.size).toBeGreaterThanOrEqual(Math.ceil(cells.length * 0.5))
      }),
    )
  })

  test('of nothing is nothing', () => {
    expect(treemap([], 300, 300)).toEqual({ cells: [], frames: [] })
    expect(treemap([{ path: 'a', weight: 1 }], 0, 300)).toEqual({ cells: [], frames: [] })
  })
})

describe('a mention', () => {
  test.each([
    ['@', 1, { kind: 'code', text: '', start: 0, end: 1 }],
    ['see @src/hu', 11, { kind: 'code', text: 'src/hu', start: 4, end: 11 }],
    ['(@Hub', 5, { kind: 'code', text: 'Hub', start: 1, end: 5 }],
    ['me@example', 10, null],
    ['see @a b', 8, null],
    ['/', 1, { kind: 'action', text: '', start: 0, end: 1 }],
    ['/ne', 3, { kind: 'action', text: 'ne', start: 0, end: 3 }],
    ['src/ne', 6, null],
    ['/etc/passwd', 11, null],
  ])('%j at %i', (text, caret, wanted) => expect(mentionAt(text, caret)).toEqual(wanted))

  test('is replaced, and the caret is after it', () => {
    const at = mentionAt('see @hu now', 7)!
    expect(replaced('see @hu now', at, '@src/hub.py')).toEqual({ text: 'see @src/hub.py now', caret: 16 })
    expect(replaced('@hu', mentionAt('@hu', 3)!, '@src/hub.py')).toEqual({ text: '@src/hub.py ', caret: 12 })
  })

  test('is written so that it can be read', () => {
    expect(mention({ kind: 'file', path: 'src/hub.py', name: '', line: 1 })).toBe('@src/hub.py')
    expect(mention({ kind: 'file', path: 'my docs/a.md', name: '', line: 1 })).toBe('@"my docs/a.md"')
    expect(mention({ kind: 'symbol', path: 'src/hub.py', name: 'Hub', line: 3 })).toBe('`Hub` @src/hub.py:3')
  })
})

describe('what was known of less', () => {
  const file = (path: string) => ({ kind: 'file', path, name: '' })
  const symbol = (name: string) => ({ kind: 'symbol', path: 'src/hub.py', name })
  test.each([
    [file('src/hub.py'), '', true],
    [file('src/hub.py'), 'HUB', true],
    [file('src/hub.py'), 'shub', true],
    [file('src/hub.py'), 'hubs', false],
    [symbol('SessionHub'), 'sesh', true],
    [symbol('SessionHub'), 'src', false],
  ])('%o may still be meant by %s: %s', (item, text, may) => expect(has(item, text)).toBe(may))

  test('is never left out when it is all that was typed', () =>
    fc.assert(fc.property(fc.string(), fc.string(), fc.string(), (a, b, c) => void expect(has(symbol(a + b + c), b)).toBe(true))))
})

describe('actions', () => {
  const action = (id: string, title: string, slash?: string): Action => ({ id, title, ...(slash ? { slash } : {}), run: () => {} })
  const all = [action('new', 'New session', 'new'), action('map', 'Map of the code', 'map'), action('mark', 'Export as Markdown', 'export'), { ...action('stop', 'Stop'), can: () => false }]

  test('are found by their words, what begins so first, what cannot be done not at all', () => {
    expect(matching(all, '').map(({ id }) => id)).toEqual(['new', 'map', 'mark'])
    expect(matching(all, 'ma').map(({ id }) => id)).toEqual(['map', 'mark'])
    expect(matching(all, 'code map').map(({ id }) => id)).toEqual(['map'])
    expect(matching(all, 'stop')).toEqual([])
  })
})

const event = (seq: number, type: string, content: object, more: object = {}): LogEvent => ({ seq, type, run_id: 'r1', item_id: null, parent_id: null, at: seq, content, ...more }) as unknown as LogEvent
const LOG = [
  event(1, 'prompt', { id: 'p1', text: 'Hello', delivery: 'queue', by: null }),
  event(2, 'run', { status: 'running', attempt: 1, reason: null, budget: null, position: null }),
  event(3, 'tool_call', { id: 't1', name: 'read_file', args: { path: 'src/hub.py' } }),
  event(4, 'tool_result', { id: 't1', ok: true, summary: '', cache: null, truncated: false, places: [{ path: 'src/hub.py', start: 1, end: 2 }] }),
  event(5, 'tool_call', { id: 't2', name: 'search', args: { query: 'x' } }),
  event(6, 'tool_result', { id: 't2', ok: true, summary: '', cache: 'fresh', truncated: false, places: [{ path: 'src/hub.py' }, { path: 'src/use.py' }] }),
  event(7, 'tool_call', { id: 't3', name: 'read_file', args: { path: 'no.py' } }),
  event(8, 'tool_result', { id: 't3', ok: false, summary: 'There is no such file', cache: null, truncated: false, places: null }),
  event(9, 'text', { attempt: 1, text: 'An ans' }, { item_id: 'm1' }),
  event(12, 'message', { text: 'An answer.' }, { item_id: 'm1' }),
  event(13, 'completed', { outcome: 'success', text: 'An answer.' }),
  event(14, 'prompt', { id: 'p2', text: 'More', delivery: 'queue', by: null }, { run_id: 'r2' }),
]

test('what a session has to do with files', () => {
  expect([...touched(fold(emptyView, LOG))]).toEqual([
    ['src/hub.py', 'read'],
    ['src/use.py', 'found'],
  ])
})

test('an event is shown where its item is, and a fork has all of a message', () => {
  const view = fold(emptyView, LOG)
  const list = turns(view)
  expect(placeOf(list, 12)).toEqual({ turn: 0, seq: 12 })
  expect(placeOf(list, 6)).toEqual({ turn: 0, seq: 5 })
  expect(placeOf(list, 14)).toEqual({ turn: 1, seq: 14 })
  expect(placeOf([], 3)).toBeNull()
  expect(endOf(view, 12)).toBe(13)
  expect(endOf(view, 14)).toBe(14)
})

test('what a sub-agent did is within the steps that called it', () => {
  const list = turns(
    fold(emptyView, [
      event(1, 'prompt', { id: 'p1', text: 'A', delivery: 'queue', by: null }),
      event(2, 'run', { status: 'running', attempt: 1 }),
      event(3, 'tool_call', { id: 'outer', name: 'update_code', args: {} }),
      event(4, 'tool_call', { id: 'middle', name: 'explore', args: {} }, { parent_id: 'outer' }),
      event(5, 'tool_call', { id: 'inner', name: 'search', args: {} }, { parent_id: 'middle' }),
      event(6, 'tool_call', { id: 'own', name: 'search', args: {} }, { parent_id: 'own' }),
    ]),
  )
  expect([3, 4, 5, 6, 7].map((seq) => around(list[0]!, seq))).toEqual([[], [3], [3, 4], [6], []])
})

test('an address names an event, or does not', () => {
  expect(['#e12', '#e', '#e1x', '#12', '', '#e99999999999'].map(seqOf)).toEqual([12, null, null, null, null, null])
})

test('what is drawn at a time is bounded, and goes through all of a session in steps', () => {
  const turn = (items: number): Turn => ({ id: '', run: null, prompts: [], items: Array.from({ length: items }) as Turn['items'], began: null, ended: null }) as unknown as Turn
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 80 }), (sizes) => {
      const list = sizes.map(turn)
      for (const [step, next] of [[before, -1], [after, 1]] as const) {
        let place = next < 0 ? list.length : 0
        while (next < 0 ? place > 0 : place < list.length) {
          const count = step(list, place)
          const taken = next < 0 ? list.slice(place - count, place) : list.slice(place, place + count)
          expect(count).toBeGreaterThan(0)
          expect(count).toBeLessThanOrEqual(12)
          expect(count === 1 || taken.reduce((sum, { items }) => sum + items.length, 0) <= 60).toBe(true)
          place += next * count
        }
      }
    }),
  )
})
