/**
 * A picture of a code base: files as rectangles, in their folders, as large as they matter. Pure.
 *
 * The layout is the squarified treemap of Bruls, Huizing and van Wijk (2000): rows are filled as long as that makes their rectangles
 * less oblong.
 */

export interface Leaf {
  path: string
  /** Above 0. */
  weight: number
}
export interface Box {
  x: number
  y: number
  w: number
  h: number
}
export interface Cell<L extends Leaf> extends Box {
  leaf: L
}
export interface Frame extends Box {
  /** With its "/". */
  path: string
  /** What is written over it; parents with one child are told with it. */
  label: string
  depth: number
}
export interface Layout<L extends Leaf> {
  cells: Cell<L>[]
  frames: Frame[]
}

interface Node<L extends Leaf> {
  path: string
  label: string
  weight: number
  leaf: L | null
  children: Node<L>[]
}

const HEAD = 14
const GAP = 2
/** Smaller folders are not framed: their files stand in the one around. */
const SMALLEST = 36

export function treemap<L extends Leaf>(leaves: readonly L[], width: number, height: number, deepest = 3): Layout<L> {
  const layout: Layout<L> = { cells: [], frames: [] }
  const root = grown(leaves)
  if (root.children.length > 0 && width > 0 && height > 0) fill(root, { x: 0, y: 0, w: width, h: height }, 0, deepest, layout)
  return layout
}

function grown<L extends Leaf>(leaves: readonly L[]): Node<L> {
  const root: Node<L> = { path: '', label: '', weight: 0, leaf: null, children: [] }
  const folders = new Map<string, Node<L>>([['', root]])
  const folder = (path: string): Node<L> => {
    const known = folders.get(path)
    if (known) return known
    const cut = path.lastIndexOf('/', path.length - 2) + 1
    const made: Node<L> = { path, label: path.slice(cut), weight: 0, leaf: null, children: [] }
    folders.set(path, made)
    folder(path.slice(0, cut)).children.push(made)
    return made
  }
  for (const leaf of leaves) {
    const cut = leaf.path.lastIndexOf('/') + 1
    folder(leaf.path.slice(0, cut)).children.push({ path: leaf.path, label: leaf.path.slice(cut), weight: leaf.weight, leaf, children: [] })
  }
  return weighed(root)
}

/** With the weights of folders, the heaviest first, and chains of folders with one child as one. */
function weighed<L extends Leaf>(node: Node<L>): Node<L> {
  if (node.leaf) return node
  let children = node.children.map(weighed)
  let label = node.label
  let path = node.path
  const only = children[0]
  if (children.length === 1 && only && !only.leaf && node.path !== '') {
    label += only.label
    path = only.path
    children = only.children
  }
  children.sort((a, b) => b.weight - a.weight || (a.path < b.path ? -1 : 1))
  return { path, label, leaf: null, children, weight: children.reduce((sum, child) => sum + child.weight, 0) }
}

function fill<L extends Leaf>(node: Node<L>, box: Box, depth: number, deepest: number, out: Layout<L>): void {
  for (const [child, place] of squarified(node.children, box)) {
    if (child.leaf) out.cells.push({ ...place, leaf: child.leaf })
    else if (depth < deepest && place.w > SMALLEST && place.h > SMALLEST) {
      out.frames.push({ ...place, path: child.path, label: child.label, depth })
      const inner = { x: place.x + GAP, y: place.y + HEAD, w: place.w - 2 * GAP, h: place.h - HEAD - GAP }
      fill(child, inner, depth + 1, deepest, out)
    } else fill(child, place, deepest, deepest, out)
  }
}

function squarified<L extends Leaf>(nodes: readonly Node<L>[], box: Box): [Node<L>, Box][] {
  const total = nodes.reduce((sum, node) => sum + node.weight, 0)
  const made: [Node<L>, Box][] = []
  let { x, y, w, h } = box
  const scale = total > 0 ? (w * h) / total : 0
  let at = 0
  while (at < nodes.length) {
    const side = Math.min(w, h)
    let end = at + 1
    let sum = nodes[at]!.weight * scale
    let worst = oblong(sum, sum, sum, side)
    while (end < nodes.length) {
      const next = nodes[end]!.weight * scale
      const grown = oblong(sum + next, nodes[at]!.weight * scale, next, side)
      if (grown > worst) break
      worst = grown
      sum += next
      end += 1
    }
    const thick = side > 0 ? sum / side : 0
    let along = 0
    for (const node of nodes.slice(at, end)) {
      const long = thick > 0 ? (node.weight * scale) / thick : 0
      made.push([node, w >= h ? { x, y: y + along, w: thick, h: long } : { x: x + along, y, w: long, h: thick }])
      along += long
    }
    if (w >= h) {
      x += thick
      w = Math.max(0, w - thick)
    } else {
      y += thick
      h = Math.max(0, h - thick)
    }
    at = end
  }
  return made
}

/** The worst ratio of sides in a row of this area whose largest and smallest rectangles are these. */
function oblong(sum: number, largest: number, smallest: number, side: number): number {
  if (sum <= 0 || smallest <= 0) return Infinity
  const square = side * side
  return Math.max((square * largest) / (sum * sum), (sum * sum) / (square * smallest))
}

/** The cell that is next to one in a direction, for who goes by keyboard: the nearest whose middle lies that way. */
export function beside<L extends Leaf>(cells: readonly Cell<L>[], from: number, dx: number, dy: number): number {
  const here = cells[from]
  if (!here) return cells.length > 0 ? 0 : -1
  const middle = (box: Box): [number, number] => [box.x + box.w / 2, box.y + box.h / 2]
  const [x, y] = middle(here)
  let best = from
  let least = Infinity
  cells.forEach((cell, n) => {
    const [cx, cy] = middle(cell)
    const ahead = (cx - x) * dx + (cy - y) * dy
    const off = Math.abs((cx - x) * dy) + Math.abs((cy - y) * dx)
    if (n !== from && ahead > 0 && ahead + 2 * off < least) {
      least = ahead + 2 * off
      best = n
    }
  })
  return best
}
