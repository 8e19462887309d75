/** A part of the page that is fetched after it was drawn, so that it is there when it is wanted, also without a network then. */

import type { Component } from 'svelte'

const SOON_MS = 1_500
const AGAIN_MS = 5_000

export class Late<Props extends Record<string, unknown>> {
  part = $state.raw<Component<Props> | null>(null)
  /** It could not be fetched, and is going to be tried again. */
  missing = $state(false)
  private readonly get: () => Promise<{ default: Component<Props> }>
  private loading = false

  constructor(get: () => Promise<{ default: Component<Props> }>) {
    this.get = get
    setTimeout(() => this.load(), SOON_MS)
  }

  /** Now. What cannot be fetched is fetched again until it can be. */
  load(): void {
    if (this.part || this.loading) return
    this.loading = true
    this.missing = false
    this.get().then(
      (loaded) => (this.part = loaded.default),
      () => {
        this.loading = false
        this.missing = true
        setTimeout(() => this.load(), AGAIN_MS)
      },
    )
  }
}
