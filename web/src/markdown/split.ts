/**
 * A growing markdown text in blocks, so that a new piece costs what its block costs and not what the answer costs.
 *
 * Only the last two blocks can still change when text is added: everything before them is kept as it is. A link definition that
 * comes after its use is honoured when the text is finished, and then the whole is split once more.
 */

import { Marked, type Token, type TokensList } from 'marked'

export interface Block {
  /** The block's source; together the blocks are the text. */
  readonly raw: string
  /** What shows something; what surrounds it (blank lines, link definitions) is only part of `raw`. */
  readonly token: Token | null
}

export interface Split {
  readonly text: string
  readonly blocks: readonly Block[]
  readonly finished: boolean
  readonly links: TokensList['links']
}

export const EMPTY: Split = { text: '', blocks: [], finished: false, links: {} }

const marked = new Marked({ gfm: true })

/** The blocks of this text, reusing those of its beginning. */
export function split(source: string, finished: boolean, before: Split = EMPTY): Split {
  const text = source.includes('\r') ? source.replace(/\r\n?/g, '\n') : source
  if (text === before.text && finished === before.finished) return before
  const grows = !finished && text.startsWith(before.text) && before.blocks.length > 2
  const kept = grows ? before.blocks.slice(0, -2) : []
  const rest = grows ? text.slice(kept.reduce((length, block) => length + block.raw.length, 0)) : text
  const lexer = new marked.Lexer(marked.defaults)
  Object.assign(lexer.tokens.links, grows ? before.links : {})
  const tokens = lexer.lex(rest)
  const blocks = [...kept]
  let at = 0
  for (const token of tokens) {
    // A token's `raw` is as long as its source, but blank ends of lists are tidied in it.
    const raw = rest.slice(at, (at += token.raw.length))
    const last = blocks.at(-1)
    if (token.type !== 'space' && token.type !== 'def') blocks.push({ raw, token })
    else if (last && blocks.length > kept.length) blocks[blocks.length - 1] = { ...last, raw: last.raw + raw }
    else blocks.push({ raw, token: null })
  }
  // A block whose text is as it was stays the same object: nothing is drawn again.
  const sameLinks = JSON.stringify(before.links) === JSON.stringify(tokens.links)
  for (let place = kept.length; sameLinks && place < blocks.length; place++) {
    const old = before.blocks[place]
    if (old?.raw === blocks[place]!.raw) blocks[place] = old
  }
  return { text, blocks, finished, links: tokens.links }
}
