/**
 * Rows of a diff as nodes, in chunks: what is out of sight is not laid out (`content-visibility`), and of many rows only the first are made
 * at once, the others a slice at a time, so that the page answers in between. Numbers and signs are drawn by the style, so that copying
 * takes the code alone; it also has the words that a screen reader says for a sign. (An element for them in every line, clipped out of
 * sight, made a third of what scrolling through a change costs.)
 */

import { pieces, paired, type Coloured, type Line, type Row } from './rows'

export type Layout = 'unified' | 'split'
/** By line, for each of the two files: the colours of its code. */
export interface Colours {
  readonly old: ReadonlyMap<number, readonly Coloured[]>
  readonly new: ReadonlyMap<number, readonly Coloured[]>
}

/** Rows that are laid out together. */
const CHUNK = 40
/** Chunks that are made at once: more than a screen. */
const AT_ONCE = 4
const SLICE_MS = 6

/** What stands in a node. */
const drawn = new WeakMap<HTMLElement, readonly [rows: readonly Row[], layout: Layout]>()

/**
 * Draws rows into a node; returns what ends the drawing. `meant`: lines of the new file, from 1, inclusive, that stand out, and are made
 * at once too. Drawn again with its colours, a node keeps its chunks, so that nothing moves.
 */
export function draw(node: HTMLElement, rows: readonly Row[], layout: Layout, colours: Colours | null, meant: readonly [number, number] | null = null): () => void {
  const pairs = layout === 'split' ? paired(rows) : null
  const count = pairs?.length ?? rows.length
  const isMeant = (row: Row): boolean => meant !== null && row.kind !== 'told' && row.new !== null && row.new >= meant[0] && row.new <= meant[1]
  const before = drawn.get(node)
  if (before && (before[0] !== rows || before[1] !== layout)) node.replaceChildren()
  drawn.set(node, [rows, layout])
  const chunks: HTMLElement[] = []
  const kept = [...node.children] as HTMLElement[]
  for (let at = 0; at < count; at += CHUNK) {
    const chunk = kept.shift() ?? element('div', 'chunk')
    const height = `${Math.min(CHUNK, count - at) * 1.5}em`
    chunk.style.setProperty('contain-intrinsic-height', `auto ${height}`)
    if (!chunk.firstChild) chunk.style.minHeight = height
    if (!chunk.parentNode) node.append(chunk)
    chunks.push(chunk)
  }

  const make = (number: number): void => {
    const chunk = chunks[number]!
    const made: HTMLElement[] = []
    for (let n = number * CHUNK; n < Math.min((number + 1) * CHUNK, count); n++) {
      if (pairs) made.push(pair(pairs[n]!.left, pairs[n]!.right, colours))
      else {
        const row = one(rows[n]!, colours)
        if (isMeant(rows[n]!)) row.classList.add('meant')
        made.push(row)
      }
    }
    chunk.replaceChildren(...made)
    chunk.style.minHeight = ''
  }
  const first = meant === null ? -1 : rows.findIndex(isMeant)
  const order = [...chunks.keys()]
  // The lines that are meant, and their neighbours.
  if (first >= 0) order.sort((a, b) => Math.abs(a - first / CHUNK) - Math.abs(b - first / CHUNK))
  for (const number of order.splice(0, AT_ONCE)) make(number)

  let timer: ReturnType<typeof setTimeout> | undefined
  const slice = (): void => {
    const until = performance.now() + SLICE_MS
    while (order.length > 0 && performance.now() < until) make(order.shift()!)
    if (order.length > 0) timer = setTimeout(slice)
  }
  if (order.length > 0) timer = setTimeout(slice)
  return () => clearTimeout(timer)
}

function one(row: Row, colours: Colours | null): HTMLElement {
  if (row.kind === 'told') return told(row.text)
  const made = element('div', `row ${row.kind}`)
  made.append(number(row.old), number(row.new), code(row, colours))
  return made
}

function pair(left: Row | null, right: Row | null, colours: Colours | null): HTMLElement {
  if (left?.kind === 'told') return told(left.text)
  const made = element('div', 'row pair')
  for (const [row, side] of [[left, 'old'], [right, 'new']] as const) {
    const half = element('div', `half ${row?.kind ?? 'none'}`)
    if (row && row.kind !== 'told') half.append(number(row[side]), code(row, colours))
    made.append(half)
  }
  return made
}

function told(text: string): HTMLElement {
  const made = element('div', 'row told')
  made.textContent = text
  return made
}

function number(line: number | null): HTMLElement {
  const made = element('span', 'number')
  if (line !== null) made.dataset['line'] = String(line)
  return made
}

function code(row: Line, colours: Colours | null): HTMLElement {
  const made = element('code', 'line')
  const known = row.new !== null ? colours?.new.get(row.new) : row.old !== null ? colours?.old.get(row.old) : undefined
  for (const { text, kind, colour } of pieces(row.text, row.marks, known)) {
    if (kind === 'plain' && !colour) made.append(text)
    else {
      const part = element(kind === 'mark' ? 'mark' : 'span', kind === 'unseen' ? 'unseen' : (colour ?? ''))
      if (kind === 'unseen') part.title = 'A character that does not show'
      part.textContent = text
      made.append(part)
    }
  }
  return made
}

function element(name: string, className: string): HTMLElement {
  const made = document.createElement(name)
  if (className) made.className = className
  return made
}
