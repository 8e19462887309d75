/**
 * The frames of the WebSocket and the durable events, as types. The same models in Python are `protocol/frames.py` and
 * `protocol/events.py`; `test/client/conformance.test.ts` reads the cases both must agree on.
 */

export const PROTO = 1

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
export type JsonObject = { [key: string]: Json }

/** A line range of a file; lines from 1, inclusive. */
export interface Place {
  path: string
  start?: number
  end?: number
  symbol?: string | null
  [key: string]: Json | undefined
}

export type StepStatus = 'pending' | 'active' | 'done' | 'skipped'
export interface Hunk {
  id: string
  unified: string
}
export interface FileDiff {
  path: string
  op: 'edit' | 'create' | 'delete' | 'rename'
  old_path?: string | null
  mode?: number | null
  base_hash?: string | null
  new_hash?: string | null
  hunks: Hunk[]
  /** Why it is to be looked at by itself: it can change what runs on the machine. */
  risk?: string | null
}
export interface Ask {
  id: string
  text: string
  schema?: JsonObject | null
  /** Seconds since the epoch, for showing. */
  expires_at?: number | null
}
export interface Usage {
  input_tokens: number
  output_tokens: number
  cache_read_tokens: number
  requests: number
  tool_calls: number
  /** US dollars; null when unknown. */
  cost: number | null
  context_used: number | null
  context_limit: number | null
  estimated: boolean
  /** Of the latest answer. */
  model?: string | null
  /** What the latest request used. */
  step?: { input_tokens: number; output_tokens: number; cost: number | null } | null
}
export interface Failure {
  code: string
  message: string
  retryable: boolean
  details: JsonObject
}

/** The content of each durable event type. */
export interface Contents {
  prompt: { id: string; text: string; delivery: 'queue' | 'steer'; by?: string | null; config?: JsonObject | null }
  run: {
    status: 'queued' | 'running' | 'waiting' | 'recovering'
    attempt: number
    reason?: string | null
    budget?: JsonObject | null
    prompts?: string[] | null
    position?: number | null
  }
  repo_map: { files: number; symbols: number; tokens: number; fingerprint: string; built_ms: number; reused: boolean; partial?: boolean }
  plan: { title?: string | null; steps: { title: string; status: StepStatus }[] }
  text: { attempt: number; text: string }
  reasoning: { attempt: number; text: string }
  message: { text: string; kind?: 'text' | 'reasoning'; interrupted?: boolean }
  item_aborted: { attempt: number }
  tool_call: { id: string; name: string; args: Json }
  tool_result: {
    id: string
    summary: string
    ok?: boolean
    truncated?: boolean
    cache?: 'cached' | 'refreshed' | 'fresh' | null
    ms?: number | null
    places?: Place[] | null
  }
  output: { id: string; offset: number; text: string }
  diff: { id: string; files: FileDiff[]; risky?: boolean }
  question: Ask
  confirmation: Ask
  answered: { id: string; answer: Json; by?: string | null }
  decided: { id: string; verdict: 'accept' | 'reject' | 'feedback' | 'stale'; hunks?: string[] | null; feedback?: string | null; by?: string | null }
  applied: {
    diff_id: string
    files: { path: string; base_hash?: string | null; new_hash?: string | null }[]
    conflicts?: { path: string; on_disk?: string | null; note?: string | null }[]
    undo?: boolean
  }
  action: { name: string; args: JsonObject; by?: string | null }
  usage: Partial<Usage>
  error: Failure
  completed: { outcome: 'success' | 'cancelled' | 'failed'; text: string; reason?: string | null }
}
export type EventType = keyof Contents

/** One durable event. `at`: seconds since the epoch, for showing. */
export type LogEvent = {
  [T in EventType]: {
    type: T
    seq: number
    run_id: string | null
    item_id: string | null
    parent_id: string | null
    at: number
    content: Contents[T]
  }
}[EventType]

export type RunState = 'idle' | 'running' | 'waiting' | 'recovering'
export type Mode = 'fresh' | 'resume' | 'snapshot' | 'plain'

/** How to pace reconnection, in milliseconds. */
export interface Retry {
  base_ms: number
  cap_ms: number
  spread_ms: number
}
export interface SessionContent {
  session_id: string
  mode: Mode
  reason: string | null
  head: number
  state: RunState
  run_id: string | null
  root: string | null
  hb_ms: number
  retry: Retry
  server: { boot: string; version: string }
}
export interface SnapshotContent {
  cursor: string
  events: LogEvent[]
  synced?: boolean | null
}
export interface BatchContent {
  after: string
  upto: string
  events: LogEvent[]
  synced?: boolean | null
}
export interface AckContent {
  status: 'accepted' | 'duplicate' | 'noop'
  seq?: number | null
  run_id?: string | null
}

export type ServerFrame =
  | { type: 'session'; content: SessionContent }
  | { type: 'ack'; reply_to: string | null; content: AckContent }
  | { type: 'nack'; reply_to: string | null; content: Failure }
  | { type: 'snapshot'; content: SnapshotContent }
  | { type: 'batch'; content: BatchContent }
  | { type: 'hb'; content: { head: number; retry?: Retry } }
  | { type: 'pong'; content: { t: number } }
  | { type: 'goodbye'; content: { reason: string; retry_ms: number } }
  | { type: 'notice'; content: { code: string; message: string; details?: JsonObject } }

export interface ClientInfo {
  id: string
  name: string
}
export interface Config {
  session_id?: string | null
  cursor?: string | null
  root_directory?: string | null
  model?: string
  review?: boolean
  max_iterations?: number
  recovery?: 'auto' | 'ask' | 'never'
}
/** What only a connection's first frame may carry. */
export interface First {
  proto?: typeof PROTO
  client?: ClientInfo
  config?: Config
}

/** A frame that is kept until the server has answered for it. */
export type Command =
  | ({ type: 'default'; id: string; content: string; delivery?: 'queue' | 'steer' } & First)
  | { type: 'answer'; id: string; reply_to: string; content: string | boolean | JsonObject }
  | {
      type: 'decision'
      id: string
      reply_to: string
      content: { verdict: 'accept' | 'reject' | 'feedback'; hunks?: string[] | null; feedback?: string | null }
    }
  | { type: 'cancel'; id: string; content: { run_id: string | null } }
  | { type: 'action'; id: string; content: { name: string; args: JsonObject } }

export type ClientFrame = Command | ({ type: 'hello'; id?: string; content?: null } & First) | { type: 'ping'; content: { t: number } }
