import { describe, expect, test } from 'vitest'
import type { LinkState, Resumed, RunView, SessionContent, ToolItem } from '../../src/client'
import { ago, cost, doingWords, duration, freshReason, linkWords, outcomeWords, runWords, short, spokenWords, subject, titleOf, usageWords, verb } from '../../src/page/words'

const NOW = 1_700_000_000_000
const said = (link: LinkState, resumed: Resumed | null = null, waiting = 0): string => linkWords(link, resumed, waiting, NOW).text
const live: LinkState = { phase: 'live', since: NOW }
const away = (ms: number, offline = false): LinkState => ({ phase: 'waiting', at: NOW + ms, offline, attempt: 1 })
const back = (change: Partial<Resumed>): Resumed => ({ mode: 'resume', reason: null, missed: 0, at: NOW, ...change })

test('a session is called by its title, without the marks of code', () => {
  expect([titleOf('What is `CharField` for?'), titleOf('``'), titleOf(''), titleOf(null)]).toEqual(['What is CharField for?', 'New session', 'New session', 'New session'])
})

describe('the state of the link', () => {
  test.each<[string, string]>([
    [said(live), 'Live'],
    [said(live, null, 3), 'Live'],
    [said({ phase: 'connecting', again: false }), 'Connecting…'],
    [said({ phase: 'connecting', again: true }), 'Reconnecting…'],
    [said(away(1500)), 'Reconnecting in 2 s'],
    [said(away(0)), 'Reconnecting…'],
    [said(away(1500), null, 1), 'Reconnecting in 2 s · 1 message waiting'],
    [said(away(1500, true), null, 1), 'Offline · 1 message waiting'],
    [said(away(1500, true), null, 2), 'Offline · 2 messages waiting'],
    [said(live, back({ missed: 20 })), 'Resumed · 20 missed events, nothing lost'],
    [said(live, back({ missed: 1 })), 'Resumed · 1 missed event, nothing lost'],
    [said(live, back({ missed: 0 })), 'Resumed · nothing missed'],
    [said(live, back({ mode: 'snapshot', reason: 'lag' })), 'Resumed · all caught up, nothing lost'],
    [said(live, back({ mode: 'snapshot', reason: 'rollback' })), 'Resumed · shown as the server has it now'],
    [said(live, back({ missed: 20, at: NOW - 60_000 })), 'Live'],
    [said({ phase: 'stopped', reason: 'sign-in', code: 4401, message: '' }), 'Signed out'],
    [said({ phase: 'stopped', reason: 'limit', code: 4429, message: '' }), 'Disconnected'],
  ])('%s', (text, expected) => expect(text).toBe(expected))

  test('nothing lost is never said of a log that the server rolled back', () => {
    for (const reason of ['epoch', 'rollback', 'diverged']) expect(said(live, back({ mode: 'snapshot', reason }))).not.toContain('nothing lost')
  })

  test('what is spoken does not count seconds', () => {
    expect(linkWords(away(1500), null, 0, NOW).spoken).toBe(linkWords(away(9500), null, 0, NOW).spoken)
  })
})

test('why a session is not the one that was asked for', () => {
  const session = { mode: 'fresh', reason: null } as SessionContent
  expect(freshReason(session)).toBeNull()
  expect(freshReason({ ...session, reason: 'expired' })).toContain('expired')
  expect(freshReason({ ...session, reason: 'unknown' })).toContain('does not know')
  expect(freshReason({ ...session, reason: 'root' })).toContain('another code base')
  expect(freshReason({ ...session, mode: 'snapshot', reason: 'lag' })).toBeNull()
})

test.each([
  [0, '0 ms'],
  [420, '420 ms'],
  [1234, '1.2 s'],
  [59_400, '59 s'],
  [60_000, '1 min'],
  [185_000, '3 min 5 s'],
  [7_260_000, '2 h 1 min'],
])('%i ms is %s', (ms, text) => expect(duration(ms)).toBe(text))

test.each([
  [999, '999'],
  [1234, '1.2k'],
  [45_600, '46k'],
  [1_234_567, '1.2M'],
])('%i is %s', (n, text) => expect(short(n)).toBe(text))

test('times of the list', () => {
  const now = NOW / 1000
  expect([now - 5, now - 600, now - 7300].map((at) => ago(at, NOW))).toEqual(['now', '10 min', '2 h'])
  expect(cost(0.001)).toBe('< $0.01')
})

const run: RunView = { status: 'running', attempt: 1, reason: null, budget: null, position: null, outcome: null, text: '', ended: null, plan: null, usage: null, ended_at: null }

test('the state of the run', () => {
  expect(runWords(null, 0)).toBeNull()
  expect(runWords(run, 0)).toBe('Running')
  expect(runWords({ ...run, attempt: 2 }, 0)).toBe('Running')
  expect(runWords({ ...run, attempt: 2, reason: 'restart' }, 0)).toBe('Running · attempt 2')
  expect(runWords({ ...run, status: 'waiting' }, 1)).toBe('Waiting for you')
  expect(runWords({ ...run, status: 'recovering', attempt: 3 }, 0)).toBe('Recovering · attempt 3')
})

test('what the run is doing', () => {
  expect(doingWords(run, false)).toBe('Working')
  expect(doingWords(run, true)).toBe('Stopping…')
  expect(doingWords({ ...run, reason: 'restart', attempt: 2 }, false)).toBe('Working, after a restart')
  expect(doingWords({ ...run, status: 'recovering', reason: 'restart', attempt: 2 }, false)).toBe('Going on after a restart · attempt 2')
  const reason = 'The provider asks to wait. Asking again in 4 s (1 of 3).'
  expect(doingWords({ ...run, status: 'recovering', reason }, false)).toBe(reason)
  expect(runWords({ ...run, status: 'recovering', reason }, 0)).toBe('Trying again')
})

test('how a run ended', () => {
  const usage = { tool_calls: 4, input_tokens: 18_000, output_tokens: 900, cost: 0.04 }
  expect(outcomeWords({ ...run, outcome: 'success', usage }, 12_400)).toBe('Done · 12 s · 4 tool calls · 19k tokens · $0.04')
  expect(outcomeWords({ ...run, outcome: 'cancelled', ended: 'question_expired' }, null)).toBe('Stopped (question expired)')
  expect(outcomeWords({ ...run, outcome: 'cancelled', ended: 'stopped' }, null)).toBe('Stopped')
  expect(outcomeWords({ ...run, outcome: 'success' }, 0)).toBe('Done') // what took no time at all is not said to have taken 0 ms
  expect(outcomeWords({ ...run, outcome: 'success', reason: 'restart' }, 1200)).toBe('Done · 1.2 s · went on after a restart')
})

test('a tool call in words', () => {
  const tool = { name: 'search', result: null } as ToolItem
  expect(verb(tool)).toBe('Searching')
  expect(verb({ ...tool, result: { id: 'c', summary: '' } })).toBe('Searched')
  expect(verb({ ...tool, name: 'other' })).toBe('other')
  expect(subject({ query: 'x', limit: 3 })).toBe('x')
  expect(subject([1])).toBe('')
})

test('the meter says what is a guess', () => {
  const usage = { input_tokens: 100, output_tokens: 20, cache_read_tokens: 0, requests: 1, tool_calls: 0, cost: null, context_used: null, context_limit: null, estimated: true }
  expect(usageWords(usage)?.text).toBe('≈ 120 tokens')
  expect(usageWords({ ...usage, input_tokens: 0, output_tokens: 0 })).toBeNull()
})

test.each([
  ['**Swept** by `Hub.sweep`', 'Swept by Hub.sweep'],
  ['it compares `last_active` _now_', 'it compares last_active now'],
  ['| what | where |\n|---|:-:|\n| hub | `a_b.py` |', 'what where \n\n hub a_b.py'],
  ['## Parts', 'Parts'],
  ['---', ''],
])('%s is said without its marks', (source, said) => expect(spokenWords(source)).toBe(said))
