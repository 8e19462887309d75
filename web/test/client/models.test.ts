/** The types of `frames.ts` have the fields of the server's models, so that a field that is new there is not overlooked here. */

import ts from 'typescript'
import { describe, expect, test } from 'vitest'
import frames from '../../src/client/frames.ts?raw'

const MODELS = import.meta.glob<string>('../../../src/reconvene/protocol/{events,frames}.py', { query: '?raw', import: 'default', eager: true })

interface Model {
  fields: string[]
  type: string | null
}

/** The classes of the Python files, with the fields of those they come from. */
function models(): Map<string, Model> {
  const found = new Map<string, Model>()
  for (const source of Object.values(MODELS)) {
    for (const [, name, bases, body] of source.matchAll(/^class (\w+)\((.*?)\):\n((?:(?: {4}.*)?\n)+)/gm)) {
      const own = [...body!.matchAll(/^ {4}(\w+): (?!ClassVar)/gm)].map((match) => match[1]!)
      const inherited = bases!.split(/,\s*/).flatMap((base) => found.get(base)?.fields ?? [])
      const type = /^ {4}type: ClassVar\[str\] = "(\w+)"/m.exec(body!)?.[1] ?? /^ {4}type: Literal\["(\w+)"\]/m.exec(body!)?.[1] ?? null
      found.set(name!, { fields: [...new Set([...inherited, ...own])].sort(), type })
    }
  }
  return found
}

const source = ts.createSourceFile('frames.ts', frames, ts.ScriptTarget.ES2023, true)
const named = new Map<string, ts.Node>()
source.forEachChild((node) => {
  if (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) named.set(node.name.text, node)
})

/** The names of the properties of an interface, a literal type, or the interface that a type names. */
function properties(node: ts.Node): string[] {
  if (ts.isTypeReferenceNode(node)) {
    const [argument] = node.typeArguments ?? []
    return properties(argument ?? named.get(node.typeName.getText())!)
  }
  if (!ts.isInterfaceDeclaration(node) && !ts.isTypeLiteralNode(node)) throw new Error(`no fields in ${node.getText()}`)
  return node.members.filter(ts.isPropertySignature).map((member) => member.name.getText()).sort()
}

const contents = named.get('Contents') as ts.InterfaceDeclaration
const known = models()

describe('events', () => {
  const types = [...known.values()].filter(({ type }, place) => type !== null && [...known.keys()][place] !== 'Delta')
  const written = Object.fromEntries(contents.members.filter(ts.isPropertySignature).map((member) => [member.name.getText(), properties(member.type!)]))

  test('every type there is', () => {
    const events = types.filter(({ type, fields }) => type !== null && !fields.includes('type')).map(({ type }) => type)
    expect(events.length).toBeGreaterThan(15)
    expect(Object.keys(written).sort()).toEqual(events.sort())
  })

  for (const { type, fields } of types) if (type && !fields.includes('type')) test(type, () => expect(written[type]).toEqual(fields))
})

describe('frames', () => {
  test.each([
    ['SessionContent', 'SessionContent'],
    ['SnapshotContent', 'SnapshotContent'],
    ['BatchContent', 'BatchContent'],
    ['AckContent', 'AckContent'],
    ['NackContent', 'Failure'],
    ['Retry', 'Retry'],
    ['Config', 'Config'],
    ['ClientInfo', 'ClientInfo'],
    ['Hunk', 'Hunk'],
    ['FileDiff', 'FileDiff'],
  ])('%s is %s', (model, type) => {
    expect(known.get(model), model).toBeDefined()
    expect(properties(named.get(type)!)).toEqual(known.get(model)!.fields)
  })
})
