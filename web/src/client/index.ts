/** The resumable client: no framework, no dependencies. See README.md beside this file. */

export { answerTo, Refused, type Answer } from './answer.ts'
export { applyBatch, applySnapshot, NOTHING, type Held, type Outcome } from './apply.ts'
export { Client, type ClientState, type IndexNotice, type Notice, type Options, type Resumed } from './client.ts'
export * from './frames.ts'
export { newId } from './ids.ts'
export { delayOf, Link, verdictOf, type LinkOwner, type LinkState, type StopReason, type Verdict } from './link.ts'
export { memoryShelf, Outbox, pageShelf, type Entry, type Shelf } from './outbox.ts'
export {
  activeRun,
  emptyView,
  fold,
  isRewound,
  pending,
  queued,
  quotation,
  runState,
  toJson,
  totalUsage,
  type AskItem,
  type DiffItem,
  type ErrorItem,
  type Item,
  type MapItem,
  type Plan,
  type PromptItem,
  type RunView,
  type TextItem,
  type ToolItem,
  type View,
} from './reducer.ts'
export { lastSession, rememberSession, sessionId } from './session.ts'
export { browserWorld, tokenWorld, type PageEvent, type Socket, type Whoami, type World } from './world.ts'
