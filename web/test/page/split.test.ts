/** The incremental splitter gives what splitting the whole text gives, whatever the pieces it came in. */

import fc from 'fast-check'
import { Marked } from 'marked'
import { describe, expect, test } from 'vitest'
import { EMPTY, split, type Split } from '../../src/markdown/split'

const piece = fc.constantFrom(
  'word', 'two words', ' ', '  ', '    ', '\n', '\n\n', '\n\n\n', '\r\n', '# Head', '## H', '- ', '* ', '1. ', '2. ', '  - ', '    ', '> ', '```', '```py\n', '\n```\n', '~~~', '`', '`x`', '*', '**', '_', '~~',
  '| a | b |', '\n|---|---|\n', '| 1 | 2 |', '---', '===', '\n===\n', '<div>', '</div>', '<!--', '-->', '<script>', '</script>', '[x](y)', '[x]', '![i](u)', '[x]: http://y\n', '- [ ] ', '- [x] ', '\\', '&amp;', 'é', '😀', '\t', '.', ':', 'http://a.b',
)
const text = fc.array(piece, { maxLength: 60 }).map((pieces) => pieces.join(''))
const cuts = fc.array(fc.nat(400), { maxLength: 25 })

/** The text as it grows, cut at these places. */
function grow(whole: string, cuts: readonly number[]): Split {
  let now = EMPTY
  for (const cut of [...cuts].sort((a, b) => a - b)) if (cut < whole.length) now = split(whole.slice(0, cut), false, now)
  return split(whole, false, now)
}

const raws = ({ blocks }: Split): string[] => blocks.map(({ raw }) => raw)
const marked = new Marked({ gfm: true })
const html = ({ blocks }: Split): string => blocks.map(({ token }) => (token ? marked.parser([token]) : '')).join('')
/** Link definitions that come after their use are honoured when the text is finished. */
const withoutDefinitions = text.filter((whole) => !whole.includes(']: '))

describe('split', () => {
  test('loses and adds nothing', () =>
    fc.assert(fc.property(text, cuts, (whole, cuts) => void expect(raws(grow(whole, cuts)).join('')).toBe(whole.replace(/\r\n?/g, '\n'))), { numRuns: 500 }))

  test('in pieces as in one', () =>
    fc.assert(fc.property(withoutDefinitions, cuts, (whole, cuts) => void expect(html(grow(whole, cuts))).toBe(html(split(whole, false)))), { numRuns: 500 }))

  test('finished, it is what the whole text gives, definitions included', () =>
    fc.assert(
      fc.property(text, cuts, (whole, cuts) => {
        const finished = split(whole, true, grow(whole, cuts))
        expect(html(finished)).toBe(html(split(whole, true)))
        expect(html(finished)).toBe(marked.parse(whole.replace(/\r\n?/g, '\n')))
      }),
      { numRuns: 500 },
    ))

  test('a definition that was cut in the middle counts as it is in the end', () => {
    const whole = 'One\n\ntwo\n\nSee [x].\n\n[x]: http://y\n\nMore.'
    expect(html(split(whole, true, grow(whole, [whole.indexOf('ttp')])))).toBe(html(split(whole, true)))
  })

  test('control: keeping all but the last block is not enough', () => {
    const whole = '1. a\n\n2. b'
    let kept = split('', false)
    for (let cut = 1; cut <= whole.length; cut++) {
      const stable = kept.blocks.slice(0, -1)
      const rest = whole.slice(stable.reduce((length, { raw }) => length + raw.length, 0), cut)
      kept = { ...kept, blocks: [...stable, ...split(rest, false).blocks] }
    }
    expect(html(kept)).not.toBe(html(split(whole, false)))
    expect(html(grow(whole, [1, 2, 3, 4, 5, 6, 7, 8, 9]))).toBe(html(split(whole, false)))
  })

  test('blocks that did not change are the same objects: nothing is drawn again', () => {
    const before = split('# One\n\ntwo\n\nthree\n\nfour', false)
    const after = split('# One\n\ntwo\n\nthree\n\nfour and more\n\nfive', false, before)
    expect(after.blocks.slice(0, 3)).toEqual(before.blocks.slice(0, 3))
    for (const place of [0, 1, 2]) expect(after.blocks[place]).toBe(before.blocks[place])
  })

  test('the cost of a piece does not grow with the answer', () => {
    // Counted, not timed: what is read again is at most the last two blocks.
    const paragraph = 'Some words that make a paragraph of a usual length, again and again.\n\n'
    let now = EMPTY
    let whole = ''
    for (let i = 0; i < 600; i++) {
      whole += paragraph
      const next = split(whole, false, now)
      const same = next.blocks.filter((block, place) => block === now.blocks[place]).length
      expect(next.blocks.length - same).toBeLessThanOrEqual(2)
      now = next
    }
  })
})
