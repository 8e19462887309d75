/** What differs between two sequences: Myers' algorithm, with a bound on its work. Pure. */

/** `a[from[0] … from[1]]` became `b[to[0] … to[1]]`; ends are exclusive. */
export interface Change {
  readonly from: readonly [number, number]
  readonly to: readonly [number, number]
}

/** How many edits are looked for before what is left counts as changed altogether: the work grows with their square. */
const MOST_EDITS = 1000

/** The places in which two sequences differ, in order; what lies between them is the same in both. */
export function changes(a: readonly string[], b: readonly string[], most = MOST_EDITS): Change[] {
  let head = 0
  while (head < a.length && head < b.length && a[head] === b[head]) head++
  let tail = 0
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++
  const [n, m] = [a.length - head - tail, b.length - head - tail]
  if (n === 0 && m === 0) return []
  const whole: Change = { from: [head, head + n], to: [head, head + m] }
  if (n === 0 || m === 0) return [whole]

  // The furthest place in `a` that is reached with d edits on each diagonal, for every d: the way back is read from them.
  const furthest = new Int32Array(n + m + 3)
  const zero = m + 1
  const trail: Int32Array[] = []
  for (let d = 0; d <= Math.min(n + m, most); d++) {
    for (let k = -d; k <= d; k += 2) {
      if (k < -m || k > n) continue
      const down = k === -d || (k !== d && furthest[zero + k - 1]! < furthest[zero + k + 1]!)
      let x = down ? furthest[zero + k + 1]! : furthest[zero + k - 1]! + 1
      while (x < n && x - k < m && a[head + x] === b[head + x - k]) x++
      furthest[zero + k] = x
      if (x >= n && x - k >= m) return back(trail, n, m, zero, head)
    }
    trail.push(furthest.slice(Math.max(0, zero - d - 1), zero + d + 2))
  }
  return [whole]
}

function back(trail: readonly Int32Array[], n: number, m: number, zero: number, head: number): Change[] {
  const found: { from: [number, number]; to: [number, number] }[] = []
  let [x, y] = [n, m]
  for (let d = trail.length; d > 0; d--) {
    const before = trail[d - 1]!
    const offset = Math.max(0, zero - (d - 1) - 1)
    const at = (k: number): number => before[zero + k - offset] ?? -1
    const k = x - y
    const down = k === -d || (k !== d && at(k - 1) < at(k + 1))
    const px = down ? at(k + 1) : at(k - 1)
    const py = px - (down ? k + 1 : k - 1)
    const edit = { from: [head + px, head + (down ? px : px + 1)] as [number, number], to: [head + py, head + (down ? py + 1 : py)] as [number, number] }
    const next = found[0]
    // Edits that touch are one change.
    if (next && next.from[0] === edit.from[1] && next.to[0] === edit.to[1]) found[0] = { from: [edit.from[0], next.from[1]], to: [edit.to[0], next.to[1]] }
    else found.unshift(edit)
    ;[x, y] = [px, py]
  }
  return found
}
