/** A hunk of a unified diff, or two texts, as rows to be drawn: numbered, paired, with what changed within a line. Pure. */

import { changes } from './changes'

/** Characters from and to (exclusive) that are new or gone within their line. */
export type Mark = readonly [from: number, to: number]

export interface Line {
  readonly kind: 'same' | 'add' | 'remove'
  readonly text: string
  /** From 1; null where the line is not in that file. */
  readonly old: number | null
  readonly new: number | null
  readonly marks: readonly Mark[]
}
/** What is told beside the lines: where they are, that a last newline is missing, what a binary file became. */
export interface Told {
  readonly kind: 'told'
  readonly text: string
}
export type Row = Line | Told

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** The rows of a hunk as the log has it. What is not a hunk of lines is told as it is. */
export function rowsOf(unified: string): Row[] {
  const rows: (Writable<Line> | Told)[] = []
  const source = unified.endsWith('\n') ? unified.slice(0, -1).split('\n') : unified.split('\n')
  const at = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)/.exec(source[0] ?? '')
  if (!at) return source.map((text) => ({ kind: 'told', text }))
  // An empty range names the line before it.
  let [old, now] = [Number(at[1]) + (at[2] === '0' ? 1 : 0), Number(at[3]) + (at[4] === '0' ? 1 : 0)]
  if (at[5]) rows.push({ kind: 'told', text: at[5] })
  for (const line of source.slice(1)) {
    const text = line.slice(1)
    if (line.startsWith('+')) rows.push({ kind: 'add', text, old: null, new: now++, marks: [] })
    else if (line.startsWith('-')) rows.push({ kind: 'remove', text, old: old++, new: null, marks: [] })
    else if (line.startsWith('\\')) rows.push({ kind: 'told', text: line.slice(2) })
    else rows.push({ kind: 'same', text, old: old++, new: now++, marks: [] })
  }
  mark(rows)
  return rows
}

const AROUND = 3

/** The same for two texts, with the lines around what changed; what is left out between is told. */
export function rowsBetween(before: string, after: string): Row[] {
  const [a, b] = [lines(before), lines(after)]
  const rows: (Writable<Line> | Told)[] = []
  let [old, now] = [0, 0]
  const same = (count: number, last: boolean, first: boolean) => {
    const [top, bottom] = [first ? 0 : AROUND, last ? 0 : AROUND]
    for (let i = 0; i < count; i++, old++, now++) {
      if (i >= top && i < count - bottom && count > top + bottom + 1) {
        const skipped = count - top - bottom
        rows.push({ kind: 'told', text: `${skipped.toLocaleString('en')} lines that are the same` })
        ;[i, old, now] = [i + skipped - 1, old + skipped - 1, now + skipped - 1]
      } else rows.push({ kind: 'same', text: a[old]!, old: old + 1, new: now + 1, marks: [] })
    }
  }
  const found = changes(a, b)
  for (const [n, { from, to }] of found.entries()) {
    same(from[0] - old, false, n === 0)
    while (old < from[1]) rows.push({ kind: 'remove', text: a[old++]!, old, new: null, marks: [] })
    while (now < to[1]) rows.push({ kind: 'add', text: b[now++]!, old: null, new: now, marks: [] })
  }
  same(a.length - old, true, found.length === 0)
  mark(rows)
  return rows
}

const lines = (text: string): string[] => (text === '' ? [] : (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n'))

/** Side by side: what went stands beside what came in its place. */
export function paired(rows: readonly Row[]): { left: Row | null; right: Row | null }[] {
  const pairs: { left: Row | null; right: Row | null }[] = []
  for (const block of blocks(rows)) {
    if ('row' in block) pairs.push({ left: block.row, right: block.row })
    else for (let i = 0; i < Math.max(block.removed.length, block.added.length); i++) pairs.push({ left: block.removed[i] ?? null, right: block.added[i] ?? null })
  }
  return pairs
}

type Block<L> = { row: Row } | { removed: L[]; added: L[] }

function blocks<L extends Line>(rows: readonly (L | Told)[]): Block<L>[] {
  const made: Block<L>[] = []
  for (const row of rows) {
    const last = made.at(-1)
    if (row.kind === 'remove') {
      if (last && 'removed' in last && last.added.length === 0) last.removed.push(row)
      else made.push({ removed: [row], added: [] })
    } else if (row.kind === 'add') {
      if (last && 'removed' in last) last.added.push(row)
      else made.push({ removed: [], added: [row] })
    } else made.push({ row })
  }
  return made
}

/** Longer lines are shown without marks: nobody compares them by eye. */
const MARKED_CHARS = 1000

/** Marks the words that changed, in lines that took each other's place and have enough in common to be compared. */
function mark(rows: (Writable<Line> | Told)[]): void {
  for (const block of blocks(rows)) {
    if (!('removed' in block)) continue
    for (const [n, gone] of block.removed.entries()) {
      const come = block.added[n]
      if (!come || gone.text.length > MARKED_CHARS || come.text.length > MARKED_CHARS) continue
      const [a, b] = [words(gone.text), words(come.text)]
      const found = changes(a, b)
      const seen = (parts: readonly string[]) => parts.join('').replace(/\s+/g, '').length
      const kept = seen(a) - found.reduce((sum, { from }) => sum + seen(a.slice(...from)), 0)
      if (kept * 3 < Math.max(seen(a), seen(b))) continue
      gone.marks = found.map(({ from }) => span(a, from)).filter(([from, to]) => to > from)
      come.marks = found.map(({ to }) => span(b, to)).filter(([from, to]) => to > from)
    }
  }
}

const words = (text: string): string[] => text.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) ?? []
const span = (parts: readonly string[], [from, to]: readonly [number, number]): Mark => {
  const start = parts.slice(0, from).join('').length
  return [start, start + parts.slice(from, to).join('').length]
}

/** Characters that change how a line reads and show nothing themselves: bidi controls, zero-width ones, tags, odd blanks, control pictures. */
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2400-\u2424\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]/gu

export interface Piece {
  readonly text: string
  readonly kind: 'plain' | 'mark' | 'unseen'
  /** Colour class, for code. */
  readonly colour?: string | undefined
}

/** What is known of a stretch of a line: its colour. */
export interface Coloured {
  readonly text: string
  readonly colour: string | undefined
}

/** A line in pieces: marked, coloured, and with nothing in it that cannot be seen. `colours`: together the line's text, or none. */
export function pieces(text: string, marks: readonly Mark[] = [], colours: readonly Coloured[] = []): Piece[] {
  const cuts = new Set<number>([0, text.length])
  for (const [from, to] of marks) cuts.add(from).add(to)
  const colourAt = new Map<number, string | undefined>()
  let at = 0
  for (const { text: part, colour } of colours) {
    cuts.add(at)
    colourAt.set(at, colour)
    at += part.length
  }
  const unseen = new Map<number, string>()
  for (const match of text.matchAll(UNSEEN)) {
    cuts.add(match.index).add(match.index + match[0].length)
    unseen.set(match.index, match[0])
  }
  const made: Piece[] = []
  const places = [...cuts].sort((a, b) => a - b)
  let colour: string | undefined
  for (const [n, from] of places.slice(0, -1).entries()) {
    if (colourAt.has(from)) colour = colourAt.get(from)
    const hidden = unseen.get(from)
    const marked = marks.some(([start, end]) => start <= from && from < end)
    if (hidden) made.push({ text: nameOf(hidden), kind: 'unseen' })
    else made.push({ text: text.slice(from, places[n + 1]), kind: marked ? 'mark' : 'plain', colour })
  }
  return made
}

const nameOf = (char: string): string => {
  const code = char.codePointAt(0)!
  // The server writes control characters as their pictures.
  const point = code >= 0x2400 && code <= 0x241f ? code - 0x2400 : code === 0x2421 ? 0x7f : code
  return `U+${point.toString(16).toUpperCase().padStart(4, '0')}`
}
export const hasUnseen = (text: string): boolean => new RegExp(UNSEEN).test(text)
