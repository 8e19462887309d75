/** What a session has to do with files, from its view: changed, read, or found. Pure. */

import type { Json, View } from '../client'

export type Touch = 'changed' | 'read' | 'found'

/** By path, the strongest of them. */
export function touched(view: View): ReadonlyMap<string, Touch> {
  const found = new Map<string, Touch>()
  const put = (path: string, touch: Touch): void => {
    const known = found.get(path)
    if (known === undefined || RANK[touch] > RANK[known]) found.set(path, touch)
  }
  for (const item of view.items) {
    if (item.type === 'diff' && item.applied && !item.undone) for (const { path } of item.applied) put(path, 'changed')
    if (item.type !== 'tool' || item.result?.ok === false) continue
    const path = argument(item.args, 'path')
    if (path && item.result && item.name === 'read_file') put(path, 'read')
    if (item.name !== 'repo_map') for (const place of item.result?.places ?? []) put(place.path, 'found')
  }
  return found
}

const RANK = { found: 0, read: 1, changed: 2 } as const

const argument = (args: Json, name: string): string | null => {
  const value = args && typeof args === 'object' && !Array.isArray(args) ? args[name] : null
  return typeof value === 'string' ? value : null
}
