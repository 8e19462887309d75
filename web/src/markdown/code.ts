/** A piece of code: its language, a copy button, and its colours once the highlighter is there. */

import { copy } from './copy'

/** Longer code is shown plain: nobody reads it here, and colouring it would stop the page. */
const MOST = 60_000

export function codeFigure(text: string, info: string, growing: boolean): HTMLElement {
  const language = info.trim().split(/[\s{,:]/)[0]!.toLowerCase()
  const figure = document.createElement('figure')
  figure.className = 'code'
  const caption = document.createElement('figcaption')
  const label = document.createElement('span')
  label.textContent = info.trim() || 'text'
  const button = document.createElement('button')
  button.type = 'button'
  button.className = 'quiet'
  button.textContent = 'Copy'
  button.dataset['testid'] = 'copy-code'
  button.addEventListener('click', () => void copy(text, button))
  caption.append(label, button)
  const pre = document.createElement('pre')
  pre.tabIndex = 0
  const code = document.createElement('code')
  code.textContent = text
  pre.append(code)
  figure.append(caption, pre)
  if (!growing && language && text.length <= MOST) void colour(code, text, language)
  return figure
}

async function colour(code: HTMLElement, text: string, language: string): Promise<void> {
  try {
    const { highlight } = await import('./highlight')
    const nodes = await highlight(text, language)
    if (nodes) code.replaceChildren(nodes)
  } catch {
    // Without its colours the code is still all there.
  }
}
