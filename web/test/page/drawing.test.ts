// @vitest-environment jsdom
/** However an answer grows, what is drawn is what it would be if it were drawn at once; and drawing it costs what has changed. */

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Drawing, PART } from '../../src/markdown/drawing'
import { EMPTY, split, type Split } from '../../src/markdown/split'

const piece = fc.constantFrom(
  'word', ' two words', ' ', '\n', '\n\n', '\n\n', '# Head', '- ', '1. ', '> ', '```', '```py\n', '\n```\n', '`', '`src/hub.py:2`', '*', '**', '_', '[x](http://y/z)', '[x]', '[x]: http://y', '[x]: http://y/a\n', '&amp;',
  '&', '<', '<b>', '<!--', '\\', '\\*', '!', '![i](u)', 'http://a.b', 'é', '😀', '\0', '\r\n', '| a | b |\n|---|---|\n| 1 | 2 |', '  \n',
)
const text = fc.array(piece, { maxLength: 50 }).map((pieces) => pieces.join(''))
const cuts = fc.array(fc.nat(300), { maxLength: 40 })

/** Draws a text as it grows, cut at these places; the last time it may be finished. */
function grown(whole: string, cuts: readonly number[], finished: boolean): { prose: HTMLElement; now: Split } {
  const prose = document.createElement('div')
  const drawing = new Drawing(prose)
  let now = EMPTY
  for (const cut of [...new Set(cuts)].sort((a, b) => a - b)) {
    if (cut < whole.length) drawing.show((now = split(whole.slice(0, cut), false, now)).blocks, true)
  }
  drawing.show((now = split(whole, finished, now)).blocks, !finished)
  return { prose, now }
}

function once({ blocks }: Split, growing: boolean): HTMLElement {
  const prose = document.createElement('div')
  new Drawing(prose).show(blocks, growing)
  return prose
}

/** What is in it; a text in two pieces is the same text. */
function content(prose: HTMLElement): string {
  prose.normalize()
  return prose.innerHTML
}

describe('an answer that grows', () => {
  test.each([false, true])('is what it would be at once (finished: %s)', (finished) =>
    void fc.assert(
      fc.property(text, cuts, (whole, cuts) => {
        const { prose, now } = grown(whole, cuts, finished)
        expect(content(prose)).toBe(content(once(now, !finished)))
      }),
      { numRuns: 300 },
    ),
  )

  test('a link that is led elsewhere by what comes after the text leads there', () => {
    const whole = 'See [x] now\n\n[x]: http://y/long'
    for (let cut = 1; cut <= whole.length; cut++) {
      const { prose, now } = grown(whole.slice(0, cut), [...Array(cut).keys()], false)
      expect(content(prose)).toBe(content(once(now, true)))
    }
  })

  test('an answer that becomes shorter, as when it is said anew, leaves nothing behind', () => {
    const prose = document.createElement('div')
    const drawing = new Drawing(prose)
    const long = split(Array.from({ length: 3 * PART }, (_, n) => `Paragraph ${n}.`).join('\n\n'), false)
    drawing.show(long.blocks, true)
    expect(prose.childElementCount).toBe(3)
    const short = split('Anew.', false)
    drawing.show(short.blocks, true)
    expect(content(prose)).toBe(content(once(short, true)))
    drawing.show([], true)
    expect(prose.childElementCount).toBe(0)
  })

  test('makes no element for words that are added to a paragraph, however long the answer is', () => {
    const prose = document.createElement('div')
    const drawing = new Drawing(prose)
    let whole = `${'A paragraph with `code` and **more**.\n\n'.repeat(200)}The last of *them* begins`
    let now = split(whole, false)
    drawing.show(now.blocks, true)
    const before = [...prose.querySelectorAll('*')]
    for (let n = 0; n < 50; n++) {
      whole += ` and ${n} words`
      now = split(whole, false, now)
      drawing.show(now.blocks, true)
    }
    const after = [...prose.querySelectorAll('*')]
    expect(after.length).toBe(before.length)
    expect(after.every((element, place) => element === before[place])).toBe(true)
    expect(prose.lastElementChild!.lastElementChild!.textContent.trim()).toMatch(/^The last of them begins and 0 words .* and 49 words$/)
  })
})
