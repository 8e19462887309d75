// @vitest-environment jsdom
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { soon } from '../../src/page/soon'

const frames: FrameRequestCallback[] = []
const frame = (): void => frames.splice(0).forEach((run) => run(0))
/** What every piece takes on the clock. */
let piece = 0

beforeEach(() => {
  vi.spyOn(window, 'requestAnimationFrame').mockImplementation((run) => frames.push(run))
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => (now += piece))
})
afterEach(() => {
  while (frames.length > 0) frame()
  vi.restoreAllMocks()
})

test('the nearest comes first, and what came later in its place', () => {
  piece = 0
  const done: number[] = []
  for (const far of [300, 0, 200]) soon(far, () => done.push(far))
  soon(100, () => done.push(100))
  expect(done).toEqual([]) // never at once: somebody is scrolling
  frame()
  expect(done).toEqual([0, 100, 200, 300])
  expect(frames.length).toBe(0)
})

test('a frame does one piece if it is long, and each frame one', () => {
  piece = 5
  const done: number[] = []
  for (const far of [1, 2, 3]) soon(far, () => done.push(far))
  const steps: number[] = []
  while (frames.length > 0) {
    frame()
    steps.push(done.length)
  }
  expect(steps).toEqual([1, 2, 3])
})

test('what was given up is not drawn', () => {
  piece = 0
  const done: string[] = []
  soon(1, () => done.push('kept'))
  soon(0, () => done.push('given up'))()
  frame()
  expect(done).toEqual(['kept'])
})
