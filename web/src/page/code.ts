/** What the page asks of a code base: its map, its picture, a name's places, what a name may become. */

import { call, Refusal } from './api'

export interface MapRow {
  path: string
  line: number
  name: string
  kind: string
  /** 1 for the best file. */
  score: number
  why: string[]
  /** Files that mention the name. */
  used: number
  /** By the session. */
  seen: boolean
}
export interface CodeMap {
  rows: MapRow[]
  files: number
  symbols: number
  tokens: number
  epoch: number
  partial: boolean
}
export interface PictureFile {
  path: string
  score: number
  words: number
  language: string
  role: string
  seen: boolean
}
export interface Picture {
  files: PictureFile[]
  others: number
  epoch: number
}
export interface Definition {
  path: string
  start: number
  end: number
  symbol: string | null
  text: string
}
export interface Use {
  path: string
  line: number
  text: string
  symbol: string | null
}
export interface SymbolPlaces {
  name: string
  definitions: Definition[]
  uses: Use[]
  files: number
  truncated: boolean
}
export interface Completion {
  kind: 'file' | 'folder' | 'symbol'
  path: string
  name: string
  line: number
  symbol_kind: string
}
export interface Share {
  name: string
  files: number
}
export interface IndexState {
  phase: string
  done: number
  of: number
  files: number
  sentence: string
  notes: string[]
}
export interface Welcome {
  root: string
  name: string
  files: number
  symbols: number
  languages: Share[]
  folders: Share[]
  questions: string[]
  epoch: number
  index: IndexState | null
}
export interface Hit {
  seq: number
  kind: string
  at: number
  /** Those at odd places are what was looked for. */
  pieces: string[]
}
export interface FoundSessions {
  sessions: { session_id: string; hits: Hit[]; more: boolean }[]
  searched: number
  of: number
}

type Asked = Record<string, string | number | readonly string[] | null>

function address(path: string, asked: Asked): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(asked)) {
    if (Array.isArray(value)) for (const each of value) query.append(name, each)
    else if (value !== null && value !== '') query.set(name, String(value))
  }
  return `${path}?${query}`
}

export const welcome = (root: string | null): Promise<Welcome> => call('GET', address('/api/code', { root }))
export const symbol = (root: string | null, name: string): Promise<SymbolPlaces> => call('GET', address('/api/code/symbol', { root, name }))
export const names = (root: string | null, q: string, limit = 8): Promise<{ items: Completion[]; partial: boolean }> =>
  call('GET', address('/api/code/names', { root, q, limit }))
export const find = (q: string, limit = 20): Promise<FoundSessions> => call('GET', address('/api/sessions/search', { q, limit }))

/** Answers that are fetched again only when the code has changed since: the server knows by their mark. */
export class Fresh<T> {
  private mark: string | null = null
  private of: string | null = null

  /** The answer; null when it is as it was. */
  async get(path: string, asked: Asked): Promise<T | null> {
    const wanted = address(path, asked)
    const same = wanted === this.of && this.mark !== null
    const answer = await fetch(wanted, {
      credentials: 'same-origin',
      cache: 'no-store',
      ...(same ? { headers: { 'if-none-match': this.mark! } } : {}),
    })
    if (answer.status === 304) return null
    if (!answer.ok) {
      const problem = (await answer.json().catch(() => ({}))) as { code?: string; detail?: string; retryable?: boolean }
      const message = problem.detail ?? `The server answered ${answer.status}.`
      throw new Refusal(answer.status, { code: problem.code ?? 'internal', message, retryable: problem.retryable ?? true, details: {} })
    }
    this.mark = answer.headers.get('etag')
    this.of = wanted
    return (await answer.json()) as T
  }
}
