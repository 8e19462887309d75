/** The colours of the code in a diff: the highlighter comes when the first diff is drawn, and the lines are there before it. */

import type { Colours } from './draw'
import type { Coloured, Row } from './rows'

/** Characters of one side, at most: nobody reads more at once, and colouring it would stop the page. */
const MOST = 100_000

const NAMES: Record<string, string> = { makefile: 'makefile', dockerfile: 'dockerfile', 'cmakelists.txt': 'cmake' }

/** What the highlighter calls the language of a file. */
export function languageOf(path: string): string {
  const name = path.split('/').at(-1)!.toLowerCase()
  return NAMES[name] ?? name.split('.').slice(1).at(-1) ?? ''
}

/** null: it is not coloured. */
export async function coloursOf(rows: readonly Row[], path: string): Promise<Colours | null> {
  const language = languageOf(path)
  if (!language) return null
  const { coloured } = await import('../markdown/highlight')
  const side = async (which: 'old' | 'new'): Promise<Map<number, Coloured[]> | null> => {
    const lines = rows.flatMap((row) => (row.kind !== 'told' && row[which] !== null ? [{ at: row[which], text: row.text }] : []))
    const text = lines.map((line) => line.text).join('\n')
    if (text.length > MOST) return null
    const html = await coloured(text, language)
    if (html === null) return null
    const known = perLine(html)
    return new Map(lines.map(({ at }, n) => [at, known[n] ?? []]))
  }
  const [before, after] = [await side('old'), await side('new')]
  return before && after ? { old: before, new: after } : null
}

const ENTITIES: Record<string, string> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#x27;': "'" }

/**
 * What the highlighter wrote, line by line, each piece with the class of the innermost span around it. It is read as text: nothing of it
 * becomes markup, so it needs no cleaning, which would take longer than the highlighting.
 */
export function perLine(html: string): Coloured[][] {
  const lines: Coloured[][] = [[]]
  const within: (string | undefined)[] = []
  for (const [part, opened] of html.matchAll(/<span class="([^"<>]*)">|<\/span>|[^<]+|</g)) {
    if (opened !== undefined) within.push(opened)
    else if (part === '</span>') within.pop()
    else {
      for (const [n, text] of part.replace(/&(?:amp|lt|gt|quot|#x27);/g, (entity) => ENTITIES[entity]!).split('\n').entries()) {
        if (n > 0) lines.push([])
        if (text) lines.at(-1)!.push({ text, colour: within.at(-1) })
      }
    }
  }
  return lines
}
