/**
 * Rows of a diff as nodes, made at once: 2,000 lines are drawn in the time of a frame or two, and what is out of sight is not laid
 * out (`content-visibility`). Numbers and signs are drawn by the style, so that copying takes the code alone.
 */

import { pieces, paired, type Coloured, type Line, type Row } from './rows'

export type Layout = 'unified' | 'split'
/** By line, for each of the two files: the colours of its code. */
export interface Colours {
  readonly old: ReadonlyMap<number, readonly Coloured[]>
  readonly new: ReadonlyMap<number, readonly Coloured[]>
}

/** Rows that are laid out together. */
const CHUNK = 80

/** `meant`: lines of the new file, from 1, inclusive, that stand out. */
export function draw(rows: readonly Row[], layout: Layout, colours: Colours | null, meant: readonly [number, number] | null = null): DocumentFragment {
  const made = document.createDocumentFragment()
  const drawn = layout === 'split' ? paired(rows).map(({ left, right }) => pair(left, right, colours)) : rows.map((row) => one(row, colours))
  if (meant) for (const [n, row] of rows.entries()) if (row.kind !== 'told' && row.new !== null && row.new >= meant[0] && row.new <= meant[1]) drawn[n]?.classList.add('meant')
  for (let at = 0; at < drawn.length; at += CHUNK) {
    const chunk = element('div', 'chunk')
    chunk.append(...drawn.slice(at, at + CHUNK))
    chunk.style.setProperty('contain-intrinsic-height', `auto ${Math.min(CHUNK, drawn.length - at) * 1.5}em`)
    made.append(chunk)
  }
  return made
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

const SAID = { same: '', add: 'added: ', remove: 'removed: ' } as const

function code(row: Line, colours: Colours | null): HTMLElement {
  const made = element('code', 'line')
  if (SAID[row.kind]) {
    const said = element('span', 'sr-only')
    said.textContent = SAID[row.kind]
    made.append(said)
  }
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
