/** For programs: what became of a prompt, as a promise. */

import type { Client, ClientState } from './client.ts'
import type { Failure } from './frames.ts'
import { pending, type AskItem, type DiffItem } from './reducer.ts'

export interface Answer {
  readonly run: string
  /** `waiting`: it is not over; somebody has to answer what is `pending`, then `answerTo` tells more. */
  readonly outcome: 'success' | 'failed' | 'cancelled' | 'waiting'
  readonly text: string
  /** Why it did not succeed. */
  readonly reason: string | null
  readonly pending: readonly (AskItem | DiffItem)[]
}

/** The server refused the prompt, or the client stopped for good; `code` says which. */
export class Refused extends Error {
  readonly code: string

  constructor({ code, message }: Pick<Failure, 'code' | 'message'>) {
    super(message)
    this.name = 'Refused'
    this.code = code
  }
}

/**
 * Waits for what becomes of a prompt, over as many connections as it takes. The client has to be started.
 *
 * @param prompt what `client.prompt` returned
 * @throws Refused
 */
export function answerTo(client: Client, prompt: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const look = (state: ClientState): boolean => {
      const failed = state.outbox.find((entry) => entry.id === prompt)?.failed
      const { link } = state
      if (failed) reject(new Refused(failed))
      else if (link.phase === 'stopped') reject(new Refused({ code: link.reason, message: link.message }))
      else {
        const found = become(state, prompt)
        if (found) resolve(found)
        return found !== null
      }
      return true
    }
    if (look(client.state)) return
    const leave = client.subscribe((state) => {
      if (look(state)) leave()
    })
  })
}

/** null: it goes on by itself. */
function become({ view }: ClientState, prompt: string): Answer | null {
  const run = view.items.find((item) => item.type === 'prompt' && item.id === prompt)?.run_id
  const known = run ? view.runs[run] : undefined
  if (!run || !known) return null
  if (known.outcome !== null) {
    const said = view.items.filter((item) => item.type === 'error' && item.run_id === run).at(-1)
    const reason = known.outcome === 'success' ? null : said?.type === 'error' ? said.content.message : known.ended
    return { run, outcome: known.outcome, text: known.text, reason, pending: [] }
  }
  const asked = pending(view)
  const mine = asked.filter((item) => item.run_id === run)
  const before = mine.length === 0 && known.status === 'queued' ? asked : mine
  return before.length > 0 ? { run, outcome: 'waiting', text: known.text, reason: null, pending: before } : null
}
