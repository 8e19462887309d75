import { expect, test } from 'vitest'
import { emptyView, fold, type LogEvent } from '../../src/client'
import { turns } from '../../src/page/turns'

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
