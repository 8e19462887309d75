/** Ids made by the client: UUIDv7 (RFC 9562), which sort by the time they were made. */

let last = 0
let sequence = 0

/**
 * A new id. Within one millisecond, or when the clock is set back, a counter keeps them in order.
 *
 * @param now wall clock in ms
 */
export function newId(now: number = Date.now()): string {
  if (now > last) {
    last = now
    sequence = 0
  } else if (++sequence > 0xfff) {
    last++
    sequence = 0
  }
  const random = crypto.getRandomValues(new Uint8Array(8))
  random[0] = (random[0]! & 0x3f) | 0x80
  const tail = [...random].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  const time = last.toString(16).padStart(12, '0')
  const version = (0x7000 | sequence).toString(16)
  return `${time.slice(0, 8)}-${time.slice(8)}-${version}-${tail.slice(0, 4)}-${tail.slice(4)}`
}
