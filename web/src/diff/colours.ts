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
  const { highlight } = await import('../markdown/highlight')
  const side = async (which: 'old' | 'new'): Promise<Map<number, Coloured[]> | null> => {
    const lines = rows.flatMap((row) => (row.kind !== 'told' && row[which] !== null ? [{ at: row[which], text: row.text }] : []))
    const text = lines.map((line) => line.text).join('\n')
    if (text.length > MOST) return null
    const nodes = await highlight(text, language)
    if (!nodes) return null
    const coloured = perLine(nodes)
    return new Map(lines.map(({ at }, n) => [at, coloured[n] ?? []]))
  }
  const [before, after] = [await side('old'), await side('new')]
  return before && after ? { old: before, new: after } : null
}

/** The text of these nodes line by line, each piece with the class of the innermost element that colours it. */
export function perLine(nodes: DocumentFragment): Coloured[][] {
  const lines: Coloured[][] = [[]]
  const walk = (node: Node, colour: string | undefined): void => {
    for (const child of node.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) {
        for (const [n, text] of (child.nodeValue ?? '').split('\n').entries()) {
          if (n > 0) lines.push([])
          if (text) lines.at(-1)!.push({ text, colour })
        }
      } else walk(child, (child as Element).className || colour)
    }
  }
  walk(nodes, undefined)
  return lines
}
