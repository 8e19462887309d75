/**
 * Drawing that is not seen yet, in pieces between frames: each frame does what is nearest, for some milliseconds, so that scrolling
 * goes on meanwhile.
 */

import { flushSync } from 'svelte'

const SLICE_MS = 2

interface Piece {
  /** Pixels from what is seen. */
  far: number
  draw: () => void
}
const waiting: Piece[] = []
let asked = false

/** Draws in one of the next frames, the nearest first. Returns what gives it up. */
export function soon(far: number, draw: () => void): () => void {
  const piece = { far, draw }
  const at = waiting.findIndex((other) => other.far > far)
  waiting.splice(at < 0 ? waiting.length : at, 0, piece)
  if (!asked) requestAnimationFrame(slice)
  asked = true
  return () => {
    const at = waiting.indexOf(piece)
    if (at >= 0) waiting.splice(at, 1)
  }
}

function slice(): void {
  const until = performance.now() + SLICE_MS
  while (waiting.length > 0) {
    waiting.shift()!.draw()
    flushSync()
    if (performance.now() >= until) break
  }
  asked = waiting.length > 0
  if (asked) requestAnimationFrame(slice)
}
