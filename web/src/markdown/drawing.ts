/**
 * Blocks of a growing answer as nodes. What is drawn again is what changed, whatever else there is: of some hundred blocks usually one, and
 * of that one, when words are added to its last text, only those words. Some blocks together are a part, which is laid out when it is seen.
 */

import type { Token, Tokens } from 'marked'
import { render } from './render'
import type { Block } from './split'

/** Blocks of a part. About how high they are stands in the style. */
export const PART = 16

export class Drawing {
  private blocks: readonly Block[] = []
  private open = -1
  private readonly nodes: HTMLElement[] = []
  private readonly prose: HTMLElement

  constructor(prose: HTMLElement) {
    this.prose = prose
  }

  /** `growing`: more of the last block may come. */
  show(blocks: readonly Block[], growing: boolean): void {
    const before = this.blocks
    const open = growing ? blocks.length - 1 : -1
    while (this.nodes.length > blocks.length) this.nodes.pop()!.remove()
    while (this.prose.childElementCount > Math.ceil(blocks.length / PART)) this.prose.lastElementChild!.remove()
    let same = 0
    while (same < blocks.length && same < before.length && blocks[same] === before[same]) same++
    // What was open and is not any more is drawn once more: its code gets its colours.
    if (this.open >= 0 && this.open < same && this.open !== open) this.draw(this.open, blocks[this.open]!, false)
    for (let place = same; place < blocks.length; place++) {
      const stays = place === open && place === this.open
      if (!stays || !grow(this.nodes[place]!, before[place], blocks[place]!)) this.draw(place, blocks[place]!, place === open)
    }
    this.blocks = blocks
    this.open = open
  }

  private draw(place: number, block: Block, open: boolean): void {
    const node = (this.nodes[place] ??= this.part(place).appendChild(document.createElement('div')))
    node.replaceChildren(render(block, open))
  }

  private part(place: number): HTMLElement {
    const number = Math.floor(place / PART)
    return (this.prose.children[number] as HTMLElement | undefined) ?? this.prose.appendChild(document.createElement('div'))
  }
}

/** Puts what came into the block's last text, if that is all that changed; whether it was. */
function grow(node: HTMLElement, before: Block | undefined, now: Block): boolean {
  const [old, next] = [textAtEnd(before), textAtEnd(now)]
  // Not by their source: what a link leads to is written elsewhere.
  if (!old || !next || JSON.stringify(old.before) !== JSON.stringify(next.before)) return false
  const last = node.lastElementChild?.lastChild
  if (!(last instanceof Text) || last.data !== old.text || !next.text.startsWith(old.text)) return false
  last.appendData(next.text.slice(old.text.length))
  return true
}

/** The plain text that a paragraph ends with, and what is before it. */
function textAtEnd(block: Block | undefined): { text: string; before: readonly Token[] } | null {
  if (block?.token?.type !== 'paragraph') return null
  const tokens = (block.token as Tokens.Paragraph).tokens
  const last = tokens.at(-1) as Tokens.Text | undefined
  // What stands for another character, or for none, is the parser's.
  if (last?.type !== 'text' || last.tokens || last.escaped || /[&\0]/.test(last.text)) return null
  return { text: last.text, before: tokens.slice(0, -1) }
}
