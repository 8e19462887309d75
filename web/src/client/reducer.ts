/**
 * What a session looks like: the fold of its events. Pure: the same events give the same view, live, replayed or from a snapshot.
 *
 * The rules are written out in `docs/explanation/reducer.md`; the reference is `src/reconvene/protocol/view.py`. What this
 * fold keeps beyond the reference (`seq`, `pinned`, … and the times) is left out by `toJson`, which is what the two are compared by.
 *
 * Nothing here checks order or repetition: `apply.ts` lets each event in once, in order.
 */

import type { Contents, EventType, Failure, FileDiff, Json, JsonObject, LogEvent, Place, RunState, StepStatus, Usage } from './frames.ts'

interface Shown {
  /** Unique in the session and stable. */
  readonly key: string
  /** Of the event that made the item. */
  readonly seq: number
  /** Seconds since the epoch. */
  readonly at: number
  readonly run_id: string | null
  /** Of the item that this one is nested in: a sub-agent's. */
  readonly parent_id: string | null
}
export interface PromptItem extends Shown {
  readonly type: 'prompt'
  readonly id: string
  readonly text: string
  readonly by: string | null
  readonly delivery: 'queue' | 'steer'
  /** Taken out of the queue before it ran. */
  readonly removed: boolean
}
/** A text that grows until it is `final`. `attempt`: the life of its run that writes it; null once that no longer matters. */
export interface TextItem extends Shown {
  readonly type: 'text'
  readonly kind: 'text' | 'reasoning'
  readonly text: string
  readonly attempt: number | null
  readonly final: boolean
  readonly interrupted: boolean
}
export interface ToolItem extends Shown {
  readonly type: 'tool'
  readonly id: string
  readonly name: string
  readonly args: Json
  readonly result: Contents['tool_result'] | null
  /** What a command has written so far. */
  readonly output?: string
  /** When the result was there; seconds since the epoch. */
  readonly ended_at: number | null
}
export interface AskItem extends Shown {
  readonly type: 'question' | 'confirmation'
  readonly id: string
  readonly text: string
  readonly schema: JsonObject | null
  readonly expires_at: number | null
  readonly settled: Contents['answered'] | null
}
export interface DiffItem extends Shown {
  readonly type: 'diff'
  readonly id: string
  readonly files: readonly FileDiff[]
  readonly risky: boolean
  readonly settled: Contents['decided'] | null
  readonly applied: Contents['applied']['files'] | null
  /** Files that could not be written as they were meant, because somebody changed them. */
  readonly conflicts: NonNullable<Contents['applied']['conflicts']>
  readonly undone: boolean
  /** Files that could not be taken back, because somebody changed them since. */
  readonly clashes: NonNullable<Contents['applied']['conflicts']>
}
export interface MapItem extends Shown {
  readonly type: 'repo_map'
  readonly content: Contents['repo_map']
}
export interface ErrorItem extends Shown {
  readonly type: 'error'
  readonly content: Failure
}
export type Item = PromptItem | TextItem | ToolItem | AskItem | DiffItem | MapItem | ErrorItem

export interface Plan {
  readonly title?: string | null
  readonly steps: readonly { title: string; status: StepStatus }[]
}
export interface RunView {
  readonly status: Contents['run']['status'] | null
  readonly attempt: number
  readonly reason: string | null
  readonly budget: JsonObject | null
  readonly position: number | null
  /** null until the run has ended; `text` and `ended` (the reason) come with it. */
  readonly outcome: Contents['completed']['outcome'] | null
  readonly text: string
  readonly ended: string | null
  readonly plan: Plan | null
  readonly usage: Partial<Usage> | null
  /** When it ended; seconds since the epoch. */
  readonly ended_at: number | null
}

export interface View {
  /** Of the latest event. */
  readonly seq: number
  readonly title: string | null
  readonly pinned: boolean
  readonly archived: boolean
  readonly recovery: string | null
  readonly model: string | null
  /** Whether diffs that are not risky are accepted without asking. */
  readonly edit_mode: 'ask' | 'accept'
  /** What lies between the two numbers was taken back, in the conversation and in the files. */
  readonly rewinds: readonly { readonly upto: number; readonly seq: number }[]
  /** The last plan of the session. */
  readonly plan: (Plan & { readonly run_id: string | null }) | null
  /** In the order in which they are shown. */
  readonly items: readonly Item[]
  /** Of runs that have not begun, by id: which is next. */
  readonly order: readonly string[]
  /** By id, in no order. */
  readonly runs: Readonly<Record<string, RunView>>
}

export const emptyView: View = {
  seq: 0,
  title: null,
  pinned: false,
  archived: false,
  recovery: null,
  model: null,
  edit_mode: 'ask',
  rewinds: [],
  plan: null,
  items: [],
  order: [],
  runs: {},
}

/** The view after these events. What did not change is the same object as before, so a page redraws only what did. */
export function fold(view: View, events: readonly LogEvent[]): View {
  if (events.length === 0) return view
  const draft = new Draft(view)
  for (const event of events) draft.apply(event)
  return draft.done()
}

// -- what is asked of a view

const isPending = (view: View, item: Item): item is AskItem | DiffItem =>
  (item.type === 'question' || item.type === 'confirmation' || item.type === 'diff') &&
  item.settled === null &&
  (view.runs[item.run_id ?? '']?.outcome ?? null) === null

/** What waits for a person, oldest first: not settled, and its run not over. */
export const pending = (view: View): (AskItem | DiffItem)[] => view.items.filter((item) => isPending(view, item)) as (AskItem | DiffItem)[]

/** The run that was begun and has not ended; there is at most one. */
export function activeRun(view: View): [id: string, run: RunView] | null {
  return Object.entries(view.runs).find(([, run]) => run.outcome === null && run.status !== null && run.status !== 'queued') ?? null
}

/** Prompts whose runs have not begun, the next one first. */
export function queued(view: View): PromptItem[] {
  const waiting = view.items.filter((item): item is PromptItem => {
    if (item.type !== 'prompt' || item.removed) return false
    const run = view.runs[item.run_id ?? '']
    return run?.outcome === null && run.status === 'queued'
  })
  const place = (item: PromptItem): number => view.order.indexOf(item.run_id ?? '')
  return waiting.length > 1 ? waiting.sort((a, b) => place(a) - place(b)) : waiting
}

/** Whether an event of this number was taken back. */
export const isRewound = (view: View, seq: number): boolean => view.rewinds.some(({ upto, seq: at }) => upto < seq && seq < at)

/** What a file was when the session read the lines that are cited: the latest place before `seq` that has them, else that has the file. */
export function quotation(view: View, path: string, line: number | null, seq = Infinity): Place | null {
  let other: Place | null = null
  for (const item of view.items.toReversed()) {
    if (item.type !== 'tool' || item.seq > seq) continue
    for (const place of item.result?.places ?? []) {
      if (place.path !== path || typeof place['hash'] !== 'string') continue
      if (line === null || (line >= (place.start ?? 1) && line <= (place.end ?? place.start ?? Infinity))) return place
      other ??= place
    }
  }
  return other
}

export function runState(view: View): RunState {
  const status = activeRun(view)?.[1].status
  if (status && status !== 'queued') return status
  return queued(view).length > 0 ? 'running' : 'idle'
}

/** What the session has used, over all its runs; the context is that of the latest run which told it. */
export function totalUsage(view: View): Usage {
  const total: Usage = {
    input_tokens: 0,
    output_tokens: 0,
    cache_read_tokens: 0,
    requests: 0,
    tool_calls: 0,
    cost: null,
    context_used: null,
    context_limit: null,
    estimated: false,
  }
  for (const { usage } of Object.values(view.runs)) {
    if (!usage) continue
    total.input_tokens += usage.input_tokens ?? 0
    total.output_tokens += usage.output_tokens ?? 0
    total.cache_read_tokens += usage.cache_read_tokens ?? 0
    total.requests += usage.requests ?? 0
    total.tool_calls += usage.tool_calls ?? 0
    if (usage.cost != null) total.cost = (total.cost ?? 0) + usage.cost
    total.context_used = usage.context_used ?? total.context_used
    total.context_limit = usage.context_limit ?? total.context_limit
    total.estimated ||= usage.estimated ?? false
    total.model = usage.model ?? total.model ?? null
    total.step = usage.step ?? total.step ?? null
  }
  return total
}

/** The view as the reference writes it, to be compared with it. */
export function toJson(view: View): Json {
  const items = view.items.map((item) => {
    if (item.type === 'tool') {
      const { ended_at: _, ...rest } = item
      return rest
    }
    if (item.type === 'diff') {
      const { clashes: _, ...rest } = item
      return rest
    }
    return item
  })
  const runs = Object.fromEntries(
    Object.entries(view.runs).map(([id, { ended_at: _, ...rest }]) => [id, rest]),
  )
  const json = { title: view.title, plan: view.plan, items, runs, pending: pending(view).map((item) => item.key) }
  return JSON.parse(JSON.stringify(json)) as Json
}

// -- the fold

type EventOf<T extends EventType> = Extract<LogEvent, { type: T }>
type Writable<T> = { -readonly [K in keyof T]: T[K] }

const BLANK_RUN: RunView = {
  status: null,
  attempt: 0,
  reason: null,
  budget: null,
  position: null,
  outcome: null,
  text: '',
  ended: null,
  plan: null,
  usage: null,
  ended_at: null,
}

/**
 * Where each item of a list is, by key. The draft that follows a view takes it over, so that one more piece of an answer does not
 * cost what the session is long; who folds an older view once more makes it anew.
 */
const indexes = new WeakMap<readonly Item[], Map<string, number>>()

function takeIndex(items: readonly Item[]): Map<string, number> {
  const known = indexes.get(items)
  if (!known) return new Map(items.map((item, place) => [item.key, place]))
  indexes.delete(items)
  return known
}

/** Copies what it changes, so that the view it started from stays as it was. */
class Draft {
  private readonly head: Writable<View>
  private readonly items: (Item | null)[]
  private runs: Record<string, RunView>
  /** Where each item is, by key. */
  private readonly places: Map<string, number>
  /** Whether an item was taken away, which leaves a hole until the end. */
  private holes = false
  /** The deltas of growing texts, joined once at the end. */
  private readonly growing = new Map<string, string[]>()

  constructor(view: View) {
    this.head = { ...view }
    this.items = [...view.items]
    this.runs = view.runs
    this.places = takeIndex(view.items)
  }

  done(): View {
    for (const [key, texts] of this.growing) {
      const item = this.get(key, 'text')
      if (item) this.set({ ...item, text: item.text + texts.join('') })
    }
    const items = this.holes ? this.items.filter((item) => item !== null) : (this.items as Item[])
    if (!this.holes) indexes.set(items, this.places)
    return { ...this.head, items, runs: this.runs }
  }

  /** Types that are not known change nothing. */
  apply(event: LogEvent): void {
    this.head.seq = Math.max(this.head.seq, event.seq)
    switch (event.type) {
      case 'text':
      case 'reasoning':
        return this.delta(event)
      case 'message':
        return this.message(event)
      case 'item_aborted': {
        const item = this.get(textKey(event), 'text')
        if (item && !item.final && (item.attempt ?? 0) <= event.content.attempt) this.remove(item.key)
        return
      }
      case 'prompt': {
        const { id, text, by = null, delivery = 'queue' } = event.content
        return this.set({ ...shown(event, `prompt:${id}`), type: 'prompt', id, text, by, delivery, removed: false })
      }
      case 'tool_call': {
        const { id, name, args } = event.content
        return this.set({ ...shown(event, toolKey(event)), type: 'tool', id, name, args, result: null, ended_at: null })
      }
      case 'tool_result': {
        const item = this.get(toolKey(event), 'tool')
        if (item) this.set({ ...item, result: event.content, ended_at: event.at })
        return
      }
      case 'output': {
        const item = this.get(toolKey(event), 'tool')
        if (item) this.set({ ...item, output: (item.output ?? '') + event.content.text })
        return
      }
      case 'question':
      case 'confirmation': {
        const { id, text, schema = null, expires_at = null } = event.content
        return this.set({ ...shown(event, `question:${id}`), type: event.type, id, text, schema, expires_at, settled: null })
      }
      case 'diff': {
        const { id, files, risky = false } = event.content
        return this.set({ ...shown(event, `diff:${id}`), type: 'diff', id, files, risky, settled: null, applied: null, conflicts: [], undone: false, clashes: [] })
      }
      case 'answered': {
        const key = `question:${event.content.id}`
        const item = this.item(key)
        if ((item?.type === 'question' || item?.type === 'confirmation') && item.settled === null) this.set({ ...item, settled: event.content })
        return
      }
      case 'decided': {
        const item = this.get(`diff:${event.content.id}`, 'diff')
        if (item && item.settled === null) this.set({ ...item, settled: event.content })
        return
      }
      case 'applied': {
        const item = this.get(`diff:${event.content.diff_id}`, 'diff')
        const { files, conflicts = [], undo } = event.content
        if (item && !undo) this.set({ ...item, applied: files, conflicts })
        else if (item) this.set({ ...item, undone: item.undone || conflicts.length === 0, clashes: conflicts })
        return
      }
      case 'repo_map':
        return this.set({ ...shown(event, `event:${event.seq}`), type: 'repo_map', content: event.content })
      case 'error':
        return this.set({ ...shown(event, `event:${event.seq}`), type: 'error', content: event.content })
      case 'plan':
        this.head.plan = { ...event.content, run_id: event.run_id }
        return event.run_id === null ? undefined : this.run(event, { plan: event.content })
      case 'run': {
        const { status, attempt, reason = null, budget = null, position = null } = event.content
        return this.run(event, { status, attempt, reason, budget, position })
      }
      case 'usage':
        return this.run(event, { usage: event.content })
      case 'completed': {
        const { outcome, text = '', reason = null } = event.content
        return this.run(event, { outcome, text, ended: reason, ended_at: event.at })
      }
      case 'action':
        return this.action(event)
    }
  }

  private item(key: string): Item | null {
    const place = this.places.get(key)
    return place === undefined ? null : this.items[place]!
  }

  private get<T extends Item['type']>(key: string, type: T): Extract<Item, { type: T }> | null {
    const item = this.item(key)
    return item?.type === type ? (item as Extract<Item, { type: T }>) : null
  }

  /** Makes an item, or makes it anew in its old place. */
  private set(item: Item): void {
    const place = this.places.get(item.key)
    if (place === undefined) {
      this.places.set(item.key, this.items.length)
      this.items.push(item)
    } else this.items[place] = item
  }

  private remove(key: string): void {
    this.growing.delete(key)
    this.items[this.places.get(key)!] = null
    this.places.delete(key)
    this.holes = true
  }

  private delta(event: EventOf<'text' | 'reasoning'>): void {
    const key = textKey(event)
    const { attempt, text } = event.content
    let item = this.get(key, 'text')
    if (item && (item.final || attempt < (item.attempt ?? 0))) return
    if (item && attempt > (item.attempt ?? 0)) {
      this.remove(key)
      item = null
    }
    const kind = event.type
    if (!item) this.set({ ...shown(event, key), type: 'text', text: '', attempt, final: false, interrupted: false, kind })
    else if (item.kind !== kind) this.set({ ...item, kind })
    const texts = this.growing.get(key)
    if (texts) texts.push(text)
    else this.growing.set(key, [text])
  }

  private message(event: EventOf<'message'>): void {
    const { text, kind = 'text', interrupted = false } = event.content
    const key = textKey(event)
    this.growing.delete(key)
    this.set({ ...shown(event, key), type: 'text', text, attempt: null, final: true, interrupted, kind })
  }

  private run(event: LogEvent, change: Partial<RunView>): void {
    const id = event.run_id ?? ''
    const run = { ...(this.runs[id] ?? BLANK_RUN), ...change }
    this.runs = { ...this.runs, [id]: run }
    const waits = run.status === 'queued' && run.outcome === null
    const known = this.head.order.includes(id)
    if (waits && !known) this.head.order = [...this.head.order, id]
    else if (!waits && known) this.head.order = this.head.order.filter((other) => other !== id)
  }

  private action({ seq, content: { name, args } }: EventOf<'action'>): void {
    const prompt = this.get(`prompt:${args['id']}`, 'prompt')
    switch (name) {
      case 'rename':
        this.head.title = (args['title'] as string | undefined) ?? null
        return
      case 'pin':
        this.head.pinned = args['pinned'] === true
        return
      case 'archive':
        this.head.archived = args['archived'] === true
        return
      case 'recovery':
        this.head.recovery = (args['policy'] as string | undefined) ?? null
        return
      case 'model':
        this.head.model = (args['model'] as string | undefined) ?? null
        return
      case 'edit_mode':
        this.head.edit_mode = args['mode'] === 'accept' ? 'accept' : 'ask'
        return
      case 'move_prompt': {
        const id = prompt?.run_id ?? ''
        if (!this.head.order.includes(id)) return
        const others = this.head.order.filter((other) => other !== id)
        const before = args['before'] === null ? -1 : others.indexOf(this.get(`prompt:${args['before']}`, 'prompt')?.run_id ?? '')
        // Who it comes before has begun by now, so nobody is before it; without one it is the last.
        const place = args['before'] === null ? others.length : Math.max(0, before)
        this.head.order = [...others.slice(0, place), id, ...others.slice(place)]
        return
      }
      case 'rewind':
      case 'resend':
        if (typeof args['upto'] === 'number') this.head.rewinds = [...this.head.rewinds, { upto: args['upto'], seq }]
        return
      case 'edit_prompt':
        if (prompt) this.set({ ...prompt, text: (args['text'] as string | undefined) ?? prompt.text })
        return
      case 'remove_prompt':
        if (prompt) this.set({ ...prompt, removed: true })
        return
    }
  }
}

function shown({ seq, at, run_id, parent_id }: LogEvent, key: string): Shown {
  return { key, seq, at, run_id: run_id ?? null, parent_id: parent_id ?? null }
}

const textKey = (event: LogEvent): string => `text:${event.run_id ?? ''}/${event.item_id ?? ''}`
const toolKey = (event: EventOf<'tool_call' | 'tool_result' | 'output'>): string => `tool:${event.run_id ?? ''}/${event.content.id}`
