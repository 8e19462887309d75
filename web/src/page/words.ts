/** The page's sentences that depend on something, apart from where they are shown. Pure. */

import type { LinkState, Resumed, RunView, SessionContent, ToolItem, Usage } from '../client'

export const count = (n: number, one: string, many = `${one}s`): string => `${n.toLocaleString('en')} ${n === 1 ? one : many}`

/** What a session is called: a title is mostly its first prompt, in which names of the code have marks. */
export const titleOf = (title: string | null | undefined): string => title?.replaceAll('`', '').trim() || 'New session'

export interface LinkWords {
  text: string
  /** Beside it: what there is to do. */
  action: 'try now' | null
  tone: 'good' | 'busy' | 'bad'
  /** More, for whoever wants to know. */
  title: string
  /** For a screen reader: without the seconds, which change all the time. */
  spoken: string
}

const RESUMED_SHOWN_MS = 8_000

/** What the header says of the connection. `waiting`: messages that were not acknowledged. */
export function linkWords(link: LinkState, resumed: Resumed | null, waiting: number, now: number): LinkWords {
  const held = waiting > 0 ? ` · ${count(waiting, 'message')} waiting` : ''
  const words = (text: string, tone: LinkWords['tone'], more: Partial<LinkWords> = {}): LinkWords => ({
    text: text + (tone === 'good' ? '' : held),
    action: null,
    tone,
    title: '',
    spoken: text,
    ...more,
  })
  switch (link.phase) {
    case 'idle':
      return words('Paused', 'busy')
    case 'connecting':
      return words(link.again ? 'Reconnecting…' : 'Connecting…', 'busy')
    case 'waiting': {
      if (link.offline) return words('Offline', 'bad', { action: 'try now', title: 'This machine has no network. What you send is kept and sent later.' })
      const seconds = Math.max(0, Math.ceil((link.at - now) / 1000))
      return words(seconds > 0 ? `Reconnecting in ${seconds} s` : 'Reconnecting…', 'bad', {
        action: 'try now',
        title: 'The connection is lost. The run goes on at the server; what you send is kept and sent later.',
        spoken: 'Connection lost, reconnecting',
      })
    }
    case 'stopped':
      return words(link.reason === 'sign-in' ? 'Signed out' : 'Disconnected', 'bad', {
        title: link.message,
      })
    case 'live':
      if (resumed && now - resumed.at < RESUMED_SHOWN_MS) return words(resumedWords(resumed), 'good', { title: 'Live' })
      return words('Live', 'good', { title: 'Connected. What the run says appears at once.' })
  }
}

function resumedWords({ mode, reason, missed }: Resumed): string {
  if (mode === 'resume') return missed === 0 ? 'Resumed · nothing missed' : `Resumed · ${count(missed, 'missed event')}, nothing lost`
  if (mode === 'fresh') return 'Live · a new session'
  if (reason === 'rollback' || reason === 'diverged' || reason === 'epoch') return 'Resumed · shown as the server has it now'
  return 'Resumed · all caught up, nothing lost'
}

/** Why a session is not the one that was asked for. */
export function freshReason(session: SessionContent): string | null {
  if (session.mode !== 'fresh' || session.reason === null) return null
  if (session.reason === 'expired') return 'The session you were in has expired or was deleted. This is a new one.'
  if (session.reason === 'root') return 'The session you were in belongs to another code base. This is a new one.'
  return 'The server does not know the session you were in. This is a new one.'
}

/** `0.4 s`, `12 s`, `3 min 5 s`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  const seconds = ms / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.round(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  const rest = Math.round(seconds - minutes * 60)
  if (minutes < 60) return rest ? `${minutes} min ${rest} s` : `${minutes} min`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** `12`, `3.4k`, `1.2M`. */
export function short(n: number): string {
  if (n < 1000) return String(n)
  if (n < 10_000) return `${(n / 1000).toFixed(1)}k`
  if (n < 1_000_000) return `${Math.round(n / 1000)}k`
  return `${(n / 1_000_000).toFixed(1)}M`
}

export const cost = (dollars: number): string => (dollars < 0.01 ? '< $0.01' : `$${dollars.toFixed(2)}`)

/** `now`, `5 min`, `3 h`, `Tue`, `12 Mar`, for a moment in seconds since the epoch. */
export function ago(at: number, now: number): string {
  const seconds = now / 1000 - at
  if (seconds < 60) return 'now'
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`
  const day = new Date(at * 1000)
  if (seconds < 6 * 86_400) return day.toLocaleDateString('en', { weekday: 'short' })
  return day.toLocaleDateString('en', { day: 'numeric', month: 'short' })
}

const VERBS: Record<string, [doing: string, done: string]> = {
  search: ['Searching', 'Searched'],
  read_file: ['Reading', 'Read'],
  repo_map: ['Mapping', 'Mapped'],
  symbol: ['Looking up', 'Looked up'],
  ask_user: ['Asking', 'Asked'],
  run_command: ['Running', 'Ran'],
  create_plan: ['Planning', 'Planned'],
  update_code: ['Changing', 'Changed'],
  explore: ['Exploring', 'Explored'],
}

export const verb = (tool: ToolItem): string => VERBS[tool.name]?.[tool.result ? 1 : 0] ?? tool.name

/** What a call is about, while there is no summary: its most telling argument. */
export function subject(args: unknown): string {
  if (typeof args === 'string') return args
  if (typeof args !== 'object' || args === null || Array.isArray(args)) return ''
  const known = args as Record<string, unknown>
  if (Array.isArray(known['command'])) return known['command'].join(' ')
  for (const name of ['query', 'path', 'name', 'title', 'task', 'question', 'text']) if (typeof known[name] === 'string') return known[name]
  return ''
}

/** What the header says of the run; null when nothing runs. */
export function runWords(run: RunView | null, waiting: number): string | null {
  if (!run) return null
  if (run.status === 'recovering') return (isSentence(run.reason) ? 'Trying again' : `Recovering · attempt ${run.attempt}`) + budgetWords(run)
  if (run.status === 'waiting' || waiting > 0) return 'Waiting for you'
  return run.reason === 'restart' ? `Running · attempt ${run.attempt}` : 'Running'
}

/** What is left of the budget of attempts, where the server tells. */
function budgetWords({ budget }: RunView): string {
  const left = budget?.['attempts_left']
  return typeof left === 'number' ? ` · ${left} left` : ''
}

/** A reason is a word, or (why a provider is asked again, and when) a sentence. */
const isSentence = (reason: string | null): reason is string => reason?.includes(' ') ?? false

/** What the run is doing now, where its answer grows. */
export function doingWords(run: RunView, stopping: boolean): string {
  if (stopping) return 'Stopping…'
  if (run.status === 'waiting') return 'Waiting for your answer'
  if (run.status === 'recovering') return isSentence(run.reason) ? run.reason : `Going on after a restart · attempt ${run.attempt}`
  return run.reason === 'restart' ? 'Working, after a restart' : 'Working'
}

/** One line under a finished run. */
export function outcomeWords(run: RunView, ms: number | null): string {
  const parts = [{ success: 'Done', cancelled: 'Stopped', failed: 'Failed' }[run.outcome ?? 'success']]
  if (run.ended && run.ended !== 'stopped' && run.outcome !== 'success') parts[0] += ` (${run.ended.replaceAll('_', ' ')})`
  if (ms !== null && ms >= 1) parts.push(duration(ms))
  if (run.reason === 'restart') parts.push('went on after a restart')
  const { usage } = run
  if (usage?.tool_calls) parts.push(count(usage.tool_calls, 'tool call'))
  const tokens = (usage?.input_tokens ?? 0) + (usage?.output_tokens ?? 0)
  if (tokens) parts.push(`${usage?.estimated ? '≈ ' : ''}${short(tokens)} tokens`)
  if (usage?.cost != null) parts.push(cost(usage.cost))
  return parts.join(' · ')
}

/** The meter's few words, and all of it for its title. */
export function usageWords(usage: Usage): { text: string; title: string } | null {
  const tokens = usage.input_tokens + usage.output_tokens
  if (!tokens) return null
  const about = usage.estimated ? '≈ ' : ''
  const text = [`${about}${short(tokens)} tokens`, ...(usage.cost === null ? [] : [cost(usage.cost)])].join(' · ')
  const lines = [
    `${usage.input_tokens.toLocaleString('en')} tokens in${usage.cache_read_tokens ? ` (${usage.cache_read_tokens.toLocaleString('en')} cached)` : ''}, ${usage.output_tokens.toLocaleString('en')} out`,
    `${count(usage.requests, 'model request')}, ${count(usage.tool_calls, 'tool call')}`,
    ...(usage.step ? [`latest step: ${usage.step.input_tokens.toLocaleString('en')} in, ${usage.step.output_tokens.toLocaleString('en')} out${usage.step.cost == null ? '' : `, ${cost(usage.step.cost)}`}`] : []),
    ...(usage.model ? [`answered by ${usage.model}`] : []),
    ...(usage.estimated ? ['Estimated: the model does not count.'] : []),
  ]
  return { text, title: lines.join('\n') }
}

const CONTEXT_HIGH = 0.85

/** How full the model's context is; null while it is not known. */
export function contextWords({ context_used, context_limit }: Usage): { share: number; high: boolean; text: string; title: string } | null {
  if (context_used === null || !context_limit) return null
  const share = Math.min(1, context_used / context_limit)
  const percent = Math.round(share * 100)
  const high = share >= CONTEXT_HIGH
  const title = `${percent} % of the context used: ${context_used.toLocaleString('en')} of ${context_limit.toLocaleString('en')} tokens.${high ? ' What is older is soon told in short; a new session begins with none of it.' : ''}`
  return { share, high, text: `context ${percent} %`, title }
}

/** A block of an answer for whoever listens: without the marks of its markdown. Names keep their underscores. */
export const spokenWords = (source: string): string =>
  source
    .replace(/^[|:\s-]+$/gm, '')
    .replace(/[`*#>|]+|(?<!\w)_+|_+(?!\w)/g, ' ')
    .replace(/ {2,}/g, ' ')
    .trim()
