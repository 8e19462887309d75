/** What a person says of a diff, part by part, as the text that the coder reads. Pure. */

import type { FileDiff, Hunk } from '../client'

/** `lines 3–9`, of the file as it is proposed; "" for what is not of lines. */
export function where(hunk: Hunk): string {
  const at = /^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@/.exec(hunk.unified)
  if (!at) return ''
  const [start, count] = [Number(at[1]), Number(at[2] ?? 1)]
  return count > 1 ? `lines ${start}–${start + count - 1}` : `line ${Math.max(1, start)}`
}

/** What was said in general, then what was said of each part. */
export function feedbackText(files: readonly FileDiff[], comments: ReadonlyMap<string, string>, general: string): string {
  const said = files.flatMap((file) =>
    file.hunks.flatMap((hunk) => {
      const text = comments.get(hunk.id)?.trim()
      if (!text) return []
      const place = where(hunk)
      return [`${file.path}${place ? `, ${place}` : ''}: ${text}`]
    }),
  )
  return [general.trim(), ...said].filter(Boolean).join('\n\n')
}

/** How many lines come and go. */
export function sizeOf(hunks: readonly Hunk[]): { added: number; removed: number } {
  const size = { added: 0, removed: 0 }
  for (const { unified } of hunks) {
    if (!unified.startsWith('@@')) continue
    for (const line of unified.split('\n').slice(1)) {
      if (line.startsWith('+')) size.added++
      else if (line.startsWith('-')) size.removed++
    }
  }
  return size
}
