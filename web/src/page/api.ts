/** The few things the page asks over HTTP. What belongs to a session's log comes over its WebSocket. */

import type { Command, Failure, RunState } from '../client'

export interface Root {
  root: string
  name: string
}
export interface Me {
  name: string
  /** `viewer`: somebody with links to sessions, and nothing else here. */
  role: 'owner' | 'user' | 'viewer'
  /** Sessions of others that links show. */
  views: string[]
  version: string
  roots: Root[]
  model: string
}
export interface SessionInfo {
  session_id: string
  title: string
  root: string
  status: RunState
  run_id: string | null
  pinned: boolean
  archived: boolean
  head: number
  created_at: number
  active_at: number
  pending: number
  /** How long it is kept, and why. */
  stay: { reason: string; left: number | null; sentence: string }
}

/** The server's refusal, as a sentence. */
export class Refusal extends Error {
  readonly status: number
  readonly failure: Failure

  constructor(status: number, failure: Failure) {
    super(failure.message)
    this.status = status
    this.failure = failure
  }
}

export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await fetch(path, {
    method,
    credentials: 'same-origin',
    cache: 'no-store',
    ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })
  if (answer.ok) return (answer.status === 204 ? null : await answer.json()) as T
  const problem = (await answer.json().catch(() => ({}))) as Partial<Failure> & { detail?: string; title?: string }
  throw new Refusal(answer.status, {
    code: problem.code ?? 'internal',
    message: problem.detail ?? problem.title ?? `The server answered ${answer.status}.`,
    retryable: problem.retryable ?? answer.status >= 500,
    details: problem.details ?? {},
  })
}

const at = (session: string): string => `/api/sessions/${encodeURIComponent(session)}`

export const me = (): Promise<Me> => call<Me>('GET', '/api/me')
export const sessions = async (): Promise<SessionInfo[]> => (await call<{ sessions: SessionInfo[] }>('GET', '/api/sessions')).sessions
export const change = (session: string, what: { title?: string; pinned?: boolean; archived?: boolean }): Promise<SessionInfo> =>
  call('PATCH', at(session), what)
/** A content as a session has it; `text` is null for what is none. */
export interface Blob {
  hash: string
  size: number
  text: string | null
  truncated: boolean
}
export interface CurrentFile extends Omit<Blob, 'hash'> {
  path: string
  /** null: there is no such file now. */
  hash: string | null
}
export const blob = (session: string, hash: string): Promise<Blob> => call('GET', `${at(session)}/blobs/${encodeURIComponent(hash)}`)
export const file = (session: string, path: string): Promise<CurrentFile> => call('GET', `${at(session)}/file?path=${encodeURIComponent(path)}`)

export interface ModelState {
  model: string
  /** The model that takes over when the other one fails. */
  fallback: string | null
  /** US dollars. */
  daily_cap: number | null
  spent_today: number
  providers: { provider: string; key: boolean; base_url: string | null }[]
}
export const model = (): Promise<ModelState> => call('GET', '/api/model')
/** A key goes there and never comes back. */
export const setModel = (what: {
  model?: string | null
  provider?: string
  key?: string
  base_url?: string
  fallback?: string | null
  daily_cap?: number | null
}): Promise<ModelState> => call('PATCH', '/api/model', what)
/** A command for a session that this page is not connected to. */
export const deliver = (session: string, frame: Command): Promise<unknown> => call('POST', `${at(session)}/messages`, frame)
