/** A form for an answer whose shape a JSON Schema says: which fields it has, and the answer from what was filled in. Pure. */

import type { Json, JsonObject } from '../client'

export interface Field {
  readonly name: string
  readonly label: string
  readonly hint: string | null
  readonly required: boolean
  readonly kind: 'text' | 'long' | 'number' | 'check' | 'choice' | 'choices' | 'json'
  /** Of `choice` and `choices`. */
  readonly options: readonly Json[]
  /** Of `number`: whole ones alone. */
  readonly whole: boolean
  readonly initial: Filled
}
export type Filled = string | boolean | readonly number[]

const isObject = (value: Json | undefined): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value)

/** The fields of an object's schema, in its order; null: it is no such schema, and one box is all there is. */
export function fieldsOf(schema: JsonObject | null): Field[] | null {
  if (!schema || (schema['type'] !== undefined && schema['type'] !== 'object') || !isObject(schema['properties'])) return null
  const required = Array.isArray(schema['required']) ? schema['required'] : []
  return Object.entries(schema['properties']).map(([name, property]) => fieldOf(name, isObject(property) ? property : {}, required.includes(name)))
}

function fieldOf(name: string, schema: JsonObject, required: boolean): Field {
  const spoken = name.replace(/_+/g, ' ').replace(/([a-z])([A-Z])/g, '$1 $2')
  const label = typeof schema['title'] === 'string' ? schema['title'] : spoken.charAt(0).toUpperCase() + spoken.slice(1)
  const hint = typeof schema['description'] === 'string' ? schema['description'] : null
  const preset = schema['default']
  const common = { name, label, hint, required, options: [], whole: schema['type'] === 'integer' }
  if (Array.isArray(schema['enum'])) {
    const at = schema['enum'].findIndex((option) => option === preset)
    return { ...common, kind: 'choice', options: schema['enum'], initial: at < 0 ? '' : String(at) }
  }
  const items = schema['items']
  if (schema['type'] === 'array' && isObject(items) && Array.isArray(items['enum'])) {
    const options = items['enum']
    const chosen = Array.isArray(preset) ? options.flatMap((option, n) => (preset.includes(option) ? [n] : [])) : []
    return { ...common, kind: 'choices', options, initial: chosen }
  }
  switch (schema['type']) {
    case 'boolean':
      return { ...common, kind: 'check', initial: preset === true }
    case 'number':
    case 'integer':
      return { ...common, kind: 'number', initial: typeof preset === 'number' ? String(preset) : '' }
    case 'object':
    case 'array':
      return { ...common, kind: 'json', initial: preset === undefined ? '' : JSON.stringify(preset, null, 2) }
    default: {
      const long = Number(schema['maxLength'] ?? 0) > 200 || schema['format'] === 'textarea'
      return { ...common, kind: long ? 'long' : 'text', initial: typeof preset === 'string' ? preset : '' }
    }
  }
}

/** The answer, or by field what is wrong with it. A field that is empty and need not be filled in is left out. */
export function answerOf(fields: readonly Field[], filled: Readonly<Record<string, Filled>>): { answer: JsonObject } | { wrong: Record<string, string> } {
  const answer: JsonObject = {}
  const wrong: Record<string, string> = {}
  for (const field of fields) {
    const value = filled[field.name] ?? field.initial
    if (value === '' || (Array.isArray(value) && value.length === 0 && !field.required)) {
      if (field.required) wrong[field.name] = 'This is needed.'
      continue
    }
    try {
      answer[field.name] = valueOf(field, value)
    } catch (error) {
      wrong[field.name] = (error as Error).message
    }
  }
  return Object.keys(wrong).length > 0 ? { wrong } : { answer }
}

function valueOf(field: Field, value: Filled): Json {
  switch (field.kind) {
    case 'check':
      return value === true
    case 'choice':
      return field.options[Number(value)] ?? null
    case 'choices':
      return (value as readonly number[]).map((n) => field.options[n] ?? null)
    case 'number': {
      const number = Number(value)
      if (!Number.isFinite(number)) throw new Error('This must be a number.')
      if (field.whole && !Number.isSafeInteger(number)) throw new Error('This must be a whole number.')
      return number
    }
    case 'json':
      try {
        return JSON.parse(String(value)) as Json
      } catch {
        throw new Error('This must be JSON.')
      }
    default:
      return String(value)
  }
}
