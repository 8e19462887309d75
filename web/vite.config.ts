import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  plugins: [svelte()],
  // The client is a package of its own, whose package.json names what it is built to; the page is built from its source.
  resolve: { alias: [{ find: /^(?:\.\.?\/)+(?:src\/)?client$/, replacement: decodeURIComponent(new URL('./src/client/index.ts', import.meta.url).pathname) }] },
  build: {
    outDir: '../src/reconvene/static',
    emptyOutDir: true,
    target: 'es2023',
    // The polyfill is an inline script, which the page's policy forbids.
    modulePreload: { polyfill: false },
    // An inlined asset is a data: address, which the page's policy forbids too.
    assetsInlineLimit: 0,
    // On a slow machine it would print a profile of the build instead of nothing.
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  test: { include: ['test/**/*.test.ts'], environment: 'node' },
})
