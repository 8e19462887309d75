/** What a person who looks elsewhere is told: a run is done, or needs them. */

import { pending, type View } from '../client'
import { outcomeWords } from './words'

export interface News {
  kind: 'done' | 'question' | 'diff'
  text: string
  /** Of what waits. */
  key: string | null
}

/** What is new in a view for somebody who does not look at it; what waits for them comes first. Pure. */
export function newsOf(before: View, now: View): News | null {
  const known = new Set(pending(before).map(({ key }) => key))
  const asks = pending(now).find(({ key }) => !known.has(key))
  if (asks?.type === 'diff') return { kind: 'diff', text: 'a change waits for your decision', key: asks.id }
  if (asks) return { kind: 'question', text: `needs your answer. ${asks.text.split('\n', 1)[0]?.slice(0, 120)}`, key: asks.id }
  const ended = Object.entries(now.runs).find(([id, run]) => run.outcome !== null && before.runs[id]?.outcome === null)
  return ended ? { kind: 'done', text: outcomeWords(ended[1], null), key: null } : null
}

export class Bell {
  readonly hidden: () => boolean

  constructor(hidden: () => boolean) {
    this.hidden = hidden
  }

  get canAsk(): boolean {
    return 'Notification' in globalThis && Notification.permission === 'default'
  }

  async ask(): Promise<void> {
    await Notification.requestPermission()
  }

  /** One notification a session: a later one takes the place of the one before. */
  ring(text: string, session: string, clicked: () => void): void {
    if (!('Notification' in globalThis) || Notification.permission !== 'granted') return
    try {
      const shown = new Notification(text, { tag: `reconvene ${session}`, icon: '/icon.svg' })
      shown.addEventListener('click', clicked)
    } catch {
      // Where only a service worker may notify, the title still tells.
    }
  }
}
