/** Everything a person can do from the keyboard, once: for the palette, for `/` in the prompt, and for the list of keys. */

export interface Action {
  id: string
  /** After `/`; none: only in the palette. */
  slash?: string
  title: string
  /** As it is shown; `Mod` is Ctrl, or ⌘ on a Mac. */
  keys?: string
  run: () => void
  /** Whether it can be done now. */
  can?: () => boolean
}

/** Actions whose title or slash name has all the words, those whose beginning it is first. */
export function matching(actions: readonly Action[], typed: string): Action[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean)
  const rank = ({ title, slash }: Action): number => {
    const text = title.toLowerCase()
    if (slash && words.length === 1 && slash.startsWith(words[0]!)) return 0
    if (text.startsWith(words.join(' '))) return 1
    return words.every((word) => text.includes(word) || slash?.includes(word)) ? 2 : 3
  }
  return actions
    .filter((action) => (action.can?.() ?? true) && (words.length === 0 || rank(action) < 3))
    .map((action, place) => ({ action, place, rank: words.length === 0 ? 0 : rank(action) }))
    .sort((a, b) => a.rank - b.rank || a.place - b.place)
    .map(({ action }) => action)
}

const MAC = typeof navigator !== 'undefined' && /Mac|iPhone|iPad/.test(navigator.platform)

/** `Mod+K` as this machine has it. */
export const keyNames = (keys: string): string[] => keys.split('+').map((key) => (key === 'Mod' ? (MAC ? '⌘' : 'Ctrl') : key))

export const isMod = (event: KeyboardEvent): boolean => (MAC ? event.metaKey : event.ctrlKey)
