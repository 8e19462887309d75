/** Dialogs over the page. */

/**
 * Opens one; returns what is to be done when it is gone. The focus goes back to where it was, and so does the caret: Chromium may give a
 * field the focus without one, and what is typed then is lost.
 */
export function modal(node: HTMLDialogElement): () => void {
  const from = document.activeElement
  const caret = from instanceof HTMLTextAreaElement ? ([from.selectionStart, from.selectionEnd, from.selectionDirection] as const) : null
  node.showModal()
  return () => {
    const now = document.activeElement
    if (!(from instanceof HTMLElement) || !from.isConnected || (now !== from && now !== document.body)) return
    from.focus({ preventScroll: true })
    if (caret) (from as HTMLTextAreaElement).setSelectionRange(...caret)
  }
}
