import fc from 'fast-check'
import { expect, test } from 'vitest'
import { activeRun, emptyView, fold, pending, queued, toJson, totalUsage, type LogEvent } from '../../src/client'
import { grown, turns, type Turn } from '../../src/page/turns'
import { logs, publicRows } from '../client/logs'

let seq = 0
const at = (run: string | null) => ({ seq: ++seq, run_id: run, item_id: null, parent_id: null, at: 1000 + seq })
const prompt = (run: string, id: string, delivery: 'queue' | 'steer' = 'queue'): LogEvent => ({ ...at(run), type: 'prompt', content: { id, text: id, delivery } })
const status = (run: string, status: 'queued' | 'running'): LogEvent => ({ ...at(run), type: 'run', content: { status, attempt: 1 } })
const text = (run: string, item: string, text = 'x'): LogEvent => ({ ...at(run), item_id: item, type: 'text', content: { attempt: 1, text } })
const done = (run: string): LogEvent => ({ ...at(run), type: 'completed', content: { outcome: 'success', text: '' } })
const remove = (id: string): LogEvent => ({ ...at(null), type: 'action', content: { name: 'remove_prompt', args: { id } } })

const shape = (events: LogEvent[]) => turns(fold(emptyView, events)).map((turn) => [turn.id, turn.prompts.map((item) => item.id), turn.items.map((item) => item.key)])

test('a prompt that waits does not split the answer that is being written', () => {
  const begun = [prompt('r1', 'p1'), status('r1', 'running'), text('r1', 'a'), prompt('r2', 'p2'), status('r2', 'queued'), text('r1', 'a')]
  expect(shape(begun)).toEqual([['r1', ['p1'], ['text:r1/a']]])
  expect(shape([...begun, done('r1'), status('r2', 'running')])).toEqual([
    ['r1', ['p1'], ['text:r1/a']],
    ['r2', ['p2'], []],
  ])
})

test('what is about to run is shown as if it did; what waits behind it is not', () => {
  expect(shape([prompt('r1', 'p1'), status('r1', 'queued'), prompt('r2', 'p2'), status('r2', 'queued')])).toEqual([['r1', ['p1'], []]])
})

test('a prompt that steers stands where it came in', () => {
  expect(shape([prompt('r1', 'p1'), status('r1', 'running'), text('r1', 'a'), prompt('r1', 'p2', 'steer'), text('r1', 'b')])).toEqual([
    ['r1', ['p1'], ['text:r1/a', 'prompt:p2', 'text:r1/b']],
  ])
})

test('turns stand in the order in which they began, not in which they were asked for', () => {
  const events = [prompt('r1', 'p1'), status('r1', 'running'), text('r1', 'a'), prompt('r2', 'p2'), status('r2', 'queued'), prompt('r3', 'p3'), status('r3', 'queued'), done('r1')]
  expect(shape([...events, status('r3', 'running'), text('r3', 'c'), done('r3'), status('r2', 'running'), text('r2', 'b')]).map(([id]) => id)).toEqual(['r1', 'r3', 'r2'])
})

test('what was removed from the queue is not shown', () => {
  const events = [prompt('r1', 'p1'), status('r1', 'running'), text('r1', 'a'), prompt('r2', 'p2'), status('r2', 'queued'), remove('p2'), done('r2')]
  expect(shape(events).map(([id]) => id)).toEqual(['r1'])
})

test('a run that ended before it said anything keeps its place', () => {
  const events = [prompt('r1', 'p1'), status('r1', 'running'), done('r1'), prompt('r2', 'p2'), status('r2', 'running'), text('r2', 'b')]
  expect(shape(events).map(([id]) => id)).toEqual(['r1', 'r2'])
})

/** Without what they are sorted by, which says nothing once they are. */
const shown = (list: readonly Turn[]) => list.map((turn) => ({ ...turn, order: 0 }))

test('turns that go on from those before are those that are made anew, and what did not change is the same', () =>
  void fc.assert(
    fc.property(logs(80), (rows) => {
      let view = emptyView
      let known = turns(view)
      for (const event of publicRows(rows)) {
        const before = known
        view = fold(view, [event])
        known = turns(view, before)
        expect(shown(known)).toEqual(shown(turns(view)))
        for (const turn of known) {
          const was = before.find(({ id }) => id === turn.id)
          const same = was && was.run === turn.run && was.rewound === turn.rewound && [...was.prompts, ...was.items].every((item, n) => item === [...turn.prompts, ...turn.items][n])
          if (same && was.prompts.length === turn.prompts.length && was.items.length === turn.items.length && before.indexOf(was) === known.indexOf(turn)) expect(turn).toBe(was)
        }
      }
    }),
    { numRuns: 200 },
  ))

test('where only texts have grown, nothing else is to be looked at', () =>
  void fc.assert(
    fc.property(logs(80), (rows) => {
      let view = emptyView
      const rest = (of: typeof view) => [pending(of), queued(of), activeRun(of), totalUsage(of), of.plan, of.items.map(({ key, seq, type }) => [key, seq, type])]
      for (const event of publicRows(rows)) {
        const now = fold(view, [event])
        const places = grown(view, now)
        if (places) {
          expect(rest(now)).toEqual(rest(view))
          now.items.forEach((item, place) => expect(item !== view.items[place]).toBe(places.includes(place)))
        }
        view = now
      }
      expect(toJson(view)).toEqual(toJson(fold(emptyView, publicRows(rows))))
    }),
    { numRuns: 200 },
  ))

test('a piece of an answer is such a growth, and makes one turn anew', () => {
  const begun = [prompt('r1', 'p1'), status('r1', 'running'), text('r1', 'a'), done('r1'), prompt('r2', 'p2'), status('r2', 'running'), text('r2', 'b')]
  const view = fold(emptyView, begun)
  const known = turns(view)
  const now = fold(view, [text('r2', 'b', ' more')])
  expect(grown(view, now)).toEqual([3])
  const after = turns(now, known)
  expect(after[0]).toBe(known[0])
  expect(after[1]!.items).toEqual([now.items[3]])
  expect(grown(now, fold(now, [done('r2')]))).toBeNull()
})
