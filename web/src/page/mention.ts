/** What is being typed at the caret: a file or a name after `@`, or an action after `/` at the beginning. Pure. */

export interface Mention {
  kind: 'code' | 'action'
  /** Without its mark. */
  text: string
  /** Where it is, the mark included. */
  start: number
  end: number
}

const CODE = /(?:^|[\s([{,;"'`])@([^\s@"'`]{0,100})$/
const ACTION = /^\/([a-z]*)$/

export function mentionAt(text: string, caret: number): Mention | null {
  const before = text.slice(0, caret)
  const action = ACTION.exec(before)
  if (action) return { kind: 'action', text: action[1]!, start: 0, end: caret }
  const code = CODE.exec(before)
  if (code) return { kind: 'code', text: code[1]!, start: caret - code[1]!.length - 1, end: caret }
  return null
}

/** The text with a mention replaced, and where the caret is then. */
export function replaced(text: string, { start, end }: Mention, by: string): { text: string; caret: number } {
  const rest = text.slice(end)
  const space = by && !/^\s/.test(rest) ? ' ' : ''
  return { text: text.slice(0, start) + by + space + rest, caret: start + by.length + (space || /^\s/.test(rest) ? 1 : 0) }
}

/** How a place of the code is written in a prompt. A path with a space is quoted. */
export function mention(item: { kind: string; path: string; name: string; line: number }): string {
  const path = item.kind === 'symbol' ? `${item.path}:${item.line}` : item.path
  const at = /\s/.test(path) ? `@"${path}"` : `@${path}`
  return item.kind === 'symbol' ? `\`${item.name}\` ${at}` : at
}

/** Whether a name has the letters of a text in their order, as everything does that the text may become. */
export function has({ kind, name, path }: { kind: string; name: string; path: string }, text: string): boolean {
  const among = (kind === 'symbol' ? name : path).toLowerCase()
  let at = -1
  for (const letter of text.toLowerCase()) if ((at = among.indexOf(letter, at + 1)) < 0) return false
  return true
}
