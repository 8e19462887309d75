/** Any cut, overlap or repeat of the stream folds to the same view. */

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { applyBatch, applySnapshot, NOTHING, type Held } from '../../src/client/apply'
import type { BatchContent, LogEvent } from '../../src/client/frames'
import { emptyView, fold, isRewound, pending, queued, quotation, runState, totalUsage, type View } from '../../src/client/reducer'
import { cursorAt, logs, publicRows, type Row } from './logs'

const batch = (rows: readonly Row[], after: number, upto: number): BatchContent => ({
  after: cursorAt(after),
  upto: cursorAt(upto),
  events: publicRows(rows, after, upto),
})

type Apply = typeof applyBatch

/** A server that sends this log to a client through a network that does what the choices say. Returns what the client holds. */
function deliver(rows: readonly Row[], choices: readonly number[], apply: Apply): Held {
  let held = applySnapshot({ cursor: cursorAt(0), events: [] }).held
  let at = 0
  const take = (content: BatchContent): void => {
    const outcome = apply(held, content)
    if (outcome.kind === 'applied') held = outcome.held
    // On a gap the client closes and resumes from its own cursor: the server starts there again.
    at = Number(held.cursor!.slice(1))
  }
  for (const choice of choices) {
    const most = rows.length
    const size = 1 + (choice % 7)
    switch (choice % 5) {
      case 0: // the next one, then the same again
        take(batch(rows, at, Math.min(most, at + size)))
        take(batch(rows, Math.max(0, at - size), at))
        break
      case 1: // one that begins before and ends after what is known
        take(batch(rows, Math.max(0, at - size), Math.min(most, at + size)))
        break
      case 2: // one is lost
        take(batch(rows, Math.min(most, at + size), Math.min(most, at + 2 * size)))
        break
      default:
        take(batch(rows, at, Math.min(most, at + size)))
    }
  }
  while (at < rows.length) take(batch(rows, at, Math.min(rows.length, at + 16)))
  return held
}

const choices = fc.array(fc.nat(1000), { maxLength: 40 })
const sameView = (apply: Apply) =>
  fc.property(logs(), choices, (rows, choices) => {
    expect(deliver(rows, choices, apply).view).toEqual(fold(emptyView, publicRows(rows)))
  })

describe('delivery', () => {
  test('any cut, overlap or repeat of the stream folds to the same view', () => fc.assert(sameView(applyBatch), { numRuns: 300 }))

  test('control: a client that applies whatever comes fails the property', () => {
    const credulous: Apply = (held, content) => ({
      kind: 'applied',
      held: { cursor: content.upto, view: fold(held.view, content.events), past: [] },
      events: content.events.length,
    })
    expect(fc.check(sameView(credulous), { numRuns: 300 }).failed).toBe(true)
  })

  test('control: a client that takes a repeated batch fails the property', () => {
    const repeating: Apply = (held, content) => {
      const outcome = applyBatch(held, content)
      return outcome.kind === 'dropped'
        ? { kind: 'applied', held: { ...held, view: fold(held.view, content.events) }, events: 0 }
        : outcome
    }
    expect(fc.check(sameView(repeating), { numRuns: 300 }).failed).toBe(true)
  })

  test('control: a client that takes half of an overlapping batch at its word fails the property', () => {
    const greedy: Apply = (held, content) => {
      const outcome = applyBatch(held, content)
      return outcome.kind === 'gap' && content.events.length > 0
        ? { kind: 'applied', held: { cursor: content.upto, view: fold(held.view, content.events), past: held.past }, events: 0 }
        : outcome
    }
    expect(fc.check(sameView(greedy), { numRuns: 300 }).failed).toBe(true)
  })

  test('a batch without events moves the cursor', () => {
    const held = applySnapshot({ cursor: 'c3', events: [] }).held
    expect(applyBatch(held, { after: 'c3', upto: 'c5', events: [] })).toMatchObject({ kind: 'applied', held: { cursor: 'c5' } })
  })

  test('before the first snapshot nothing continues anything', () => {
    expect(applyBatch(NOTHING, { after: 'c0', upto: 'c1', events: [] }).kind).toBe('gap')
  })

  test('events that are out of order in a batch are a gap, not a picture', () => {
    const held = applySnapshot({ cursor: 'c0', events: [] }).held
    const event = (seq: number): LogEvent => ({
      type: 'error',
      seq,
      run_id: 'r1',
      item_id: null,
      parent_id: null,
      at: 0,
      content: { code: 'internal', message: '', retryable: false, details: {} },
    })
    expect(applyBatch(held, { after: 'c0', upto: 'c2', events: [event(2), event(1)] }).kind).toBe('gap')
    expect(applyBatch(held, { after: 'c0', upto: 'c2', events: [event(1), event(1)] }).kind).toBe('gap')
  })
})

describe('fold', () => {
  test('is the same in one piece and event by event', () =>
    fc.assert(
      fc.property(logs(), (rows) => {
        const events = publicRows(rows)
        const single = events.reduce((view, event) => fold(view, [event]), emptyView)
        expect(single).toEqual(fold(emptyView, events))
      }),
      { numRuns: 300 },
    ))

  test('leaves the view it starts from as it was', () =>
    fc.assert(
      fc.property(logs(), fc.nat(60), (rows, cut) => {
        const events = publicRows(rows)
        const before = fold(emptyView, events.slice(0, cut))
        const copy = structuredClone(before)
        fold(before, events.slice(cut))
        expect(before).toEqual(copy)
      }),
      { numRuns: 100 },
    ))

  test('goes on from an older view as if nobody had gone on from it before', () =>
    fc.assert(
      fc.property(logs(), logs(), fc.nat(60), (rows, others, cut) => {
        const events = publicRows(rows)
        const before = fold(emptyView, events.slice(0, cut))
        const once = fold(before, events.slice(cut))
        fold(before, publicRows(others))
        expect(fold(before, events.slice(cut))).toEqual(once)
        expect(fold(once, publicRows(others))).toEqual(fold(structuredClone(once), publicRows(others)))
      }),
      { numRuns: 200 },
    ))

  test('keeps what did not change the same object', () => {
    const event = (seq: number, item: string): LogEvent => ({
      type: 'text',
      seq,
      run_id: 'r1',
      item_id: item,
      parent_id: null,
      at: 0,
      content: { attempt: 1, text: 'x' },
    })
    const before = fold(emptyView, [event(1, 'a'), event(2, 'b')])
    const after = fold(before, [event(3, 'b')])
    expect(after.items[0]).toBe(before.items[0])
    expect(after.items[1]).not.toBe(before.items[1])
  })

  test('a long answer costs the same per piece at its end as at its beginning', () => {
    // Counted, not timed: the text of an item is joined once a batch, whatever the number of its pieces.
    const pieces = Array.from({ length: 5000 }, (_, i): LogEvent => ({
      type: 'text',
      seq: i + 1,
      run_id: 'r1',
      item_id: 'a',
      parent_id: null,
      at: 0,
      content: { attempt: 1, text: 'word ' },
    }))
    const view = fold(emptyView, pieces)
    expect(view.items).toHaveLength(1)
    expect(view.items[0]).toMatchObject({ text: 'word '.repeat(5000) })
  })
})

describe('what is asked of a view', () => {
  const at = { run_id: 'r1', item_id: null, parent_id: null, at: 0 }
  const prompt = (seq: number, id: string, run: string): LogEvent => ({ ...at, type: 'prompt', seq, run_id: run, content: { id, text: id, delivery: 'queue' } })
  const status = (seq: number, run: string, status: 'queued' | 'running' | 'waiting'): LogEvent => ({
    ...at,
    type: 'run',
    seq,
    run_id: run,
    content: { status, attempt: 1 },
  })

  test('a queued prompt is in the queue until its run begins', () => {
    const view = fold(emptyView, [prompt(1, 'p1', 'r1'), status(2, 'r1', 'queued'), status(3, 'r1', 'running'), prompt(4, 'p2', 'r2'), status(5, 'r2', 'queued')])
    expect(queued(view).map((item) => item.id)).toEqual(['p2'])
    expect(runState(view)).toBe('running')
  })

  test('a question is pending until it is answered or its run is over', () => {
    const ask: LogEvent = { ...at, type: 'question', seq: 4, content: { id: 'q1', text: 'Which?' } }
    const view = fold(emptyView, [prompt(1, 'p1', 'r1'), status(2, 'r1', 'running'), ask, status(5, 'r1', 'waiting')])
    expect(pending(view)).toHaveLength(1)
    expect(runState(view)).toBe('waiting')
    expect(pending(fold(view, [{ ...at, type: 'answered', seq: 6, content: { id: 'q1', answer: 'x' } }]))).toHaveLength(0)
    const over = fold(view, [{ ...at, type: 'completed', seq: 6, content: { outcome: 'cancelled', text: '' } }])
    expect(pending(over)).toHaveLength(0)
    expect(runState(over)).toBe('idle')
  })

  test('usage is summed over runs, and a cost that is not known stays unknown', () => {
    const usage = (seq: number, run: string, cost: number | null): LogEvent => ({ ...at, type: 'usage', seq, run_id: run, content: { input_tokens: 10, cost, context_used: seq } })
    const view = fold(emptyView, [usage(1, 'r1', null), usage(2, 'r2', null)])
    expect(totalUsage(view)).toMatchObject({ input_tokens: 20, cost: null, context_used: 2 })
    expect(totalUsage(fold(view, [usage(3, 'r3', 0.5)]))).toMatchObject({ input_tokens: 30, cost: 0.5 })
  })
})

describe('beyond the reference', () => {
  const at = (seq: number, type: string, content: object, run: string | null = null): LogEvent =>
    ({ type, content, seq, run_id: run, item_id: null, parent_id: null, at: seq }) as unknown as LogEvent
  const queue = (n: number): LogEvent[] => [
    at(2 * n, 'prompt', { id: `p${n}`, text: `p${n}` }, `r${n}`),
    at(2 * n + 1, 'run', { status: 'queued', attempt: 0, prompts: [`p${n}`] }, `r${n}`),
  ]
  const move = (seq: number, id: string, before: string | null): LogEvent => at(seq, 'action', { name: 'move_prompt', args: { id, position: 0, before } })
  const order = (view: View): string[] => queued(view).map(({ id }) => id)

  test('the queue is in the order in which it runs', () => {
    const all = fold(emptyView, [...queue(1), ...queue(2), ...queue(3), ...queue(4)])
    expect(order(all)).toEqual(['p1', 'p2', 'p3', 'p4'])
    const moved = fold(all, [move(10, 'p4', 'p2'), move(11, 'p1', null)])
    expect(order(moved)).toEqual(['p4', 'p2', 'p3', 'p1'])
    const begun = fold(moved, [at(12, 'run', { status: 'running', attempt: 1 }, 'r4')])
    expect(order(begun)).toEqual(['p2', 'p3', 'p1'])
  })
  test('moves before a prompt that has begun since do not spoil the order of a snapshot', () => {
    const live = fold(emptyView, [...queue(1), ...queue(2), ...queue(3), move(10, 'p3', 'p1'), move(11, 'p2', 'p1'), at(12, 'run', { status: 'running', attempt: 1 }, 'r3')])
    const snapshot = [...queue(1), ...queue(2), queue(3)[0]!, move(10, 'p3', 'p1'), move(11, 'p2', 'p1'), at(12, 'run', { status: 'running', attempt: 1 }, 'r3')]
    expect(order(fold(emptyView, snapshot))).toEqual(order(live))
    expect(order(live)).toEqual(['p2', 'p1'])
  })
  test('what was taken back is known by its numbers', () => {
    const view = fold(emptyView, [at(20, 'action', { name: 'rewind', args: { upto: 5 } }), at(30, 'action', { name: 'resend', args: { id: 'p', upto: 25 } })])
    expect([5, 6, 19, 20, 25, 26, 29, 31].filter((seq) => isRewound(view, seq))).toEqual([6, 19, 26, 29])
  })
  test('a citation leads to the content that was read before it', () => {
    const read = (seq: number, id: string, start: number, end: number, hash: string): LogEvent[] => [
      at(seq, 'tool_call', { id, name: 'read_file', args: {} }, 'r1'),
      at(seq + 1, 'tool_result', { id, summary: '', places: [{ path: 'a.py', start, end, hash }, { path: 'b.py', start: 1 }] }, 'r1'),
    ]
    const view = fold(emptyView, [...read(1, 't1', 1, 9, 'old'), ...read(3, 't2', 20, 30, 'other'), ...read(5, 't3', 1, 9, 'new')])
    const hash = (path: string, line: number | null, seq?: number) => quotation(view, path, line, seq)?.['hash']
    expect(hash('a.py', 5)).toBe('new')
    expect(hash('a.py', 5, 4)).toBe('old')
    expect(hash('a.py', 25)).toBe('other')
    expect(hash('a.py', 99, 4)).toBe('other')
    expect(hash('b.py', 1)).toBeUndefined()
    expect(hash('c.py', null)).toBeUndefined()
  })
  test('files that could not be taken back are told, and the change stays', () => {
    const diff = at(1, 'diff', { id: 'd', files: [] }, 'r1')
    const applied = at(2, 'applied', { diff_id: 'd', files: [] }, 'r1')
    const clash = at(3, 'applied', { diff_id: 'd', files: [], conflicts: [{ path: 'a.py' }], undo: true }, 'r2')
    const item = (view: View) => view.items.find((item) => item.type === 'diff')
    expect(item(fold(emptyView, [diff, applied, clash]))).toMatchObject({ undone: false, clashes: [{ path: 'a.py' }] })
    expect(item(fold(emptyView, [diff, applied, clash, at(4, 'applied', { diff_id: 'd', files: [], undo: true }, 'r3')]))).toMatchObject({ undone: true, clashes: [] })
  })
})
