import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { emptyView, fold, type FileDiff, type Json, type JsonObject, type LogEvent } from '../../src/client'
import { newsOf } from '../../src/page/bell'
import { answerOf, fieldsOf, type Filled } from '../../src/page/form'
import { feedbackText, sizeOf, where } from '../../src/page/review'

const hunk = (id: string, unified: string) => ({ id, unified })
const FILES: FileDiff[] = [
  { path: 'a.py', op: 'edit', hunks: [hunk('1', '@@ -1,3 +1,4 @@\n a\n-b\n+c\n+d\n e\n'), hunk('2', '@@ -9 +10 @@\n-x\n+y\n')] },
  { path: 'b.bin', op: 'create', hunks: [hunk('3', 'binary file, 12 bytes')] },
]

describe('what is said of a change', () => {
  test('names the place of each comment', () => {
    const comments = new Map([
      ['2', ' keep it '],
      ['1', 'no'],
      ['3', 'why?'],
      ['4', 'of no part'],
    ])
    expect(feedbackText(FILES, comments, 'In general.\n')).toBe('In general.\n\na.py, lines 1–4: no\n\na.py, line 10: keep it\n\nb.bin: why?')
  })
  test('a text alone is sent as it is, blanks are nothing', () => {
    expect(feedbackText(FILES, new Map(), ' as it is ')).toBe('as it is')
    expect(feedbackText(FILES, new Map([['1', ' ']]), '')).toBe('')
  })
  test('lines are counted, marks of the format are not', () => {
    expect(sizeOf(FILES[0]!.hunks)).toEqual({ added: 3, removed: 2 })
    expect(sizeOf(FILES[1]!.hunks)).toEqual({ added: 0, removed: 0 })
    expect(where(hunk('', '@@ -1,2 +0,0 @@\n-a\n-b\n'))).toBe('line 1')
  })
})

const SCHEMA: JsonObject = {
  type: 'object',
  required: ['name', 'level', 'tags'],
  properties: {
    name: { type: 'string', title: 'Name', description: 'Of the thing' },
    level: { enum: ['low', 'high', 3] },
    times: { type: 'integer', default: 2 },
    share: { type: 'number' },
    dry_run: { type: 'boolean' },
    tags: { type: 'array', items: { enum: ['a', 'b'] } },
    more: { type: 'object' },
    longText: { type: 'string', maxLength: 2000 },
  },
}

describe('forms', () => {
  const fields = fieldsOf(SCHEMA)!
  test('have a field for each property', () => {
    expect(fields.map(({ label, kind, required }) => `${label} ${kind} ${required}`)).toEqual([
      'Name text true',
      'Level choice true',
      'Times number false',
      'Share number false',
      'Dry run check false',
      'Tags choices true',
      'More json false',
      'Long Text long false',
    ])
  })
  test.each<JsonObject | null>([null, { type: 'string' }, { enum: ['a'] }, { type: 'object' }, { type: 'array', properties: {} }])('%j has none', (schema) =>
    expect(fieldsOf(schema)).toBeNull(),
  )
  test('give an answer of the shape that was asked for', () => {
    expect(answerOf(fields, { name: 'x', level: '2', tags: [1], dry_run: true, more: '{"a":1}' })).toEqual({
      answer: { name: 'x', level: 3, times: 2, dry_run: true, tags: ['b'], more: { a: 1 } },
    })
  })
  test.each<[string, Record<string, Filled>, string]>([
    ['what is needed', { level: '0', tags: [0] }, 'name'],
    ['a number', { name: 'x', level: '0', tags: [], share: 'much' }, 'share'],
    ['a whole number', { name: 'x', level: '0', tags: [], times: '1.5' }, 'times'],
    ['JSON', { name: 'x', level: '0', tags: [], more: '{' }, 'more'],
  ])('refuse what is not %s', (_, filled, name) => {
    const made = answerOf(fields, filled)
    expect('wrong' in made ? Object.keys(made.wrong) : []).toEqual([name])
  })
  test('whatever a schema says, there is a form or none, and an answer or what is wrong', () => {
    const property = fc.dictionary(fc.constantFrom('type', 'enum', 'items', 'default', 'title', 'maxLength'), fc.jsonValue())
    fc.assert(
      fc.property(fc.dictionary(fc.string(), property), fc.jsonValue(), (properties, required) => {
        const made = fieldsOf({ type: 'object', properties: properties as unknown as Json, required: required as Json })!
        expect(Object.keys(answerOf(made, {}))).toHaveLength(1)
      }),
    )
  })
})

describe('what somebody who looks elsewhere is told', () => {
  const events = (list: [string, object, string?][], from = 1): LogEvent[] =>
    list.map(([type, content, run = 'r1'], n) => ({ type, content, seq: from + n, run_id: run, item_id: null, parent_id: null, at: n }) as unknown as LogEvent)
  const running = fold(emptyView, events([['run', { status: 'running', attempt: 1 }]]))
  const then = (...list: [string, object, string?][]) => newsOf(running, fold(running, events(list, 2)))
  test('that a question waits, before anything else', () => {
    expect(then(['question', { id: 'q', text: 'Which?\nMore.' }])).toEqual({ kind: 'question', text: 'needs your answer. Which?', key: 'q' })
    expect(then(['diff', { id: 'd', files: [] }])?.kind).toBe('diff')
  })
  test('that a run is done, and how', () => {
    expect(then(['completed', { outcome: 'success', text: '' }])).toEqual({ kind: 'done', text: 'Done', key: null })
    expect(then(['completed', { outcome: 'failed', text: '', reason: 'model_unavailable' }])?.text).toBe('Failed (model unavailable)')
  })
  test('nothing of what was so before, and nothing of a text that grows', () => {
    const asked = fold(running, events([['question', { id: 'q', text: 'Which?' }]], 2))
    expect(newsOf(asked, asked)).toBeNull()
    expect(then(['text', { attempt: 1, text: 'a' }])).toBeNull()
    const done = fold(running, events([['completed', { outcome: 'success', text: '' }]], 2))
    expect(newsOf(done, fold(done, events([['action', { name: 'pin', args: {} }]], 3)))).toBeNull()
  })
})
