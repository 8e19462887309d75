/**
 * Blocks of markdown to nodes. What the model wrote is data: its HTML is shown as text, its images as links (a picture's address
 * can carry what was read to somebody else), and everything goes through DOMPurify before it becomes part of the page.
 */

import DOMPurify, { type Config } from 'dompurify'
import { Marked, type Tokens } from 'marked'
import { codeFigure } from './code'
import type { Block } from './split'

const TAGS = ['a', 'blockquote', 'br', 'code', 'del', 'div', 'em', 'h3', 'h4', 'h5', 'h6', 'hr', 'li', 'ol', 'p', 'pre', 'span', 'strong', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'ul']
const ATTRIBUTES = ['align', 'aria-hidden', 'class', 'data-place', 'href', 'lang', 'rel', 'role', 'start', 'tabindex', 'target', 'title']

/** Whether this names lines of a file, as `src/app.py:12` or `Makefile:3-9` does and `localhost:8000` does not. */
export function isPlace(text: string): boolean {
  const match = /^((?:[^\s:/]+\/)*([^\s:/]+)):\d+(?:[-–]\d+)?$/.exec(text)
  if (!match) return false
  const [, path, name] = match as unknown as [string, string, string]
  return (/[a-z]/i.test(path) && /[./]/.test(path)) || /^(?:Makefile|Dockerfile|Justfile|LICENSE|README)$/i.test(name)
}

/** A place apart: its path and lines. */
export function placeOf(text: string): { path: string; start: number; end: number } {
  const match = /^(.*):(\d+)(?:[-–](\d+))?$/.exec(text)
  return { path: match?.[1] ?? text, start: Number(match?.[2] ?? 1), end: Number(match?.[3] ?? match?.[2] ?? 1) }
}

const escape = (text: string): string =>
  text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;')

/** The address when it is one that a link may lead to, else null. */
export function safeHref(href: string): URL | null {
  try {
    const url = new URL(href)
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url : null
  } catch {
    return null
  }
}

function link(href: string, inner: string, plain: string): string {
  const url = safeHref(href)
  if (!url) return inner === '' ? escape(href) : `${inner} <code>${escape(href)}</code>`
  const told = url.protocol === 'mailto:' ? url.pathname : url.host
  const host = plain.includes(told) ? '' : ` <span class="host">(${escape(told)})</span>`
  return `<a href="${escape(url.href)}" target="_blank" rel="noopener noreferrer nofollow" title="${escape(url.href)}">${inner}${host}</a>`
}

const marked = new Marked({
  gfm: true,
  renderer: {
    heading({ tokens, depth }) {
      // Below the page's h1 and the turn's h2. Most answers begin with the second level, and no level is left out.
      const level = Math.min(6, Math.max(3, depth + 1))
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`
    },
    html: ({ text }) => escape(text),
    image: ({ href, text }) => link(href, `image: ${escape(text || 'without a name')}`, text),
    link({ href, tokens, text }) {
      return link(href, this.parser.parseInline(tokens), text)
    },
    code: ({ text, lang }) => `<pre><code lang="${escape(lang ?? '')}">${escape(text)}</code></pre>`,
    codespan: ({ text }) =>
      isPlace(text)
        ? `<code class="place" role="button" tabindex="0" title="${escape(text)}" data-place="${escape(text)}">${escape(text)}</code>`
        : `<code>${escape(text)}</code>`,
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
    table(token) {
      const cells = (row: Tokens.TableCell[]) => row.map((cell) => this.tablecell(cell)).join('')
      const rows = token.rows.map((row) => `<tr>${cells(row)}</tr>`).join('')
      return `<div class="table" tabindex="0"><table><thead><tr>${cells(token.header)}</tr></thead><tbody>${rows}</tbody></table></div>`
    },
  },
})

/** What may be in what a model wrote, and in code with its colours. */
const PROSE = allowing(TAGS, ATTRIBUTES)
const COLOURED = allowing(['span'], ['class'])
let allowed: Config | null = null

function allowing(tags: string[], attributes: string[]): Config {
  return {
    ALLOWED_TAGS: tags,
    ALLOWED_ATTR: attributes,
    // DOMPurify takes every other attribute's value for an address, and would drop it for not being one.
    ADD_URI_SAFE_ATTR: attributes.filter((name) => name !== 'href'),
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
    RETURN_DOM_FRAGMENT: true,
  }
}

/** HTML to nodes that hold nothing but text, the tags above, and links that open elsewhere; `coloured`: to text in spans alone. */
export function sanitize(html: string, coloured = false): DocumentFragment {
  const config = coloured ? COLOURED : PROSE
  // It is read once, not with every word of an answer.
  if (config !== allowed) DOMPurify.setConfig((allowed = config))
  return DOMPurify.sanitize(html) as unknown as DocumentFragment
}

/** The nodes of a block. `growing`: more of it may come, so colouring it would be wasted. */
export function render(block: Block, growing = false): Node {
  const { token } = block
  if (!token) return document.createDocumentFragment()
  if (token.type === 'code') return codeFigure((token as Tokens.Code).text, (token as Tokens.Code).lang ?? '', growing)
  const nodes = sanitize(marked.parser([token]))
  for (const pre of nodes.querySelectorAll('pre')) {
    pre.replaceWith(codeFigure(pre.textContent, pre.firstElementChild?.getAttribute('lang') ?? '', growing))
  }
  return nodes
}
