/** Random logs of sessions for property tests: what a server could write, with everything that makes a fold hard. */

import fc from 'fast-check'
import type { Contents, EventType, JsonObject, LogEvent } from '../../src/client/frames'

/** A row of the log; private rows take a seq and a cursor but are never sent. */
export type Row = LogEvent | null

type Step = { [T in EventType]: [T, Contents[T], { item?: string; run?: string }] }[EventType]

const word = fc.constantFrom('a', 'b ', '# head\n', '`code`', '\n\n', '| x |', '[link](y)', 'é', '😀', '```py\nx = 1\n```\n')
const run = fc.constantFrom('r1', 'r2', 'r3')
const item = fc.constantFrom('i1', 'i2', 'i3')
const attempt = fc.integer({ min: 1, max: 3 })

const step: fc.Arbitrary<Step | null> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ run, item, attempt, text: word, kind: fc.constantFrom('text' as const, 'reasoning' as const) }).map(({ run, item, attempt, text, kind }): Step => [kind, { attempt, text }, { item, run }]) },
  { weight: 3, arbitrary: fc.record({ run, item, text: word }).map(({ run, item, text }): Step => ['message', { text }, { item, run }]) },
  { weight: 2, arbitrary: fc.record({ run, item, attempt }).map(({ run, item, attempt }): Step => ['item_aborted', { attempt }, { item, run }]) },
  { weight: 2, arbitrary: fc.record({ run, id: fc.constantFrom('p1', 'p2'), text: word }).map(({ run, id, text }): Step => ['prompt', { id, text, delivery: 'queue' }, { run }]) },
  { weight: 3, arbitrary: fc.record({ run, id: fc.constantFrom('c1', 'c2') }).map(({ run, id }): Step => ['tool_call', { id, name: 'search', args: { query: id } }, { run }]) },
  { weight: 3, arbitrary: fc.record({ run, id: fc.constantFrom('c1', 'c2') }).map(({ run, id }): Step => ['tool_result', { id, summary: '3 places', ok: true, ms: 4 }, { run }]) },
  { weight: 2, arbitrary: fc.record({ run, status: fc.constantFrom('queued' as const, 'running' as const, 'waiting' as const, 'recovering' as const), attempt }).map(({ run, status, attempt }): Step => ['run', { status, attempt }, { run }]) },
  { weight: 2, arbitrary: fc.record({ run, id: fc.constantFrom('q1', 'q2') }).map(({ run, id }): Step => ['question', { id, text: 'Which?' }, { run }]) },
  { weight: 1, arbitrary: fc.constantFrom('q1', 'q2').map((id): Step => ['answered', { id, answer: 'this', by: 'web' }, {}]) },
  { weight: 1, arbitrary: run.map((run): Step => ['plan', { steps: [{ title: 'look', status: 'active' }] }, { run }]) },
  { weight: 1, arbitrary: run.map((run): Step => ['usage', { input_tokens: 10, output_tokens: 2 }, { run }]) },
  { weight: 1, arbitrary: run.map((run): Step => ['error', { code: 'tool_failed', message: 'No.', retryable: true, details: {} }, { run }]) },
  { weight: 1, arbitrary: run.map((run): Step => ['completed', { outcome: 'success', text: 'Done.' }, { run }]) },
  { weight: 1, arbitrary: fc.constantFrom<[string, JsonObject]>(['rename', { title: 'T' }], ['edit_prompt', { id: 'p1', text: 'new' }], ['remove_prompt', { id: 'p2' }], ['pin', { pinned: true }]).map(([name, args]): Step => ['action', { name, args }, {}]) },
  { weight: 2, arbitrary: fc.constant(null) },
)

/** Logs of up to `most` rows. */
export const logs = (most = 60): fc.Arbitrary<Row[]> =>
  fc.array(step, { maxLength: most }).map((steps) =>
    steps.map((made, place) => {
      if (made === null) return null
      const [type, content, { item, run }] = made
      return { type, seq: place + 1, run_id: run ?? null, item_id: item ?? null, parent_id: null, at: 1_700_000_000 + place, content } as LogEvent
    }),
  )

/** The cursor after so many rows. */
export const cursorAt = (seq: number): string => `c${seq}`

export const publicRows = (rows: readonly Row[], after = 0, upto = rows.length): LogEvent[] =>
  rows.slice(after, upto).filter((row): row is LogEvent => row !== null)
