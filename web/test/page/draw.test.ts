// @vitest-environment jsdom
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { draw, type Colours } from '../../src/diff/draw'
import type { Row } from '../../src/diff/rows'

const lines = (count: number, mark = 'line'): Row[] => Array.from({ length: count }, (_, n) => ({ kind: 'add', text: `${mark} ${n}`, old: null, new: n + 1, marks: [] }))
const shown = (node: HTMLElement): number => node.querySelectorAll('.row').length
const texts = (node: HTMLElement): (string | null)[] => [...node.querySelectorAll('.line')].map((line) => line.textContent)

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('few rows are there at once, of many the first, and all of them in a while, in their order', () => {
  const node = document.createElement('div')
  draw(node, lines(100), 'unified', null)
  expect(shown(node)).toBe(100)
  const many = document.createElement('div')
  draw(many, lines(2000), 'unified', null)
  expect(shown(many)).toBe(160)
  expect(many.children.length).toBe(50) // each has its height from the beginning
  expect([...many.children].every((chunk) => (chunk as HTMLElement).style.minHeight !== '' || chunk.firstChild)).toBe(true)
  vi.runAllTimers()
  expect(texts(many)).toEqual(lines(2000).map((row) => (row as { text: string }).text))
  expect([...many.children].some((chunk) => (chunk as HTMLElement).style.minHeight)).toBe(false)
})

test('a slice is short', () => {
  const clock = vi.spyOn(performance, 'now')
  let now = 0
  clock.mockImplementation(() => (now += 4)) // every look at the clock finds 4 ms gone: one chunk a slice
  const node = document.createElement('div')
  draw(node, lines(320), 'unified', null)
  const steps: number[] = []
  while (vi.getTimerCount() > 0) {
    vi.runOnlyPendingTimers()
    steps.push(shown(node))
  }
  clock.mockRestore()
  expect(steps).toEqual([200, 240, 280, 320])
})

test('lines that are meant are there at once, however far down', () => {
  const node = document.createElement('div')
  draw(node, lines(2000), 'unified', null, [1500, 1501])
  expect([...node.querySelectorAll('.meant .line')].map((line) => line.textContent)).toEqual(['line 1499', 'line 1500'])
})

test('with its colours it keeps its place; other rows begin anew; what was ended draws no more', () => {
  const node = document.createElement('div')
  const rows = lines(400)
  draw(node, rows, 'unified', null)
  vi.runAllTimers()
  const [first] = node.children
  const colours: Colours = { old: new Map(), new: new Map([[1, [{ text: 'line 0', colour: 'hljs-x' }]]]) }
  draw(node, rows, 'unified', colours)
  expect(node.children[0]).toBe(first)
  expect(node.querySelector('.hljs-x')?.textContent).toBe('line 0')
  expect(shown(node)).toBe(400)
  const end = draw(node, lines(400, 'other'), 'unified', null)
  expect(shown(node)).toBe(160) // nothing of the rows before is left
  end()
  vi.runAllTimers()
  expect(shown(node)).toBe(160)
  draw(node, lines(10), 'split', null)
  expect(node.querySelectorAll('.pair').length).toBe(10)
})
