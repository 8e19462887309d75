import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import hljs from 'highlight.js/lib/core'
import typescript from 'highlight.js/lib/languages/typescript'
import { changes } from '../../src/diff/changes'
import { languageOf, perLine } from '../../src/diff/colours'
import { hasUnseen, paired, pieces, rowsBetween, rowsOf, type Line, type Row } from '../../src/diff/rows'

const isLine = (row: Row): row is Line => row.kind !== 'told'
const word = fc.constantFrom('a', 'b', 'c', 'd', 'e')
const text = fc.array(fc.constantFrom('x = 1', 'y = 2', 'def f():', '', '  return x')).map((all) => all.map((line) => `${line}\n`).join(''))

describe('what differs', () => {
  test('what is left is the same, and what is put in makes the other', () => {
    fc.assert(
      fc.property(fc.array(word), fc.array(word), fc.integer({ min: 0, max: 30 }), (a, b, most) => {
        const made: string[] = []
        let at = 0
        for (const { from, to } of changes(a, b, most)) {
          expect(from[0]).toBeGreaterThanOrEqual(at)
          made.push(...a.slice(at, from[0]), ...b.slice(...to))
          at = from[1]
        }
        expect([...made, ...a.slice(at)]).toEqual(b)
      }),
    )
  })
  test('no more than has to be', () => {
    fc.assert(
      fc.property(fc.array(word, { maxLength: 12 }), fc.array(word, { maxLength: 12 }), (a, b) => {
        const edits = changes(a, b).reduce((sum, { from, to }) => sum + from[1] - from[0] + to[1] - to[0], 0)
        expect(edits).toBe(a.length + b.length - 2 * longest(a, b))
      }),
    )
  })
  test('two texts that have nothing in common cost little', () => {
    const [a, b] = [0, 1].map((side) => Array.from({ length: 20_000 }, (_, n) => `${side} ${n}`)) as [string[], string[]]
    expect(changes(a, b, 100)).toEqual([{ from: [0, 20_000], to: [0, 20_000] }])
  })
})

/** The length of the longest common subsequence, by the book. */
function longest(a: string[], b: string[]): number {
  const row = new Array<number>(b.length + 1).fill(0)
  for (const x of a) {
    let diagonal = 0
    for (const [n, y] of b.entries()) {
      const above = row[n + 1]!
      row[n + 1] = x === y ? diagonal + 1 : Math.max(above, row[n]!)
      diagonal = above
    }
  }
  return row[b.length]!
}

describe('rows', () => {
  test('of two texts: the numbers, and every line that differs', () => {
    fc.assert(
      fc.property(text, text, (before, after) => {
        const rows = rowsBetween(before, after).filter(isLine)
        const [a, b] = [before.split('\n'), after.split('\n')]
        for (const row of rows) {
          if (row.old !== null) expect(row.text).toBe(a[row.old - 1])
          if (row.new !== null) expect(row.text).toBe(b[row.new - 1])
          for (const [from, to] of row.marks) expect(from < to && to <= row.text.length).toBe(true)
        }
        const apply = a.slice(0, -1).filter((_, n) => !rows.some((row) => row.kind === 'remove' && row.old === n + 1))
        for (const row of rows.filter(({ kind }) => kind === 'add')) apply.splice(row.new! - 1, 0, row.text)
        expect(apply).toEqual(b.slice(0, -1))
      }),
    )
  })
  const HUNK = '@@ -3,3 +3,4 @@ def f():\n same\n-x = old_name(1)\n+x = new_name(1)\n+y = 2\n last\n\\ No newline at end of file\n'
  test('of a hunk', () => {
    const rows = rowsOf(HUNK)
    expect(rows.map((row) => (isLine(row) ? `${row.kind} ${row.old} ${row.new} ${row.text}` : `· ${row.text}`))).toEqual([
      '· def f():',
      'same 3 3 same',
      'remove 4 null x = old_name(1)',
      'add null 4 x = new_name(1)',
      'add null 5 y = 2',
      'same 5 6 last',
      '· No newline at end of file',
    ])
    const [gone, come] = rows.filter(isLine).slice(1) as [Line, Line]
    expect(gone.marks.map(([from, to]) => gone.text.slice(from, to))).toEqual(['old_name'])
    expect(come.marks.map(([from, to]) => come.text.slice(from, to))).toEqual(['new_name'])
  })
  test('side by side nothing is lost', () => {
    const pairs = paired(rowsOf(HUNK))
    expect(pairs.map(({ left, right }) => [left?.text, right?.text])).toEqual([
      ['def f():', 'def f():'],
      ['same', 'same'],
      ['x = old_name(1)', 'x = new_name(1)'],
      [undefined, 'y = 2'],
      ['last', 'last'],
      ['No newline at end of file', 'No newline at end of file'],
    ])
  })
  test('a created file begins at its first line, a deleted one ends at its last', () => {
    expect(rowsOf('@@ -0,0 +1,2 @@\n+a\n+b\n').filter(isLine).map((row) => row.new)).toEqual([1, 2])
    expect(rowsOf('@@ -1 +0,0 @@\n-a\n').filter(isLine).map((row) => row.old)).toEqual([1])
  })
  test('what is no hunk of lines is told', () => {
    expect(rowsOf('binary file, 12 bytes → 14 bytes')).toEqual([{ kind: 'told', text: 'binary file, 12 bytes → 14 bytes' }])
  })
  test('lines with little in common have no marks', () => {
    const rows = rowsOf('@@ -1 +1 @@\n-import os\n+print(session.value)\n').filter(isLine)
    expect(rows.map(({ marks }) => marks)).toEqual([[], []])
  })
})

describe('pieces', () => {
  test('are the line, with its marks and its colours', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ minLength: 1, unit: 'grapheme-ascii' })), fc.array(fc.tuple(fc.nat(20), fc.nat(20))), (parts, spans) => {
        const line = parts.join('')
        const marks = spans.map(([from, size]) => [Math.min(from, line.length), Math.min(from + size, line.length)] as const)
        const made = pieces(line, marks, parts.map((part, n) => ({ text: part, colour: n % 2 ? 'odd' : undefined })))
        expect(made.map((piece) => piece.text).join('')).toBe(line)
        const marked = [...line].map((_, at) => marks.some(([from, to]) => from <= at && at < to))
        expect(made.flatMap((piece) => [...piece.text].map(() => piece.kind === 'mark'))).toEqual(marked)
        const odd = parts.flatMap((part, n) => [...part].map(() => (n % 2 ? 'odd' : undefined)))
        expect(made.flatMap((piece) => [...piece.text].map(() => piece.colour))).toEqual(odd)
      }),
    )
  })
  test.each([
    ['bad bidi', 'if access\u202e level', 'U+202E'],
    ['a blank of no width', 'admin\u200b', 'U+200B'],
    ['a tag', 'x\u{e0041}', 'U+E0041'],
    ['a control character, as the server shows it', 'a␛[8mb', 'U+001B'],
    ['a blank that is none', 'a\u00a0b', 'U+00A0'],
  ])('%s is shown', (_, line, name) => {
    expect(hasUnseen(line)).toBe(true)
    const made = pieces(line)
    expect(made.filter(({ kind }) => kind === 'unseen').map((piece) => piece.text)).toEqual([name])
    expect(made.filter(({ kind }) => kind !== 'unseen').some((piece) => hasUnseen(piece.text))).toBe(false)
  })
  test('ordinary text, in any script, is left alone', () => {
    for (const line of ['plain\ttext', 'größer 日本語 עברית', '👩 emoji']) expect(hasUnseen(line)).toBe(false)
  })
})

describe('colours', () => {
  hljs.registerLanguage('typescript', typescript)
  test('are those of the highlighter, line by line, and the text stays what it was', () => {
    const token = fc.constantFrom('const', ' ', '\n', '"a&b"', '`t${x}\ny`', '<b>', '</span>', "'", '// c & d', '/*', '*/', '&lt;', 'f(', ')', '42')
    fc.assert(
      fc.property(fc.array(token).map((all) => all.join('')), (text) => {
        const lines = perLine(hljs.highlight(text, { language: 'typescript' }).value)
        expect(lines.map((line) => line.map((piece) => piece.text).join('')).join('\n')).toBe(text)
      }),
    )
    const [first, second] = perLine(hljs.highlight('const x = `a\nb`', { language: 'typescript' }).value)
    expect(first![0]).toEqual({ text: 'const', colour: 'hljs-keyword' })
    expect(second).toEqual([{ text: 'b`', colour: 'hljs-string' }])
  })
  test.each([
    ['src/a.PY', 'py'],
    ['Makefile', 'makefile'],
    ['a/b.test.ts', 'ts'],
    ['LICENSE', ''],
    ['.env', 'env'],
  ])('the language of %s is %s', (path, language) => expect(languageOf(path)).toBe(language))
})
