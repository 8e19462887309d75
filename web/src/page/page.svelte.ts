/**
 * What the page is showing now: one client at a time, and the list of sessions. It owns no message: `state` is what the client
 * folded from the log, replaced as a whole and drawn at most once a frame.
 */

import { SvelteSet } from 'svelte/reactivity'
import {
  activeRun,
  Client,
  Outbox,
  pageShelf,
  pending,
  queued,
  quotation,
  sessionId,
  type AskItem,
  type ClientState,
  type DiffItem,
  type Entry,
  type Held,
  type JsonObject,
  type Plan,
  type PromptItem,
  type RunView,
  type SessionContent,
  type Shelf,
  type View,
} from '../client'
import type { Layout } from '../diff/draw'
import * as api from './api'
import { Bell, newsOf } from './bell'
import { grown } from './turns'
import { spokenWords } from './words'

const LIST_MS = 15_000
const LAYOUT = 'reconvene.diff'
/** From one drawing to the next at least: words that come faster are drawn together, and nobody reads faster. */
const DRAW_MS = 64
/** Views of sessions that were left, so that coming back costs only what was missed. */
const KEPT = 8

/** What is open: a place as it was quoted (`hash`: the content then), or the three contents of a conflict. */
export type Shown =
  | { kind: 'place'; path: string; start: number | null; end: number | null; hash: string | null }
  | { kind: 'conflict'; path: string; base: string | null; theirs: string | null; note: string | null; undo: boolean }

export class Page {
  state = $state.raw<ClientState>() as ClientState
  me = $state.raw<api.Me | null>(null)
  /** Whether the choice of the model is open. */
  choosing = $state(false)
  sessions = $state.raw<api.SessionInfo[]>([])
  /** Wall clock in ms; moves while something on the page counts seconds. */
  now = $state(Date.now())
  /** Something that went wrong beside the session: shown until dismissed. */
  complaint = $state<string | null>(null)
  private asked = $state<string | null>(null)
  /** The run that was asked to stop and has not yet. */
  stopping = $state<string | null>(null)
  /** A file's content that is open beside the conversation. */
  shown = $state.raw<Shown | null>(null)
  diffLayout = $state<Layout>('unified')
  /** The latest finished blocks, for whoever listens instead of looking. */
  spoken = $state<{ id: number; text: string }[]>([])
  /** Questions and diffs that were answered from this page, in time or not. */
  private readonly answered = new SvelteSet<string>()

  private readonly sameOutline = outlines()
  private readonly sameWaiting = steady<AskItem | DiffItem>()
  private readonly sameQueue = steady<PromptItem>()
  private readonly sameDiffs = steady<DiffItem>()
  private readonly sameOutgoing = steady<Entry>()
  private readonly sameActive = steady<string | RunView>()

  // What is drawn depends on these and not on `state`, which is new with every piece of an answer.
  readonly view = $derived(this.state.view)
  readonly link = $derived(this.state.link)
  readonly synced = $derived(this.state.synced)
  readonly resumed = $derived(this.state.resumed)
  readonly notice = $derived(this.state.notice)
  readonly index = $derived(this.state.index)
  readonly greeting = $derived(this.state.session)
  /** As `view`, for what does not look into texts: it stays the same while they grow. */
  readonly outline = $derived(this.sameOutline(this.view))
  readonly waiting = $derived(this.sameWaiting(pending(this.outline)))
  readonly queue = $derived(this.sameQueue(queued(this.outline)))
  readonly active = $derived<readonly [string, RunView] | null>(this.sameActive(activeRun(this.outline)))
  readonly blank = $derived(this.outline.items.length === 0)
  readonly diffs = $derived(this.sameDiffs(this.outline.items.filter((item) => item.type === 'diff')))
  readonly current = $derived(this.active?.[0] ?? this.queue[0]?.run_id ?? null)
  /** The run that ended last; null while none has. */
  readonly lastRun = $derived(Object.entries(this.outline.runs).reduce<[string, number] | null>((last, [id, { ended_at }]) => (ended_at !== null && ended_at >= (last?.[1] ?? 0) ? [id, ended_at] : last), null)?.[0] ?? null)
  /** The run under which the session's plan is shown; a plan that was edited while nothing ran belongs to the run that made it. */
  readonly planRun = $derived(this.outline.plan === null ? null : (this.outline.plan.run_id ?? Object.entries(this.outline.runs).findLast(([, { plan }]) => plan !== null)?.[0] ?? null))
  readonly running = $derived(this.active !== null || this.queue.length > 0)
  /** The session that is open, or is being opened. */
  readonly session = $derived(this.greeting?.session_id ?? this.asked)
  /** Somebody else's session, that a link shows: it is seen live, and nothing in it is changed. */
  readonly looksOn = $derived(this.session !== null && (this.me?.views.includes(this.session) ?? false))
  /** Whether links are all that somebody has here: no sessions of their own, no code base. */
  readonly isViewer = $derived(this.me?.role === 'viewer')
  readonly info = $derived(this.sessions.find((known) => known.session_id === this.session) ?? null)
  /** What was sent and is not in the log yet, or was refused. */
  readonly outbox = $derived<readonly Entry[]>(this.state.outbox)
  readonly landing = $derived<readonly Entry[]>(this.state.landing)
  readonly outgoing = $derived<readonly Entry[]>(this.sameOutgoing([...this.landing, ...this.unseen(this.outbox)]))
  private readonly plans = $derived(this.outbox.filter(({ frame }) => frame.type === 'action' && frame.content.name === 'edit_plan'))
  /** The steps that the person gave the plan last, while the server has not taken them. */
  readonly planSent = $derived(stepsOf(this.plans.findLast(({ failed }) => !failed)))
  /** Whether a change of the plan was refused. */
  readonly planRefused = $derived(this.plans.some(({ failed }) => failed))
  /** Whether nobody has asked anything in it yet: as long as a session is being loaded, nobody knows. */
  readonly untouched = $derived(this.blank && (this.synced || this.greeting?.mode === 'fresh'))
  readonly unsent = $derived(this.outbox.filter((entry) => !entry.failed).length)

  readonly shelf: Shelf = pageShelf()
  private client: Client
  private readonly kept = new Map<string, Held>()
  private unsubscribe = () => {}
  private drawing = false
  /** When it was drawn last; ms of the page's own clock. */
  private drawn = -DRAW_MS
  private listing = false
  private meeting: Promise<void> | null = null
  private tried = new Set<string>()
  private chosen = false
  private readonly bell = new Bell(() => document.visibilityState !== 'visible')
  /** Whether the person can still be asked to be told when a run is done. */
  canNotify = $state(this.bell.canAsk)
  /** What happened while nobody looked, for the title: a run ended. */
  news = $state(false)
  private told = 0
  private greeted: SessionContent | null = null

  constructor() {
    if (this.shelf.getItem(LAYOUT) === 'split') this.diffLayout = 'split'
    const wanted = sessionId(/^\/s\/([^/]+)$/.exec(location.pathname)?.[1])
    this.client = this.make(wanted === null ? {} : { session: wanted })
    this.client.start()
    addEventListener('popstate', () => {
      const id = sessionId(/^\/s\/([^/]+)$/.exec(location.pathname)?.[1])
      if (id && id !== this.session) this.open(id, false)
    })
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState !== 'visible') return
      this.news = false
      void this.list()
    })
    setInterval(() => (this.now = Date.now()), 1000)
    setInterval(() => document.visibilityState === 'visible' && this.state.link.phase === 'live' && void this.list(), LIST_MS)
    void this.meet()
    void this.list()
  }

  // -- sessions

  /** Goes to a session; null: a new one, of this code base. */
  open(session: string | null, push = true, root: string | null = null): void {
    const left = this.client.stop()
    if (left.session && left.held.cursor) {
      this.kept.delete(left.session)
      this.kept.set(left.session, left.held)
      for (const oldest of [...this.kept.keys()].slice(0, -KEPT)) this.kept.delete(oldest)
    }
    const held = session === null ? undefined : this.kept.get(session)
    this.stopping = null
    this.complaint = null
    this.client = this.make({ session, ...(held ? { held } : {}), ...(session === null ? { root: root ?? this.newRoot() } : {}) })
    if (push && session !== null) history.pushState(null, '', `/s/${session}`)
    if (push && session === null) history.pushState(null, '', '/')
    this.client.start()
  }

  /** Goes to a new session, unless this is one. */
  begin(): void {
    if (!this.untouched || this.outgoing.length > 0 || !this.session) this.open(null)
  }

  /** The code base of a new session: the current one's, as long as it is served. */
  private newRoot(): string | null {
    const roots = this.me?.roots ?? []
    const now = this.state.session?.root
    return roots.find(({ root }) => root === now)?.root ?? roots[0]?.root ?? null
  }

  async list(): Promise<void> {
    if (this.listing) return
    this.listing = true
    try {
      this.sessions = await api.sessions()
      void this.deliverStrays()
    } catch {
      // The link says that the server is away; the list is what it was.
    }
    this.listing = false
  }

  async change(id: string, what: { title?: string; pinned?: boolean; archived?: boolean }): Promise<void> {
    const before = this.sessions
    this.sessions = before.map((known) => (known.session_id === id ? { ...known, ...what } : known))
    try {
      await api.change(id, what)
      await this.list()
    } catch (error) {
      this.sessions = before
      this.complaint = error instanceof api.Refusal ? error.message : 'The server cannot be reached now. Nothing was changed; try again in a moment.'
    }
  }

  private meet(): Promise<void> {
    return (this.meeting ??= this.met().finally(() => (this.meeting = null)))
  }

  private async met(): Promise<void> {
    try {
      this.me = await api.me()
      this.chooseRoot()
    } catch {
      // The link tells why.
    }
  }

  /** Several code bases are served and none was named: take the first, the person can take another. */
  private chooseRoot(): void {
    const { link, session } = this.state
    if (link.phase === 'stopped' && link.reason === 'refused' && !session && !this.chosen && this.me?.roots.length) {
      this.chosen = true
      const asked = this.client.asked
      this.open(null, false)
      if (asked) this.complaint = 'The server does not know the session you were in. This is a new one.'
    }
  }

  /** What was written to a session that is not open now is sent too: its id keeps it from being done twice. */
  private async deliverStrays(): Promise<void> {
    const outbox = new Outbox(this.shelf)
    for (const entry of outbox.all()) {
      if (entry.session === null || entry.session === this.session || entry.failed || this.tried.has(entry.id)) continue
      this.tried.add(entry.id)
      try {
        await api.deliver(entry.session, entry.frame)
        outbox.remove(entry.id)
      } catch (error) {
        if (error instanceof api.Refusal && !error.failure.retryable) outbox.fail(entry.id, error.failure)
        else this.tried.delete(entry.id)
      }
    }
  }

  // -- the client

  prompt(text: string, delivery: 'queue' | 'steer' = 'queue'): void {
    this.client.prompt(text, delivery)
  }
  answer(question: string, value: string | boolean | JsonObject): void {
    if (this.looksOn) return
    this.answered.add(question)
    this.client.answer(question, value)
  }
  /** `hunks`: ids of the parts that are accepted; null: all of them. */
  decide(diff: string, verdict: 'accept' | 'reject' | 'feedback', feedback: string | null = null, hunks: string[] | null = null): void {
    if (this.looksOn) return
    this.answered.add(diff)
    this.client.decide(diff, verdict, { ...(feedback ? { feedback } : {}), ...(verdict === 'accept' && hunks ? { hunks } : {}) })
  }
  stop(): void {
    const run = this.current
    if (!run || this.stopping === run || this.looksOn) return
    this.stopping = run
    this.client.cancel(run)
  }
  act(name: string, args: JsonObject): void {
    if (!this.looksOn) this.client.act(name, args)
  }
  /** Opens a place as the session quoted it before the event `seq`, or, if it never did, as it is now. */
  showPlace(place: { path: string; start?: number | null; end?: number | null; hash?: string | null }, seq = Infinity): void {
    const { path, start = null, end = start } = place
    const hash = place.hash ?? (quotation(this.view, path, start, seq)?.['hash'] as string | undefined) ?? null
    this.shown = { kind: 'place', path, start, end, hash }
  }
  setDiffLayout(layout: Layout): void {
    this.diffLayout = layout
    try {
      this.shelf.setItem(LAYOUT, layout)
    } catch {
      // Without storage it holds as long as the page.
    }
  }
  again(id: string): void {
    this.client.again(id)
  }
  dismiss(id: string): Entry | undefined {
    const entry = this.client.dismiss(id)
    if (entry && 'reply_to' in entry.frame) this.answered.delete(entry.frame.reply_to)
    return entry
  }
  /** Whether the answer to this question, or the decision on this diff, that counts is this page's. */
  settledHere(id: string): boolean {
    return this.answered.has(id) && !this.outbox.some(({ failed, frame }) => failed && 'reply_to' in frame && frame.reply_to === id)
  }
  connect(): void {
    this.client.tryNow()
  }
  /** A block of an answer is finished. Only blocks are told, never single characters. */
  announce(source: string): void {
    const text = spokenWords(source)
    if (text) this.spoken = [...this.spoken, { id: ++this.told, text }].slice(-4)
  }
  clearNotice(): void {
    this.client.clearNotice()
  }

  private make(options: { session?: string | null; held?: Held; root?: string | null }): Client {
    this.unsubscribe()
    const client = new Client({ ...options, name: clientName(), shelf: this.shelf })
    this.state = client.state
    this.asked = client.asked
    this.unsubscribe = client.subscribe((state) => this.draw(state))
    return client
  }

  /** At most once a frame, and not more often than anybody can read; a page that is not seen has no frames, but still counts what waits. */
  private draw(state: ClientState): void {
    if (state.session && state.session !== this.greeted) this.arrived(state.session)
    if (this.drawing) return
    this.drawing = true
    const show = () => {
      this.drawing = false
      this.drawn = performance.now()
      const before = this.state
      this.state = this.client.state
      if (before.link !== this.state.link) this.now = Date.now()
      if (activeRun(before.view)?.[0] !== activeRun(this.state.view)?.[0] || before.view.title !== this.state.view.title) void this.list()
      this.chooseRoot()
      this.tell(before, this.state)
      if (this.stopping && this.state.view.runs[this.stopping]?.outcome) this.stopping = null
    }
    const rest = this.drawn + DRAW_MS - performance.now()
    if (document.visibilityState !== 'visible') setTimeout(show, 250)
    else if (rest > 0) setTimeout(show, rest)
    else requestAnimationFrame(show)
  }

  /** Tells a person who looks elsewhere that a run is done, or waits for them. What was missed is told too, what is old is not. */
  private tell(before: ClientState, now: ClientState): void {
    if (before.session?.session_id !== now.session?.session_id || !before.synced || !now.synced || before.view === now.view) return
    const news = newsOf(before.view, now.view)
    if (!news || !this.bell.hidden()) return
    if (news.kind === 'done') this.news = true
    this.bell.ring(`${now.view.title ?? 'Reconvene'}: ${news.text}`, now.session?.session_id ?? '', () => {
      focus()
      if (news.key) document.querySelector(`[data-${news.kind === 'diff' ? 'diff' : 'question'}="${CSS.escape(news.key)}"]`)?.scrollIntoView({ block: 'center' })
    })
  }
  async askToNotify(): Promise<void> {
    await this.bell.ask()
    this.canNotify = this.bell.canAsk
  }

  private arrived(session: SessionContent): void {
    const again = this.greeted !== null
    this.greeted = session
    const path = `/s/${session.session_id}`
    if (location.pathname !== path) history.replaceState(null, '', path)
    // A page that begins has asked a moment ago.
    if (again || !this.me) void this.meet()
    if (again || !this.info) void this.list()
  }

  /** Without prompts that the log already shows: their acknowledgement comes a moment later. */
  private unseen(outbox: readonly Entry[]): Entry[] {
    const prompts = outbox.filter(({ frame }) => frame.type === 'default')
    return prompts.filter((entry) => !this.view.items.some((item) => item.type === 'prompt' && item.id === entry.id))
  }
}

function stepsOf(entry: Entry | undefined): Plan['steps'] | null {
  return entry?.frame.type === 'action' ? (entry.frame.content.args['steps'] as unknown as Plan['steps']) : null
}

/** Gives the list that it gave before, as long as the same is in it: then who shows it has nothing to do. */
function steady<T>(): <L extends readonly T[] | null>(now: L) => L {
  let before: readonly T[] | null = null
  return <L extends readonly T[] | null>(now: L): L => {
    const same = now !== null && before !== null && now.length === before.length && now.every((item, place) => item === before![place])
    if (!same) before = now
    return before as L
  }
}

/** Gives the view that it gave before, as long as nothing but texts have grown. */
function outlines(): (now: View) => View {
  let before: View | null = null
  return (now) => (before !== null && grown(before, now) ? before : (before = now))
}

/** What others are shown as who answered: `Firefox on Linux`. */
function clientName(): string {
  const agent = navigator.userAgent
  const browser = ['Edg', 'Firefox', 'Chrome', 'Safari'].find((name) => agent.includes(`${name}/`)) ?? 'Browser'
  const system = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS', 'Linux'].find((name) => agent.includes(name))
  return `${browser === 'Edg' ? 'Edge' : browser}${system ? ` on ${system === 'Mac OS' ? 'macOS' : system}` : ''}`
}
