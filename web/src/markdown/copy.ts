/** To the clipboard, and says so on the button for a moment. */

const SHOWN_MS = 1500

export async function copy(text: string, at?: HTMLElement): Promise<void> {
  let done = true
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    done = byHand(text)
  }
  if (!at) return
  if (at.classList.contains('place')) {
    at.classList.toggle('copied', done)
    setTimeout(() => at.classList.remove('copied'), SHOWN_MS)
  } else {
    const before = at.dataset['label'] ?? at.textContent
    at.dataset['label'] = before
    at.textContent = done ? 'Copied' : 'Not copied'
    setTimeout(() => (at.textContent = before), SHOWN_MS)
  }
}

/** The clipboard's interface is missing where the page is neither secure nor local. */
function byHand(text: string): boolean {
  const area = document.createElement('textarea')
  area.value = text
  area.className = 'sr-only'
  document.body.append(area)
  area.select()
  const done = document.execCommand('copy')
  area.remove()
  return done
}
